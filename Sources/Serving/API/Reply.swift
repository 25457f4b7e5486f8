import Dispatch
import Storage
import Synchronization

/// The answer to one request on its way to the client, with the headers that every answer has.
package final class Reply: Sendable {
  private let sink: any ResponseSink
  private let headers: [(name: String, value: String)]
  private let count: @Sendable (_ status: Int) -> Void
  private let style: APIStyle
  private struct State {
    /// A stream has begun, so its status has been sent.
    var isStream = false
    var headers: [(name: String, value: String)] = []
  }
  private let state = Mutex(State())

  /// - Parameter count: called once, when the status is known.
  init(
    _ sink: any ResponseSink, headers: [(name: String, value: String)], style: APIStyle = .openAI,
    count: @escaping @Sendable (_ status: Int) -> Void
  ) {
    self.sink = sink
    self.headers = headers
    self.style = style
    self.count = count
  }

  /// Adds a header to an answer that has not begun.
  func add(_ name: String, _ value: String) { state.withLock { $0.headers.append((name, value)) } }

  package func send(_ response: HTTPResponse) {
    var response = response
    response.headers += headers + state.withLock { $0.headers }
    // A client that has gone gets no status at all; 499 is nginx's number for that.
    count(sink.isClosed ? 499 : response.status)
    sink.respond(response)
  }

  /// Answers with JSON, which is made on another thread: it may be long, and the calling thread
  /// has other clients to serve.
  package func send(_ json: @escaping @Sendable () -> JSON) {
    DispatchQueue.global().async { [self] in send(HTTPResponse(json())) }
  }

  /// Begins a stream.
  func startStream(contentType: String) {
    var head = HTTPResponse(contentType: contentType)
    head.add("X-Accel-Buffering", "no")  // nginx would hold events back
    head.headers += headers
    state.withLock { state in
      state.isStream = true
      head.headers += state.headers
    }
    count(head.status)
    sink.startStream(head)
  }

  /// Whether the client has gone.
  var isClosed: Bool { sink.isClosed }

  func write(_ bytes: [UInt8]) { sink.write(bytes) }

  func end() { sink.end() }

  /// Answers with an error.
  ///
  /// - Parameter event: the last one of a stream that has begun.
  func fail(_ error: APIError, event: [UInt8] = []) {
    guard state.withLock({ $0.isStream }) else { return send(error.response(style)) }
    sink.write(event)
    sink.end()
  }

  func onDisconnect(_ action: @escaping @Sendable () -> Void) { sink.onDisconnect(action) }
}
