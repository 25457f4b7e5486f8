import Foundation

/// Makes a temporary file or directory next to `path` under a name that is not in use: `NAME.partial-PROCESS-NUMBER`.
///
/// - Parameter make: creates the file or directory of that name, or returns -1 with `errno` set.
/// - Throws: `FileError` when `make` fails for another reason than that the name is taken.
func temporaryName(beside path: String, make: (_ name: String) -> Int32) throws(FileError) -> String {
  // Another writer of this process, or a process with its number in another container, may be at the same path.
  for number in 0... {
    let name = "\(path).partial-\(getpid())-\(number)"
    if make(name) >= 0 { return name }
    guard errno == EEXIST || errno == ENOTEMPTY else { break }
  }
  throw FileError("cannot create", path, errno: errno)
}

/// Removes the temporary files next to `path` whose writers have ended, and what a library has put next to them,
/// `…-NUMBER.SUFFIX`.
///
/// A process on another machine or in another container has a number that says nothing here, but holds a lock on what
/// it writes. So does this process; what bears its number without a lock is from an earlier process with that number.
func removeAbandoned(beside path: String) {
  let parent = parentDirectory(of: path)
  let prefix = (path as NSString).lastPathComponent + ".partial-"
  let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
  for name in names where name.hasPrefix(prefix) {
    let numbers = name.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false).map { pid_t($0) }
    guard numbers.count == 2, !numbers.contains(nil), let process = numbers[0], process > 0,
      process == getpid() || kill(process, 0) != 0 && errno == ESRCH,
      let lock = lockedDescriptor(parent + "/" + name)
    else { continue }
    for leftover in names where leftover == name || leftover.hasPrefix(name + ".") {
      try? FileManager.default.removeItem(atPath: parent + "/" + leftover)
    }
    close(lock)
  }
}

/// A descriptor that holds a lock on a file or directory for this process; nil where it cannot be locked.
func lockedDescriptor(_ path: String) -> Int32? {
  // NFS locks a file only if it is open for writing; a directory cannot be.
  var descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)
  if descriptor < 0 && errno == EISDIR {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
  }
  guard descriptor >= 0 else { return nil }
  if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
  close(descriptor)
  return nil
}
