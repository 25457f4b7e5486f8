import Foundation
import Storage

/// Writes all bytes at a place of an open file.
///
/// - Parameter path: the file's, for errors.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, at offset: Int, path: String) throws(FileError) {
  var done = 0
  while done < bytes.count {
    let count = bytes.withUnsafeBytes {
      pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, off_t(offset + done))
    }
    if count < 0 {
      if errno == EINTR { continue }
      throw FileError("cannot write", path, errno: errno)
    }
    done += count
  }
}
