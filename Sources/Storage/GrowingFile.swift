import Foundation

/// A file that grows by whole pieces.
package final class GrowingFile {
  private let path: String
  private let descriptor: Int32

  /// The file holds `content` alone from now on.
  package init(_ path: String, replacingBy content: String = "") throws {
    self.path = path
    try AtomicFile.write(content, to: path)
    descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot write", path, errno: errno) }
  }

  deinit { close(descriptor) }

  /// The text of a file; empty where there is none.
  package static func text(of path: String) throws -> String {
    guard FileManager.default.fileExists(atPath: path) else { return "" }
    return String(decoding: try MappedFile.contents(of: path), as: UTF8.self)
  }

  package func write(_ text: String) throws { try write(Array(text.utf8)) }

  package func write(_ bytes: [UInt8]) throws {
    let isWritten = bytes.withUnsafeBytes { bytes in
      transfer(bytes.count) { Foundation.write(descriptor, bytes.baseAddress! + $0, bytes.count - $0) }
    }
    guard isWritten else { throw FileError("cannot write", path, errno: errno) }
  }

  package func synchronize() throws {
    guard fsync(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
  }
}
