import CMicroHTTPD
import Machine
import Synchronization

/// One request and the answer to it, which may come at once or later, whole or in pieces, from any thread.
///
/// While there is nothing to send the connection is suspended: the HTTP library does not look at it. Whoever has
/// something to send wakes it.
package final class HTTPExchange: Sendable {
  private struct State {
    /// Nil when it was handed on.
    var request: HTTPRequest?
    /// Bytes of the body that have come, kept or not.
    var receivedBytes = 0
    var refusal: HTTPRefusal?
    var response: HTTPResponse?
    /// The length of the answer is not known at its beginning.
    var isStream = false
    /// What is to be sent; the first `sent` bytes of it have been.
    var unsent: [UInt8] = []
    var sent = 0
    /// The size of the largest piece so far.
    var largestWrite = 0
    /// Nothing more will come to be sent.
    var isComplete = false
    /// The client has gone, or has been given up, or has everything.
    var isClosed = false
    var isSuspended = false
    var lastWrite = 0.0
    var onDisconnect: (@Sendable () -> Void)?
  }

  private let state: Mutex<State>
  let connection: HTTPConnection
  private let server: HTTPServer

  /// - Parameter refusal: why the request will not be handled; nil when there is no reason so far.
  init(_ request: HTTPRequest, _ connection: HTTPConnection, _ server: HTTPServer, refusal: HTTPRefusal?) {
    state = Mutex(State(request: request, refusal: refusal))
    self.connection = connection
    self.server = server
  }

  // MARK: - For those who answer

  /// Answers with `response`, whole. Only the first answer counts.
  package func respond(_ response: HTTPResponse) {
    state.withLock { state in
      guard !state.isComplete else { return }
      state.isStream = false
      state.unsent = response.body
      state.response = response
      complete(&state)
    }
  }

  /// Begins an answer of unknown length: `head` now, `write` for the rest, `end` after it.
  package func startStream(_ head: HTTPResponse) {
    state.withLock { state in
      guard !state.isComplete else { return }
      state.isStream = true
      state.response = head
      state.lastWrite = monotonicSeconds()
      wake(&state)
    }
  }

  /// Sends more of a stream. Bytes written before `startStream` follow the head.
  package func write(_ bytes: some Collection<UInt8>) {
    let abandoned: (@Sendable () -> Void)? = state.withLock { state in
      guard !state.isComplete, !state.isClosed else { return nil }
      state.unsent += bytes
      state.lastWrite = monotonicSeconds()
      state.largestWrite = max(state.largestWrite, bytes.count)
      // A client that does not read must not fill the memory. One piece, such as an echoed prompt with its
      // probabilities, may be larger than the limit by itself.
      if state.unsent.count - state.sent > server.limits.unsent + state.largestWrite { return close(&state) }
      wake(&state)
      return nil
    }
    abandoned?()
  }

  /// Ends a stream.
  package func end() {
    state.withLock { state in
      if !state.isComplete { complete(&state) }
    }
  }

  /// Whether nobody waits for more of the answer.
  var isClosed: Bool { state.withLock { $0.isClosed } }

  /// Sets what is to be done when nobody waits for the answer any more; at once if that is so already.
  package func onDisconnect(_ action: @escaping @Sendable () -> Void) {
    let isClosed = state.withLock { state in
      if !state.isClosed && !state.isComplete { state.onDisconnect = action }
      return state.isClosed
    }
    if isClosed { action() }
  }

  private func complete(_ state: inout State) {
    state.isComplete = true
    state.onDisconnect = nil
    connection.setDeadline(monotonicSeconds() + server.limits.patience)
    wake(&state)
  }

  private func wake(_ state: inout State) {
    guard state.isSuspended else { return }
    state.isSuspended = false
    connection.resume()
  }

  /// Returns what is to be done outside of the lock.
  private func close(_ state: inout State) -> (@Sendable () -> Void)? {
    guard !state.isClosed else { return nil }
    state.isClosed = true
    wake(&state)
    defer { state.onDisconnect = nil }
    return state.onDisconnect
  }

  // MARK: - For the server

  /// Adds a piece of the request's body, or drops it when there is no room for it.
  ///
  /// - Returns: false when the client sends so much that it is not worth listening any longer.
  func receive(_ piece: UnsafeRawBufferPointer) -> Bool {
    state.withLock { state in
      state.receivedBytes += piece.count
      if state.refusal == nil {
        if state.receivedBytes > server.limits.body {
          state.refusal = .bodyTooLarge(limit: server.limits.body)
        } else if server.reserve(piece.count) {
          state.request?.body += piece
        } else {
          state.refusal = .overloaded
        }
        if state.refusal != nil { dropBody(&state) }
      }
      return state.receivedBytes <= 8 * server.limits.body
    }
  }

  var isRefused: Bool { state.withLock { $0.refusal != nil } }

  /// The request, or why it is refused; nil the second time.
  func takeRequest() -> Result<HTTPRequest, HTTPRefusal>? {
    state.withLock { state in
      guard let request = state.request else { return nil }
      dropBody(&state)
      state.request = nil
      return state.refusal.map { .failure($0) } ?? .success(request)
    }
  }

  private func dropBody(_ state: inout State) {
    server.release(state.request?.body.count ?? 0)
    state.request?.body = []
  }

  /// Hands the answer to the HTTP library, or suspends the connection until there is one.
  func deliver() -> MHD_Result {
    state.withLock { state in
      guard !state.isClosed else { return .NO }
      guard let response = state.response else { return suspend(&state) ? .YES : .NO }
      let size = state.isStream ? UInt64.max : UInt64(state.unsent.count)
      let context = Unmanaged.passRetained(self)
      let answer = MHD_create_response_from_callback(
        size, server.limits.connectionMemory,
        { context, _, buffer, capacity in
          guard let context, let buffer else { return minimindEndWithError }
          return Unmanaged<HTTPExchange>.fromOpaque(context).takeUnretainedValue().read(
            into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity))
        }, context.toOpaque(),
        { context in if let context { Unmanaged<HTTPExchange>.fromOpaque(context).release() } })
      guard let answer else {
        context.release()
        return .NO
      }
      defer { MHD_destroy_response(answer) }
      for header in response.headers { MHD_add_response_header(answer, header.name, header.value) }
      return MHD_queue_response(connection.library.pointer, UInt32(response.status), answer)
    }
  }

  private func suspend(_ state: inout State) -> Bool {
    guard !server.isStopping else { return false }
    state.isSuspended = true
    connection.suspend()
    return true
  }

  private func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    state.withLock { state in
      if state.isClosed { return minimindEndWithError }
      let count = min(buffer.count, state.unsent.count - state.sent)
      if count > 0 {
        state.unsent.withUnsafeBytes { bytes in
          buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[state.sent..<state.sent + count]))
        }
        state.sent += count
        if state.sent == state.unsent.count {
          state.unsent.removeAll(keepingCapacity: true)
          state.sent = 0
        }
        return count
      }
      if state.isComplete { return minimindEndOfStream }
      return suspend(&state) ? 0 : minimindEndWithError
    }
  }

  /// The library is done with the request, one way or another.
  func finish() {
    let abandoned = state.withLock { state in
      dropBody(&state)
      state.isSuspended = false
      return close(&state)
    }
    abandoned?()
  }

  /// Gives the client up.
  func abandon() { state.withLock { close(&$0) }?() }

  /// What the server does from time to time: looks whether the client is still there, and breaks a long silence.
  func attend(now: Double) {
    let (isWaiting, isSilent) = state.withLock { state in
      (
        !state.isComplete && !state.isClosed,
        state.isStream && now - state.lastWrite > server.limits.silence
      )
    }
    guard isWaiting else { return }
    if connection.isClosedByPeer {
      abandon()
    } else if isSilent {
      write(Array(": keepalive\n\n".utf8))
    }
  }
}

/// The macros are casts, which Swift does not import.
private let minimindEndOfStream = -1
private let minimindEndWithError = -2
