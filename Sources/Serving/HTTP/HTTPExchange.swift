import CMicroHTTPD
import Machine
import Synchronization

/// One request on a connection and the answer to it.
///
/// While there is nothing to send, the connection is suspended: the HTTP library does not look at it. `respond`, `write`
/// and `end` wake it.
final class HTTPExchange: ResponseSink {
  private struct State {
    /// Nil once the handler has it.
    var request: HTTPRequest?
    /// Bytes of the body so far, kept or dropped.
    var receivedBytes = 0
    var refusal: HTTPRefusal?
    var response: HTTPResponse?
    /// The length of the answer is not known at its beginning.
    var isStream = false
    /// Bytes to send; the first `sent` of them have been sent.
    var unsent: [UInt8] = []
    var sent = 0
    /// The size of the largest piece so far.
    var largestWrite = 0
    /// Nothing will be added to `unsent`.
    var isComplete = false
    /// The client has disconnected, or was given up on, or has received everything.
    var isClosed = false
    var isSuspended = false
    var lastWrite = 0.0
    var onDisconnect: (@Sendable () -> Void)?
  }

  private let state: Mutex<State>
  let connection: HTTPConnection
  private let server: HTTPServer

  /// - Parameter refusal: why the request will not be handled; nil if there is no reason so far.
  init(_ request: HTTPRequest, _ connection: HTTPConnection, _ server: HTTPServer, refusal: HTTPRefusal?) {
    state = Mutex(State(request: request, refusal: refusal))
    self.connection = connection
    self.server = server
  }

  // MARK: - For handlers

  func respond(_ response: HTTPResponse) {
    state.withLock { state in
      guard !state.isComplete else { return }
      state.isStream = false
      state.unsent = response.body
      state.response = response
      complete(&state)
    }
  }

  func startStream(_ head: HTTPResponse) {
    state.withLock { state in
      guard !state.isComplete else { return }
      state.isStream = true
      state.response = head
      state.lastWrite = monotonicSeconds()
      wake(&state)
    }
  }

  func write(_ bytes: [UInt8]) {
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

  func end() {
    state.withLock { state in
      if !state.isComplete { complete(&state) }
    }
  }

  var isClosed: Bool { state.withLock { $0.isClosed } }

  func onDisconnect(_ action: @escaping @Sendable () -> Void) {
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

  /// - Returns: what to do outside the lock.
  private func close(_ state: inout State) -> (@Sendable () -> Void)? {
    guard !state.isClosed else { return nil }
    state.isClosed = true
    wake(&state)
    defer { state.onDisconnect = nil }
    return state.onDisconnect
  }

  // MARK: - For the server

  /// Adds a piece of the request's body, or drops it if it is beyond the limits.
  ///
  /// - Returns: false if the body is so long that the connection should be closed.
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
  func popRequest() -> Result<HTTPRequest, HTTPRefusal>? {
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

  /// Gives up on the client.
  func abandon() { state.withLock { close(&$0) }?() }

  /// Gives up on a client that has closed its connection, and breaks a long silence with a comment. The server calls it
  /// a few times a second.
  func checkDeadlines(now: Double) {
    let (isWaiting, isSilent) = state.withLock { state in
      (
        !state.isComplete && !state.isClosed,
        state.isStream && state.response?.isEventStream == true && now - state.lastWrite > server.limits.silence
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
