import Foundation
import Storage

/// Writes a file of a header and a payload: the payload as it comes, the header last, which holds the payload's checksum.
///
/// Must write into a directory that becomes visible only when everything is in it (`AtomicDirectory`).
/// Memory: 1 MiB, and what is appended at once.
final class PayloadWriter {
  let path: String
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var checksum = Checksum()
  private var position: Int

  /// - Throws: `FileError`.
  init(path: String, headerBytes: Int) throws(FileError) {
    self.path = path
    position = headerBytes
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError("cannot create", path, errno: errno) }
  }

  deinit { close(descriptor) }

  /// Lets `body` append to what has not been written yet.
  func append(_ body: (inout [UInt8]) -> Void) throws(FileError) {
    body(&buffer)
    if buffer.count >= 1 << 20 { try flush(buffer.count & ~63) }
  }

  /// Appends zeros until the payload is a multiple of 64 bytes.
  func pad() throws(FileError) {
    try append { $0.append(contentsOf: repeatElement(0, count: ShardHeader.padded($0.count) - $0.count)) }
  }

  /// Writes the rest and the header, and flushes the file to the disk.
  func finish(_ header: (_ checksum: UInt64) -> [UInt8]) throws(FileError) {
    try flush(buffer.count)
    try writeAll(header(checksum.value), to: descriptor, at: 0, path: path)
    guard fsync(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
  }

  /// - Parameter count: a multiple of 64, except in the last call.
  private func flush(_ count: Int) throws(FileError) {
    buffer.withUnsafeBytes { checksum.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    try writeAll(Array(buffer[..<count]), to: descriptor, at: position, path: path)
    position += count
    buffer.removeSubrange(..<count)
  }
}
