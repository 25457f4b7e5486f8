/// Messages whose length only the sender knows. The calling thread waits; other threads of the process go on computing.
///
/// `check` is called while waiting; an error that it throws ends the wait, and then the exchange can only be closed.
extension ProcessExchange {
  /// Sends `outgoing[r]` to rank r and returns what each rank sent to this one, in the order of ranks (MPI's
  /// all-to-all).
  package func exchange(_ outgoing: [[UInt8]], check: () throws -> Void) throws -> [[UInt8]] {
    precondition(outgoing.count == count, "bytes for \(outgoing.count) of \(count) ranks")
    guard !isAlone else { return outgoing }
    let lengths = try transfer(outgoing.map { bytes(of: $0.count) }, lengths: peers.map { ($0, 8) }, check)
    return try transfer(outgoing, lengths: lengths.enumerated().map { ($0, integer($1)) }, check)
  }

  /// Gives the first rank the bytes of all others, one rank's after another's, so that it holds one message at a time.
  ///
  /// - Parameter body: called in the first rank, in the order of ranks, with the bytes of each other one.
  package func collect(_ own: [UInt8], check: () throws -> Void, _ body: ([UInt8]) throws -> Void) throws {
    guard !isAlone else { return }
    var outgoing = [[UInt8]](repeating: [], count: count)
    if isFirst {
      let lengths = try transfer(outgoing, lengths: peers.map { ($0, 8) }, check)
      for peer in peers { try body(transfer(outgoing, lengths: [(peer, integer(lengths[peer]))], check)[peer]) }
    } else {
      for message in [bytes(of: own.count), own] {
        outgoing[0] = message
        _ = try transfer(outgoing, lengths: [], check)
      }
    }
  }

  /// Sends what is not empty to the others, and receives as many bytes from each as `lengths` says; its own bytes are
  /// copied.
  private func transfer(
    _ outgoing: [[UInt8]], lengths: [(peer: Int, count: Int)], _ check: () throws -> Void
  ) throws -> [[UInt8]] {
    guard let thread else { return outgoing }
    var incoming = [[UInt8]](repeating: [], count: count)
    incoming[rank] = outgoing[rank]
    let sends = peers.filter { !outgoing[$0].isEmpty }.map { copy(of: outgoing[$0], for: $0) }
    let receives = lengths.filter { $0.peer != rank && $0.count > 0 }.map { room($0.count, from: $0.peer) }
    try thread.run { Result { try transfer(sends: sends, receives: receives, isPatient: true, check: check) } }.get()
    // After an error the memory is left as it is: a message may still be on its way into it.
    for message in receives {
      incoming[message.peer] = [UInt8](UnsafeRawBufferPointer(start: message.bytes, count: message.byteCount))
    }
    for message in sends + receives { message.bytes.deallocate() }
    return incoming
  }

  private func room(_ byteCount: Int, from peer: Int) -> Message {
    Message(peer: peer, bytes: .allocate(byteCount: byteCount, alignment: 16), byteCount: byteCount)
  }

  private func copy(of bytes: [UInt8], for peer: Int) -> Message {
    let message = room(bytes.count, from: peer)
    bytes.withUnsafeBytes { message.bytes.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    return message
  }

  private func bytes(of count: Int) -> [UInt8] { withUnsafeBytes(of: Int64(count).littleEndian, Array.init) }

  private func integer(_ bytes: [UInt8]) -> Int {
    bytes.isEmpty ? 0 : Int(Int64(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) }))
  }
}
