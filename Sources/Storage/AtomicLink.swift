import Foundation

/// A name that leads to another entry of its directory: a symbolic link, or a small file that holds the other's name, where
/// the file system has no links.
package enum AtomicLink {
  /// Lets `path` lead to the entry `name` of the same directory, in one step.
  ///
  /// A directory at `path`, which is what remains of a link when a run is copied with links followed, is removed.
  ///
  /// - Throws: `FileError`; then `path` leads where it led before.
  package static func write(_ name: String, at path: String) throws(FileError) {
    guard target(of: path) != name else { return }
    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { try AtomicDirectory.remove(path) }
    let temporary = "\(path).partial-\(getpid())"
    unlink(temporary)
    if DiskCalls.current.symlink(name, temporary) != 0 {
      try AtomicFile.write(name + "\n", to: temporary)
    }
    guard renameItem(temporary, path) else { throw FileError("cannot create", path, errno: errno) }
    try synchronizeDirectory(parentDirectory(of: path))
  }

  /// The directory that `path` leads to where the name is a file; `path` itself otherwise, since the system follows the
  /// other kind.
  package static func followed(_ path: String) -> String {
    let name = withoutTrailingSlashes(path)
    var status = stat()
    guard lstat(name, &status) == 0, status.st_mode & S_IFMT == S_IFREG, let target = target(of: name) else {
      return path
    }
    let directory = parentDirectory(of: name) + "/" + target
    return stat(directory, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR ? directory : path
  }

  /// The entry that `path` leads to; nil for what is no such name.
  package static func target(of path: String) -> String? {
    var status = stat()
    guard lstat(path, &status) == 0 else { return nil }
    if status.st_mode & S_IFMT == S_IFLNK { return try? FileManager.default.destinationOfSymbolicLink(atPath: path) }
    guard status.st_mode & S_IFMT == S_IFREG, (1...256).contains(status.st_size),
      let bytes = try? MappedFile.contents(of: path), let text = String(validating: bytes, as: UTF8.self),
      text.last == "\n", !text.dropLast().isEmpty, !text.dropLast().contains(where: { $0 == "/" || $0 == "\n" })
    else { return nil }
    return String(text.dropLast())
  }
}
