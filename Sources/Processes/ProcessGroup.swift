/// Bytes for another process, or room for those that it sends.
package struct Message {
  package var peer: Int
  package var bytes: UnsafeMutableRawPointer
  package var byteCount: Int

  package init(peer: Int, bytes: UnsafeMutableRawPointer, byteCount: Int) {
    self.peer = peer
    self.bytes = bytes
    self.byteCount = byteCount
  }

  /// The same bytes as messages of at most `limit` bytes each, in order; an empty message stays one.
  package func pieces(limit: Int) -> [Message] {
    stride(from: 0, to: max(1, byteCount), by: limit).map { start in
      Message(peer: peer, bytes: bytes + start, byteCount: min(limit, byteCount - start))
    }
  }
}

/// Processes, numbered by rank, that send each other messages. One thread of a process makes all calls.
package protocol ProcessGroup: AnyObject {
  var rank: Int { get }
  var count: Int { get }

  /// Sends and receives; returns when all of it is done. Two processes' messages match by their order.
  ///
  /// - Parameter pause: called between looks at what has arrived; may end the process. `missing` gives the ranks from which
  ///   something is still to come, or that have not taken something. What it throws gives the messages up, and then the
  ///   group can only `abort`.
  func transfer(sends: [Message], receives: [Message], pause: (_ missing: () -> [Int]) throws -> Void) rethrows

  /// Ends the processes of all ranks at once.
  func abort() -> Never

  /// Waits until every rank has called this.
  func close()
}
