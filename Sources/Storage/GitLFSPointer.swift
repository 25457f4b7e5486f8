/// The three lines of text that Git puts in the place of a large file where its extension LFS has not fetched it.
///
/// Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
package enum GitLFSPointer {
  private static let firstLine = "version https://git-lfs.github.com/spec/"
  /// The specification's limit.
  private static let maximumBytes = 1024

  /// - Throws: `FileError` if the file at `path` that begins with `head` is such a pointer.
  package static func refuse(_ head: some Collection<UInt8>, _ path: String) throws(FileError) {
    guard head.starts(with: firstLine.utf8), head.prefix(maximumBytes).count < maximumBytes else { return }
    throw FileError(
      "\(path) is not the file itself but a pointer to it, as Git leaves it where LFS is missing. Fetch the file in its "
        + "directory: git lfs install && git lfs pull")
  }
}
