import Foundation
import Storage
import Synchronization

/// A kind of file system, by what it refuses.
package enum DiskKind: String, CaseIterable, Sendable {
  /// ext4 and most others of Linux.
  case complete
  /// exFAT and FAT: no second name for a file, no symbolic link, no exchange.
  case withoutLinks
  /// NFS: no exchange, and each reply to a renaming is lost, so that the question comes again.
  case network
  /// An overlay whose lower layer brought along all directories that have their final name.
  case overlay

  package var calls: DiskCalls {
    var calls = DiskCalls()
    switch self {
    case .complete: break
    case .withoutLinks:
      calls.link = { _, _ in refuse(EPERM) }
      calls.symlink = { _, _ in refuse(EPERM) }
      calls.exchange = { _, _ in refuse(EINVAL) }
    case .network:
      calls.exchange = { _, _ in refuse(EINVAL) }
      calls.rename = { rename($0, $1) == 0 ? refuse(ENOENT) : -1 }
    case .overlay:
      calls.exchange = { _, _ in refuse(EXDEV) }
      calls.rename = { from, to in
        var status = stat()
        let isDirectory = lstat(from, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        return isDirectory && !from.contains(".partial-") ? refuse(EXDEV) : rename(from, to)
      }
    }
    return calls
  }
}

private func refuse(_ code: Int32) -> Int32 {
  errno = code
  return -1
}

extension DiskCalls {
  /// These calls, with `body` before each: what it sees is what a process leaves that is killed there.
  package func observed(_ body: @escaping @Sendable () -> Void) -> DiskCalls {
    func before(_ call: @escaping @Sendable (String, String) -> Int32) -> @Sendable (String, String) -> Int32 {
      { first, second in
        body()
        return call(first, second)
      }
    }
    var calls = self
    calls.rename = before(rename)
    calls.exchange = before(exchange)
    calls.link = before(link)
    calls.symlink = before(symlink)
    return calls
  }
}

/// Copies of a directory, each made while another process might have been killed.
package final class Snapshots: Sendable {
  private let source: String
  private let folder: String
  private let count = Mutex(0)

  /// - Parameter folder: where they go, which need not exist.
  package init(of source: String, in folder: String) throws {
    (self.source, self.folder) = (source, folder)
    try createDirectory(folder)
  }

  package func take() {
    count.withLock { count in
      guard FileManager.default.fileExists(atPath: source) else { return }
      try! FileManager.default.copyItem(atPath: source, toPath: "\(folder)/\(count)")
      count += 1
    }
  }

  package var paths: [String] { (0..<count.withLock { $0 }).map { "\(folder)/\($0)" } }
}
