import CStorage
import Foundation

/// Directories that appear whole or not at all.
public enum AtomicDirectory {
  /// Ends the name that a directory has while it is replaced, where the file system cannot swap it with its successor.
  private static let replacedSuffix = ".partial-old"
  /// Ends the name of a whole successor, where the directory before it cannot be renamed either.
  private static let successorSuffix = ".partial-new"

  /// Lets `body` fill a new directory beside `path`, then puts it at `path`, replacing what was there.
  ///
  /// A crash, or an error thrown by `body`, leaves `path` as it was. Replacing an existing directory
  /// swaps the two in one system call, so that `path` always exists. Where the file system cannot do that, a crash may
  /// leave it moved aside, or its successor beside it, until the next `write` or `finishReplacement`; `readablePath` says
  /// where the whole one is. What a writer that was killed has left beside
  /// `path` is removed first.
  ///
  /// - Throws: `FileError`, before `body` is called if `path` cannot be replaced; what `body` throws.
  public static func write(_ path: String, _ body: (_ temporaryPath: String) throws -> Void) throws {
    let target = try replaceablePath(path)
    let parent = parentDirectory(of: target)
    try createDirectory(parent)
    removeAbandoned(beside: target)
    finishReplacement(of: target)
    let temporaryPath = try temporaryName(beside: target) { mkdir($0, 0o777) }
    do {
      let lock = lockedDescriptor(temporaryPath)
      defer { if let lock { close(lock) } }
      try body(temporaryPath)
      try synchronizeDirectory(temporaryPath)
      try replace(target, by: temporaryPath)
      try synchronizeDirectory(parent)
    } catch {
      try? FileManager.default.removeItem(atPath: temporaryPath)
      throw error
    }
  }

  /// Writes a file into a directory that is not in place yet, where no reader sees the file before it is whole.
  ///
  /// It may not be on the disk before `synchronizeFiles(in:)`: of many small files, waiting for each takes most of the time.
  package static func addFile(_ path: String, _ bytes: [UInt8]) throws(FileError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError("cannot create", path, errno: errno) }
    defer { close(descriptor) }
    let isWritten = bytes.withUnsafeBytes { bytes in
      transfer(bytes.count) { Foundation.write(descriptor, bytes.baseAddress! + $0, bytes.count - $0) }
    }
    guard isWritten else { throw FileError("cannot write", path, errno: errno) }
  }

  /// Waits until all that has been written to the file system of a directory is on the disk.
  package static func synchronizeFiles(in path: String) throws(FileError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
    defer { close(descriptor) }
    guard minimind_synchronize_file_system(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
  }

  /// `path` without the slashes at its end.
  ///
  /// - Throws: `FileError` for what cannot be renamed.
  private static func replaceablePath(_ path: String) throws(FileError) -> String {
    let target = withoutTrailingSlashes(path)
    guard let name = target.split(separator: "/").last, name != ".", name != ".." else {
      throw FileError("cannot create \(path): the path does not end in a name. Name a directory inside it.")
    }
    var status = stat()
    var parentStatus = stat()
    if lstat(target, &status) == 0, stat(parentDirectory(of: target), &parentStatus) == 0,
      status.st_dev != parentStatus.st_dev
    {
      throw FileError("cannot create \(path): a file system is mounted there. Name a directory inside it.")
    }
    return target
  }

  /// Puts the finished directory at `temporaryPath` in place.
  private static func replace(_ path: String, by temporaryPath: String) throws(FileError) {
    guard exists(path) else {
      guard renameItem(temporaryPath, path) else { throw FileError("cannot create", path, errno: errno) }
      return
    }
    if DiskCalls.current.exchange(temporaryPath, path) == 0 {
      try? FileManager.default.removeItem(atPath: temporaryPath)
      return
    }
    // NFS and other network file systems, FUSE, exFAT, gVisor cannot swap; a failure that has another reason comes again.
    let replaced = path + replacedSuffix
    guard renameItem(path, replaced) else {
      guard errno == EXDEV else { throw FileError("cannot create", path, errno: errno) }
      // A directory of an overlay's lower layer can only be removed, which is begun when its successor is whole.
      guard renameItem(temporaryPath, path + successorSuffix) else {
        throw FileError("cannot create", path, errno: errno)
      }
      finishReplacement(of: path)
      guard !exists(path + successorSuffix) else {
        throw FileError(
          "cannot replace \(path). Check the permissions; what was to be there is \(path)\(successorSuffix).")
      }
      return
    }
    guard renameItem(temporaryPath, path) else {
      let code = errno
      _ = renameItem(replaced, path)
      throw FileError("cannot create", path, errno: code)
    }
    try? FileManager.default.removeItem(atPath: replaced)
  }

  private static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }

  /// The directory that an entry beside it belongs to, where that is what a replacement cut short has left.
  package static func replacedPath(ofEntry path: String) -> String? {
    [replacedSuffix, successorSuffix].first(where: path.hasSuffix).map { String(path.dropLast($0.count)) }
  }

  /// Where the whole directory of `path` is: beside it, where a replacement is in progress or was cut short.
  package static func readablePath(_ path: String) -> String {
    let target = withoutTrailingSlashes(path)
    if exists(target + successorSuffix) { return target + successorSuffix }
    return !exists(target) && exists(target + replacedSuffix) ? target + replacedSuffix : path
  }

  /// Removes a directory so that one that is half removed does not bear its name.
  ///
  /// - Throws: `FileError` when that is not allowed.
  package static func remove(_ path: String) throws(FileError) {
    let doomed = path + ".partial-removed"
    try? FileManager.default.removeItem(atPath: doomed)
    if renameItem(path, doomed) {
      try? FileManager.default.removeItem(atPath: doomed)
      return
    }
    // A directory of an overlay's lower layer can only be removed.
    guard errno == EXDEV else { throw FileError("cannot remove", path, errno: errno) }
    try? FileManager.default.removeItem(atPath: path)
    guard !exists(path) else { throw FileError("cannot remove \(path). Check the permissions, or remove it yourself.") }
  }

  /// Ends a replacement of `path` that a crash has cut short: a whole successor takes its place, what was moved aside is
  /// put back, or removed if its successor is in place.
  package static func finishReplacement(of path: String) {
    let replaced = path + replacedSuffix
    if exists(path + successorSuffix) {
      try? FileManager.default.removeItem(atPath: path)
      _ = renameItem(path + successorSuffix, path)
    }
    guard exists(path) else {
      _ = renameItem(replaced, path)
      return
    }
    try? FileManager.default.removeItem(atPath: replaced)
    // NFS and FUSE keep a directory while a process has one of its files open. It must not block the next write.
    guard exists(replaced) else { return }
    _ = try? temporaryName(beside: path) { renameItem(replaced, $0) ? 0 : -1 }
  }
}

