import Foundation
import Storage

/// Writes all bytes at a place of an open file.
///
/// - Parameter path: the file's, for errors.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, at offset: Int, path: String) throws(FileError) {
  let isWritten = bytes.withUnsafeBytes { bytes in
    transfer(bytes.count) { pwrite(descriptor, bytes.baseAddress! + $0, bytes.count - $0, off_t(offset + $0)) }
  }
  guard isWritten else { throw FileError("cannot write", path, errno: errno) }
}
