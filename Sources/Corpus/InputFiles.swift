import Foundation
import Storage

/// How a file is cut into rows.
package enum InputFormat: String, Codable, Sendable {
  /// A JSON value a line.
  case jsonLines = "jsonl"
  /// One array of objects, or objects one after another; each object is a row, over as many lines as it likes.
  case json
  /// RFC 4180, the first record naming the columns.
  case csv
  /// A document a line.
  case text
  /// One document.
  case wholeFile = "whole-file"
}

/// A file to read, its rows not yet looked at.
package struct InputFile: Sendable, Equatable {
  package let path: String
  package let byteCount: Int
  package let format: InputFormat

  /// Whether a row ends at every newline, so that rows can be found from anywhere in the file.
  var isStriped: Bool { format == .jsonLines || format == .text }
}

/// Finds the files that `paths` stand for: a file is itself, a directory all its data files in the order of their names.
///
/// - Parameter wholeFiles: a plain text file is one document instead of a document a line.
/// - Throws: `CorpusError` or `FileError` for a path that is missing, unreadable, empty, or no text.
package func resolveInputFiles(_ paths: [String], wholeFiles: Bool = false) throws -> [InputFile] {
  var files: [InputFile] = []
  for path in paths {
    var status = stat()
    guard stat(path, &status) == 0 else { throw FileError("cannot open", path, errno: errno) }
    if status.st_mode & S_IFMT == S_IFDIR {
      let found = try dataFiles(in: path)
      guard !found.isEmpty else {
        throw CorpusError("\(path) holds no data file. Put .jsonl, .json, .csv or .txt files there, or name a file.")
      }
      for file in found { files.append(try describe(file, wholeFiles: wholeFiles)) }
    } else {
      files.append(try describe(path, wholeFiles: wholeFiles))
    }
  }
  guard files.contains(where: { $0.byteCount > 0 }) else {
    throw CorpusError("\(paths.joined(separator: ", ")): there is nothing in it. Give a file with text.")
  }
  return files
}

private let dataSuffixes: Set<String> = ["jsonl", "ndjson", "json", "csv", "txt", "text", "md"]

private func dataFiles(in directory: String) throws -> [String] {
  guard let names = FileManager.default.enumerator(atPath: directory) else {
    throw CorpusError("cannot read the directory \(directory). Check its permissions.")
  }
  return names.compactMap { $0 as? String }
    .filter { name in
      dataSuffixes.contains((name as NSString).pathExtension.lowercased())
        && !name.split(separator: "/").contains { $0.hasPrefix(".") }
    }
    .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    .map { directory + "/" + $0 }
    .filter {
      var status = stat()
      return stat($0, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }
}

private func describe(_ path: String, wholeFiles: Bool) throws -> InputFile {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw FileError("cannot read", path, errno: errno) }
  guard status.st_mode & S_IFMT == S_IFREG else { throw CorpusError("cannot read \(path): it is not a regular file.") }
  var head = [UInt8](repeating: 0, count: 65536)
  let count = read(descriptor, &head, head.count)
  guard count >= 0 else { throw FileError("cannot read", path, errno: errno) }
  head.removeSubrange(count...)
  try refuseBinary(head, path)
  var format = inputFormat(ofSuffix: (path as NSString).pathExtension.lowercased(), head: head)
  if wholeFiles && format == .text { format = .wholeFile }
  return InputFile(path: path, byteCount: Int(status.st_size), format: format)
}

/// Common files that are not UTF-8 text get their own advice.
private func refuseBinary(_ head: [UInt8], _ path: String) throws {
  if head.starts(with: [0x1F, 0x8B]) || head.starts(with: [0x50, 0x4B, 3, 4])
    || head.starts(with: [0x28, 0xB5, 0x2F, 0xFD])
    || head.starts(with: [0xFD, 0x37, 0x7A])
  {
    throw CorpusError("\(path) is compressed. Unpack it first.")
  }
  if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
    throw CorpusError("\(path) is UTF-16. Convert it with: iconv -f UTF-16 -t UTF-8 FILE")
  }
  if head.starts(with: Array("PAR1".utf8)) || head.starts(with: Array("%PDF".utf8)) {
    throw CorpusError(
      "\(path) is a \(head[0] == 0x25 ? "PDF" : "Parquet") file. Convert it to .jsonl, .csv or .txt first.")
  }
}

/// The format by suffix, and where the suffix says nothing (or `.json` could be two things) by the first bytes.
package func inputFormat(ofSuffix suffix: String, head: [UInt8]) -> InputFormat {
  let start = head.starts(with: [0xEF, 0xBB, 0xBF]) ? head.dropFirst(3) : head[...]
  let visible = start.drop { $0 == 0x20 || (0x09...0x0D).contains($0) }
  func jsonFormat() -> InputFormat {
    guard visible.first == UInt8(ascii: "{") else { return .json }
    // An object that closes on its own line: a row a line. Otherwise it is written over several lines.
    let line = visible.prefix { $0 != 0x0A }
    let isWholeLine = line.count == visible.count || line.last { $0 > 0x20 } == UInt8(ascii: "}")
    return isWholeLine ? .jsonLines : .json
  }
  switch suffix {
  case "jsonl", "ndjson": return visible.first == UInt8(ascii: "[") ? .json : .jsonLines
  case "json": return visible.isEmpty ? .jsonLines : jsonFormat()
  case "csv": return .csv
  case "txt", "text", "md": return .text
  default: break
  }
  if visible.first == UInt8(ascii: "{") { return jsonFormat() }
  if visible.first == UInt8(ascii: "["), let next = visible.dropFirst().first(where: { $0 > 0x20 }),
    next == UInt8(ascii: "{")
  {
    return .json
  }
  let firstLine = String(decoding: start.prefix { $0 != 0x0A && $0 != 0x0D }, as: UTF8.self)
  // A header has no space after its commas; a sentence has.
  let columns = Set(
    firstLine.split(separator: ",").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "\"")) })
  if columns.count > 1 && (columns.contains("text") || columns.isSuperset(of: ["q", "a"])) { return .csv }
  return .text
}
