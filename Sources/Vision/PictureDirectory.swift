import Foundation
import Storage

/// Files of pictures below a directory, which data name.
package struct PictureDirectory: Sendable {
  package let path: String
  /// `path` without links.
  private let root: String

  /// - Returns: nil where there is no such directory.
  package init?(_ path: String) {
    guard let root = Self.resolved(path) else { return nil }
    self.path = path
    self.root = root == "/" ? "" : root
  }

  private static func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  /// The content of a file below the directory.
  ///
  /// - Parameters:
  ///   - name: its path from the directory: no `..`, no link that leads out.
  ///   - limit: the most bytes.
  /// - Throws: `PictureError`.
  package func content(_ name: String, limit: Int) throws(PictureError) -> [UInt8] {
    guard !name.isEmpty, !name.hasPrefix("/"), !name.contains("\0"), !name.split(separator: "/").contains("..") else {
      throw .outside
    }
    guard let file = Self.resolved(root + "/" + name) else { throw .missing }
    guard file.hasPrefix(root + "/") else { throw .outside }
    // A name may lead to a pipe by now, which nothing waits for.
    let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
    guard descriptor >= 0 else { throw .missing }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw .notAPicture(found: "no file")
    }
    guard status.st_size <= limit else {
      throw .tooLarge("has \(status.st_size >> 20) MiB; a picture may have \(limit >> 20). Make it smaller.")
    }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    let isRead = bytes.withUnsafeMutableBytes { bytes in
      transfer(bytes.count) { Foundation.read(descriptor, bytes.baseAddress! + $0, bytes.count - $0) }
    }
    guard isRead else { throw .truncated }
    return bytes
  }
}
