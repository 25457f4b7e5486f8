import CStorage
import Foundation

/// Directories that appear whole or not at all.
public enum AtomicDirectory {
  /// Lets `body` fill a new directory beside `path`, then puts it at `path`, replacing what was there.
  ///
  /// A crash, or an error thrown by `body`, leaves `path` as it was. Replacing an existing directory
  /// swaps the two in one system call, so that `path` always exists. What a writer that was killed has left beside
  /// `path` is removed first.
  public static func write(_ path: String, _ body: (_ temporaryPath: String) throws -> Void) throws {
    let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    let parent = parentDirectory(of: trimmed)
    try createDirectory(parent)
    let temporaryPath = "\(trimmed).partial-\(getpid())"
    try? FileManager.default.removeItem(atPath: temporaryPath)
    removeAbandoned(trimmed, in: parent.isEmpty ? "." : parent)
    do {
      try createDirectory(temporaryPath)
      let lock = lockedDirectory(temporaryPath)
      defer { if let lock { close(lock) } }
      try body(temporaryPath)
      try synchronizeDirectory(temporaryPath)
      var exists = stat()
      let isReplacing = lstat(trimmed, &exists) == 0
      let result = isReplacing ? minimind_exchange_paths(temporaryPath, trimmed) : rename(temporaryPath, trimmed)
      guard result == 0 else { throw FileError("cannot create", trimmed, errno: errno) }
      if isReplacing { try? FileManager.default.removeItem(atPath: temporaryPath) }
      try synchronizeDirectory(parent)
    } catch {
      try? FileManager.default.removeItem(atPath: temporaryPath)
      throw error
    }
  }

  /// Removes the temporary directories of processes that are gone. A process on another machine or in another container
  /// has a number that says nothing here, but holds a lock on its directory.
  private static func removeAbandoned(_ path: String, in parent: String) {
    let prefix = (path as NSString).lastPathComponent + ".partial-"
    for name in (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] where name.hasPrefix(prefix) {
      guard let process = pid_t(name.dropFirst(prefix.count)), process > 0, kill(process, 0) != 0, errno == ESRCH,
        let lock = lockedDirectory(parent + "/" + name)
      else { continue }
      try? FileManager.default.removeItem(atPath: parent + "/" + name)
      close(lock)
    }
  }

  /// A descriptor of a directory that holds it for this process; nil where that is not to be had.
  private static func lockedDirectory(_ path: String) -> Int32? {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
    close(descriptor)
    return nil
  }
}

/// The directory that `path` lies in: "." for a bare name, "/" for the root itself.
///
/// Foundation's `deletingLastPathComponent` is not used, since it traps on a relative path of one character (6.3).
package func parentDirectory(of path: String) -> String {
  var name = path[...]
  while name.count > 1, name.hasSuffix("/") { name.removeLast() }
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

  public init(_ directory: String) throws(FileError) {
    try createDirectory(directory)
    let path = directory + "/.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError("cannot write into", directory, errno: errno) }
    // Somebody may just be looking whether it is held (`isHeld`).
    var attempts = 5
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      attempts -= 1
      if attempts > 0 {
        usleep(10_000)
        continue
      }
      close(descriptor)
      throw FileError(
        "\(directory) is in use by another minimind process. Wait for it, or choose another output directory.")
    }
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