/// `path` without the slashes at its end; the root stays itself.
package func withoutTrailingSlashes(_ path: String) -> String {
  var path = path
  while path.count > 1, path.hasSuffix("/") { path.removeLast() }
  return path
}

/// The directory that contains `path`: "." for a bare name, "/" for the root itself.
///
/// Foundation's `deletingLastPathComponent` is not used, since it traps on a relative path of one character (6.3).
package func parentDirectory(of path: String) -> String {
  let name = withoutTrailingSlashes(path)
  guard let slash = name.lastIndex(of: "/") else { return "." }
  return slash == name.startIndex ? "/" : String(name[..<slash])
}

/// Creates `path` and its parents; an existing directory is fine.
public func createDirectory(_ path: String) throws(FileError) {
  var status = stat()
  if stat(path, &status) == 0 {
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw FileError("cannot create \(path): a file is in the way.")
    }
    return
  }
  let parent = parentDirectory(of: path)
  if parent != path { try createDirectory(parent) }
  guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw FileError("cannot create", path, errno: errno) }
}

/// Bytes that an ordinary user can still write to the file system that holds `path`; nil where it does not say.
public func availableDiskBytes(at path: String) -> Int? {
  var status = statvfs()
  // Some of FUSE and of networks say of everything that it is 0.
  guard statvfs(path, &status) == 0, status.f_blocks > 0 else { return nil }
  return Int(status.f_bavail) * Int(status.f_frsize)
}

/// Holds a directory for one process: a second holder is refused until this object goes.
///
/// The kernel drops the lock when the process ends, however it ends, so no stale lock can remain.
public final class DirectoryLock {
  private let descriptor: Int32

  public convenience init(_ directory: String) throws(FileError) {
    try self.init(directory, lock: { flock($0, $1) })
  }

  /// - Parameter lock: does what `flock` does; tests give others.
  package init(_ directory: String, lock: (_ descriptor: Int32, _ operation: Int32) -> Int32) throws(FileError) {
    try createDirectory(directory)
    let file = open(directory + "/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw FileError("cannot write into", directory, errno: errno) }
    // Another process may be checking at this moment whether it is held (`isHeld`).
    var attempts = 5
    while lock(file, LOCK_EX | LOCK_NB) != 0 {
      let code = errno
      if code == EINTR { continue }
      attempts -= 1
      if code == EWOULDBLOCK && attempts > 0 {
        usleep(10_000)
        continue
      }
      close(file)
      guard code == EWOULDBLOCK else { throw FileError("cannot lock", directory, errno: code) }
      throw FileError(
        "\(directory) is in use by another minimind process. Wait for it, or choose another output directory.")
    }
    descriptor = file
  }

  deinit { close(descriptor) }

  /// Whether a process holds the directory now.
  package static func isHeld(_ directory: String) -> Bool {
    let descriptor = open(directory + "/.lock", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    // A shared lock, so that two who ask do not see each other.
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
