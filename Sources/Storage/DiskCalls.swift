import CStorage
import Foundation

/// The system calls that some file systems refuse. exFAT and FAT have no links, network file systems and FUSE cannot swap
/// two directories, and an overlay, such as a container's, cannot rename a directory that its image brought along.
///
/// The one other way to do the same is beside each use of a call: `AtomicDirectory`, `AtomicLink`, `linkOrCopy`. A call
/// returns 0, or -1 with `errno` set.
package struct DiskCalls: Sendable {
  package var rename: @Sendable (_ from: String, _ to: String) -> Int32 = { Foundation.rename($0, $1) }
  /// Swaps what is at two paths, in one step.
  package var exchange: @Sendable (_ first: String, _ second: String) -> Int32 = { minimind_exchange_paths($0, $1) }
  /// Gives a file a second name.
  package var link: @Sendable (_ file: String, _ name: String) -> Int32 = { Foundation.link($0, $1) }
  /// Makes a name that leads to another path.
  package var symlink: @Sendable (_ target: String, _ name: String) -> Int32 = { Foundation.symlink($0, $1) }

  package init() {}

  /// Those in use; tests give others to one task.
  @TaskLocal package static var current = DiskCalls()
}

/// Renames a file or a directory.
///
/// A file server whose reply was lost is asked again, and then says that there is nothing to rename. What has arrived counts.
///
/// - Returns: false with `errno` set.
func renameItem(_ from: String, _ to: String) -> Bool {
  var before = stat()
  let isKnown = lstat(from, &before) == 0
  if DiskCalls.current.rename(from, to) == 0 { return true }
  let code = errno
  var after = stat()
  if code == ENOENT, isKnown, lstat(to, &after) == 0, before.st_dev == after.st_dev, before.st_ino == after.st_ino {
    return true
  }
  errno = code
  return false
}

/// Gives the files of a directory, and those of the directories in it, a second name in another one, where the file system
/// has such names; elsewhere copies them. The other directory is made.
///
/// - Throws: `FileError`.
package func linkOrCopy(contentsOf source: String, to path: String) throws {
  try createDirectory(path)
  for name in try FileManager.default.contentsOfDirectory(atPath: source) {
    let (from, to) = (source + "/" + name, path + "/" + name)
    var status = stat()
    guard stat(from, &status) == 0 else { throw FileError("cannot open", from, errno: errno) }
    if status.st_mode & S_IFMT == S_IFDIR {
      try linkOrCopy(contentsOf: from, to: to)
    } else if DiskCalls.current.link(from, to) != 0 {
      try copyFile(from, to: to)
    }
  }
}

private func copyFile(_ source: String, to path: String) throws(FileError) {
  let file = try MappedFile(source)
  let copy = try AtomicFile(path)
  for start in stride(from: 0, to: file.bytes.count, by: 16 << 20) {
    let piece = start..<min(start + 16 << 20, file.bytes.count)
    try copy.write(UnsafeRawBufferPointer(rebasing: file.bytes[piece]))
    file.release(piece)
  }
  try copy.commit()
}

/// Whether files of a directory can have a second name, which takes no room. True also where that cannot be tried.
package func canLinkFiles(in directory: String) -> Bool {
  var file: Int32 = -1
  let name = try? temporaryName(beside: directory + "/minimind") { name in
    file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    return file
  }
  guard let name else { return true }
  defer {
    unlink(name)
    close(file)
  }
  guard DiskCalls.current.link(name, name + ".link") == 0 else { return false }
  unlink(name + ".link")
  return true
}
