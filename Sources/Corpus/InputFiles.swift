import Foundation
import Storage

/// The files that paths stand for: a file is itself, a directory all its data files in the order of their names.
package struct InputFiles: Sendable {
  package let files: [InputFile]
  /// What was found in directories and is not read.
  package let passedOver: [PassedOver]

  /// - Throws: `CorpusError` or `FileError` for a path that is missing, unreadable, empty, or no text.
  package init(_ paths: [String], _ options: InputOptions = InputOptions()) throws {
    var files: [InputFile] = []
    var passedOver: [PassedOver] = []
    for path in paths {
      var status = stat()
      guard stat(path, &status) == 0 else { throw FileError("cannot open", path, errno: errno) }
      guard status.st_mode & S_IFMT == S_IFDIR else {
        files.append(try InputFile(path, options))
        continue
      }
      let directory = try InputDirectory(withoutTrailingSlashes(path))
      passedOver += directory.passedOver
      guard !directory.files.isEmpty else {
        let others = directory.passedOver.map { ($0.path as NSString).lastPathComponent }
        let found =
          others.isEmpty
          ? "nothing"
          : others.prefix(4).joined(separator: ", ")
            + (others.count > 4 ? " and \(others.count - 4) more" : "")
        throw CorpusError(
          "\(path) holds no data file but \(found). Put files there that end in "
            + InputFormat.suffixes.map { "." + $0 }.joined(separator: ", ") + ", or name a file.")
      }
      for file in directory.files { files.append(try InputFile(file, options)) }
    }
    guard files.contains(where: { $0.byteCount > 0 }) else {
      throw CorpusError(
        "\(paths.joined(separator: ", ")): there is nothing in it. Give a file with text.")
    }
    self.files = files
    self.passedOver = passedOver
  }
}
