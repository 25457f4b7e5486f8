import Foundation

/// Writes a file so that its path holds either the old content or the whole new content, whatever happens.
///
/// The bytes go to a temporary file next to the target; `commit()` flushes them to the disk and renames. Without
/// `commit()` the temporary file is removed and the target is left as it was. What a writer that was killed has left
/// beside the target is removed first.
public final class AtomicFile {
  public let path: String
  /// `path`, or the target if it is a symbolic link.
  private let target: String
  private let temporaryPath: String
  private var descriptor: Int32

  public init(_ path: String) throws(FileError) {
    self.path = path
    target = try Self.target(of: path)
    removeAbandoned(beside: target)
    var file: Int32 = -1
    temporaryPath = try temporaryName(beside: target) { name in
      file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      return file
    }
    descriptor = file
    lockTemporary()
  }

  /// Shows other writers that the temporary file is not abandoned. Where nothing can be locked, they leave it anyway.
  private func lockTemporary() { _ = flock(descriptor, LOCK_EX | LOCK_NB) }

  /// The regular file that `path` leads to, which need not exist yet.
  private static func target(of path: String) throws(FileError) -> String {
    var status = stat()
    if stat(path, &status) == 0 {
      let kind = status.st_mode & S_IFMT
      guard kind != S_IFDIR else { throw FileError("cannot create", path, errno: EISDIR) }
      guard kind == S_IFREG else {
        throw FileError("cannot create \(path): it is not a regular file. Choose another path.")
      }
    } else if errno != ENOENT {
      // Among others, links in a circle, which have no end to follow.
      throw FileError("cannot create", path, errno: errno)
    }
    var target = path
    while let destination = try? FileManager.default.destinationOfSymbolicLink(atPath: target) {
      target = destination.hasPrefix("/") ? destination : parentDirectory(of: target) + "/" + destination
    }
    return target
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(temporaryPath)
    }
  }

  /// Appends bytes.
  ///
  /// - Throws: `FileError`; then `path` is as it was.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    let isWritten = transfer(bytes.count) {
      Foundation.write(descriptor, bytes.baseAddress! + $0, bytes.count - $0)
    }
    guard isWritten else { throw FileError("cannot write", path, errno: errno) }
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
  ///
  /// - Throws: `FileError`; then `path` is as it was.
  public func commit() throws(FileError) { try Self.commit([self]) }

  /// Whether there is a file at `path` that is another than what has been written so far.
  ///
  /// - Throws: `FileError`.
  package func wouldChange() throws -> Bool {
    guard FileManager.default.fileExists(atPath: path) else { return false }
    let (old, new) = (try MappedFile(path), try MappedFile(temporaryPath))
    return withExtendedLifetime((old, new)) { !old.bytes.elementsEqual(new.bytes) }
  }

  /// Puts several files in place that are one result: only when all of them are on the disk does the first one appear.
  /// The last one is that by which readers know that the result is there.
  ///
  /// - Throws: `FileError`; then each path is as it was, unless a rename after the first has failed.
  public static func commit(_ files: [AtomicFile]) throws(FileError) {
    for file in files { try file.synchronize() }
    for file in files { try file.putInPlace() }
  }

  private func synchronize() throws(FileError) {
    guard fsync(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
  }

  private func putInPlace() throws(FileError) {
    // Closed last: the descriptor's lock shows others that the file is not abandoned.
    guard renameItem(temporaryPath, target) else { throw FileError("cannot create", path, errno: errno) }
    close(descriptor)
    descriptor = -1
    try synchronizeDirectory(parentDirectory(of: target))
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
    file.lockTemporary()
    try file.commit()
  }

  /// Writes `bytes` to `path` in one go.
  ///
  /// - Throws: `FileError`; then `path` is as it was.
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
  // Some file systems cannot flush a directory; the rename itself is still atomic there.
  guard fsync(descriptor) == 0 || [EINVAL, ENOSYS, EOPNOTSUPP, EBADF].contains(errno) else {
    throw FileError("cannot write", directory, errno: errno)
  }
}
