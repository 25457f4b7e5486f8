/// Where the answer to one request goes: a client's connection, or the memory of a test.
///
/// An answer comes whole by `respond`, or as a stream: `startStream` once, `write` any number of times, `end`. Only the
/// first answer counts. Every function may be called from any thread, and returns at once.
package protocol ResponseSink: Sendable {
  /// Answers with `response`, whole.
  func respond(_ response: HTTPResponse)

  /// Begins an answer of unknown length with a status and headers; `head` has no body.
  func startStream(_ head: HTTPResponse)

  /// Sends more of a stream. Bytes written before `startStream` follow the head.
  func write(_ bytes: [UInt8])

  /// Ends a stream.
  func end()

  /// Whether the client has disconnected, or was given up on, or has received everything.
  var isClosed: Bool { get }

  /// Sets what to do if the client goes before the answer is complete; does it at once if the client has gone.
  func onDisconnect(_ action: @escaping @Sendable () -> Void)
}
