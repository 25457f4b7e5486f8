import Foundation

/// Writes a file so that its path holds either the old content or the whole new content, whatever happens.
///
/// The bytes go to a temporary file beside the target; `commit()` flushes them to the disk and renames.
/// Without `commit()` the temporary file is removed and the target is left as it was.
public final class AtomicFile {
  public let path: String
  private let temporaryPath: String
  private var descriptor: Int32

  public init(_ path: String) throws(FileError) {
    self.path = path
    temporaryPath = "\(path).partial-\(getpid())"
    descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError("cannot create", path, errno: errno) }
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(temporaryPath)
    }
  }

  /// Appends bytes.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var remaining = bytes[...]
    while !remaining.isEmpty {
      let count = Foundation.write(descriptor, UnsafeRawBufferPointer(rebasing: remaining).baseAddress, remaining.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError("cannot write", path, errno: errno)
      }
      remaining = remaining.dropFirst(count)
    }
  }

  public func write(_ text: String) throws(FileError) {
    try write(Array(text.utf8))
  }

  public func write(_ bytes: [UInt8]) throws(FileError) {
    let written: Result<Void, FileError> = bytes.withUnsafeBytes { buffer in
      do throws(FileError) { return .success(try write(buffer)) } catch { return .failure(error) }
    }
    try written.get()
  }

  /// Flushes to the disk and puts the file in place.
  public func commit() throws(FileError) {
    guard fsync(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
    close(descriptor)
    descriptor = -1
    guard rename(temporaryPath, path) == 0 else {
      let code = errno
      unlink(temporaryPath)
      throw FileError("cannot create", path, errno: code)
    }
    try synchronizeDirectory(parentDirectory(of: path))
  }

  /// Lets `body`, a library that opens files by itself, write the file at `temporaryPath`, then puts it at `path`.
  ///
  /// - Throws: `FileError`, or what `body` throws; in both cases `path` is left as it was.
  package static func write(_ path: String, using body: (_ temporaryPath: String) throws -> Void) throws {
    let file = try AtomicFile(path)
    try body(file.temporaryPath)
    // The library may have replaced the file that was created for it.
    close(file.descriptor)
    file.descriptor = open(file.temporaryPath, O_WRONLY | O_CLOEXEC)
    guard file.descriptor >= 0 else { throw FileError("cannot write", path, errno: errno) }
    try file.commit()
  }

  /// Writes `bytes` to `path` in one go.
  public static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
    let file = try AtomicFile(path)
    try file.write(bytes)
    try file.commit()
  }

  public static func write(_ text: String, to path: String) throws(FileError) {
    try write(Array(text.utf8), to: path)
  }
}

/// Makes a finished rename or creation inside `directory` survive a power cut.
func synchronizeDirectory(_ directory: String) throws(FileError) {
  let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw FileError("cannot open", directory, errno: errno) }
  defer { close(descriptor) }
  // Some file systems cannot flush a directory (EINVAL); the rename itself is still atomic there.
  guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError("cannot write", directory, errno: errno) }
}
