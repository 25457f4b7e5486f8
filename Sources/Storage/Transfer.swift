import Foundation

/// Calls `move` until it has moved all bytes: a call may move fewer than it was asked to, and a signal may interrupt it.
///
/// - Parameters:
///   - count: bytes.
///   - move: moves some of the rest, as `read` and `write` do; gets how many are done.
/// - Returns: false where it has failed, with the reason in `errno`, or has met the end before all are moved; `errno` is 0
///   then.
package func transfer(_ count: Int, _ move: (_ done: Int) -> Int) -> Bool {
  var done = 0
  while done < count {
    errno = 0
    let moved = move(done)
    if moved < 0, errno == EINTR { continue }
    guard moved > 0 else { return false }
    done += moved
  }
  return true
}
