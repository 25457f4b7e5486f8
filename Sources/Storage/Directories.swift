import CStorage
import Foundation

/// Directories that appear whole or not at all.
public enum AtomicDirectory {
  /// Ends the name that a directory has while it is replaced, where the file system cannot swap it with its successor.
  package static let replacedSuffix = ".partial-old"

  /// Lets `body` fill a new directory beside `path`, then puts it at `path`, replacing what was there.
  ///
  /// A crash, or an error thrown by `body`, leaves `path` as it was. Replacing an existing directory
  /// swaps the two in one system call, so that `path` always exists. Where the file system cannot do that, a crash may
  /// leave it moved aside, until the next `write` or `finishReplacement`. What a writer that was killed has left beside
  /// `path` is removed first.
  ///
  /// - Throws: `FileError`, before `body` is called if `path` cannot be replaced; what `body` throws.
  public static func write(_ path: String, _ body: (_ temporaryPath: String) throws -> Void) throws {
    try write(path, exchange: { minimind_exchange_paths($0, $1) }, body)
  }

  /// - Parameter exchange: swaps what is at two paths, or returns -1 with `errno` set; tests give others.
  package static func write(
    _ path: String, exchange: (String, String) -> Int32, _ body: (_ temporaryPath: String) throws -> Void
  ) throws {
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
      try replace(target, by: temporaryPath, exchange: exchange)
      try synchronizeDirectory(parent)
    } catch {
      try? FileManager.default.removeItem(atPath: temporaryPath)
      throw error
    }
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
  private static func replace(
    _ path: String, by temporaryPath: String, exchange: (String, String) -> Int32
  ) throws(FileError) {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard rename(temporaryPath, path) == 0 else { throw FileError("cannot create", path, errno: errno) }
      return
    }
    if exchange(temporaryPath, path) == 0 {
      try? FileManager.default.removeItem(atPath: temporaryPath)
      return
    }
    let exchangeError = errno
    // What file systems answer that cannot swap: NFS and other network file systems, FUSE, gVisor.
    guard [EINVAL, ENOSYS, EOPNOTSUPP].contains(exchangeError) else {
      throw FileError("cannot create", path, errno: exchangeError)
    }
    let replaced = path + replacedSuffix
    guard rename(path, replaced) == 0 else { throw FileError("cannot create", path, errno: errno) }
    guard rename(temporaryPath, path) == 0 else {
      let code = errno
      rename(replaced, path)
      throw FileError("cannot create", path, errno: code)
    }
    try? FileManager.default.removeItem(atPath: replaced)
  }

  /// Ends a replacement of `path` that a crash has cut short: what was moved aside is put back, or removed if its
  /// successor is in place.
  package static func finishReplacement(of path: String) {
    let replaced = path + replacedSuffix
    var status = stat()
    guard lstat(path, &status) == 0 else {
      rename(replaced, path)
      return
    }
    try? FileManager.default.removeItem(atPath: replaced)
    // NFS and FUSE keep a directory while a process has one of its files open. It must not block the next write.
    guard lstat(replaced, &status) == 0 else { return }
    _ = try? temporaryName(beside: path) { rename(replaced, $0) }
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

/// Bytes that an ordinary user can still write to the file system that holds `path`.
public func availableDiskBytes(at path: String) -> Int? {
  var status = statvfs()
  guard statvfs(path, &status) == 0 else { return nil }
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
    let descriptor = open(directory + "/.lock", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    // A shared lock, so that two who ask do not see each other.
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
