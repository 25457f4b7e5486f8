import Foundation

/// A file mapped read-only into memory: opening costs no reading, and pages come in as they are touched.
///
/// Sendable: the mapping is never written and lives until `deinit`. A file that another process
/// shortens while it is mapped would fault; every writer in this project replaces files by renaming.
public final class MappedFile: @unchecked Sendable {
  public let path: String
  /// The whole file. Valid only while this object lives.
  public let bytes: UnsafeRawBufferPointer

  /// Maps the file at `path`. An empty file gives empty `bytes`.
  ///
  /// - Throws: `FileError` for what cannot be mapped, is no regular file, or is a pointer of Git LFS.
  public init(_ path: String) throws(FileError) {
    self.path = path
    // Without O_NONBLOCK a pipe would wait here for a writer that never comes.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError("cannot read", path, errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FileError("cannot read \(path): it is not a regular file.")
    }
    let count = Int(status.st_size)
    if count == 0 {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw FileError("cannot map", path, errno: errno)
    }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
    try GitLFSPointer.refuse(bytes, path)
  }

  deinit {
    if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
  }

  /// Advises the kernel that some bytes will not be read again soon, so that they no longer count as this program's
  /// memory. Reading them again is allowed and maps them in again.
  package func release(_ range: Range<Int>) {
    let page = Int(getpagesize())
    let first = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound / page * page
    guard let base = bytes.baseAddress, first < end else { return }
    madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, MADV_DONTNEED)
  }

  /// The bytes of the file at `path`, copied.
  package static func contents(of path: String) throws(FileError) -> [UInt8] {
    let file = try MappedFile(path)
    return withExtendedLifetime(file) { Array(file.bytes) }
  }
}
