import Foundation

/// A failure of the file system: the path, what went wrong, and what to do.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String

  public init(_ description: String) { self.description = description }

  /// The error for a failed system call on `path`.
  ///
  /// - Parameters:
  ///   - action: what was being done, as in "cannot open".
  ///   - code: the value of `errno` right after the call.
  public init(_ action: String, _ path: String, errno code: Int32) {
    let reason: String
    switch code {
    case ENOENT: reason = "there is no such file or directory. Check the path"
    case EACCES, EPERM: reason = "permission denied. Check the permissions, or choose another path"
    case EROFS: reason = "the file system is read-only. Choose another directory"
    case ENOSPC, EDQUOT: reason = "the disk is full. Free some space, or choose a directory on another disk"
    case EFBIG: reason = "files may not become that large here (ulimit -f). Raise the limit"
    case EMFILE, ENFILE:
      reason = "no more files may be open at once (ulimit -n). Raise the limit, or let fewer programs run"
    case ENOMEM: reason = "there is not enough memory (look at ulimit -v). Close other programs, or raise the limit"
    case EISDIR: reason = "it is a directory, a file is expected"
    case ENOTDIR: reason = "a part of the path is not a directory"
    case ENAMETOOLONG: reason = "the name is too long"
    case EFBIG: reason = "the file is larger than its file system allows. Choose a directory on another disk"
    case ENOLCK, ENOSYS, EOPNOTSUPP: reason = "its file system cannot do that. Choose a directory on another disk"
    case EIO, ESTALE, ETIMEDOUT:
      reason =
        "\(String(cString: strerror(code))). The disk, or the network that it is reached by, has failed: check it"
    default: reason = String(cString: strerror(code))
    }
    description = "\(action) \(path): \(reason)."
  }
}
