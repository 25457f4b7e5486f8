import Dispatch
import Storage
import Synchronization

/// The answer to one request on its way to the client, with the headers that every answer has.
package final class Reply: Sendable {
  private let sink: any ResponseSink
  private let headers: [(name: String, value: String)]
  private let count: @Sendable (_ status: Int) -> Void
  /// A stream has begun, so its status has been sent.
  private let isStream = Mutex(false)

  /// - Parameter count: called once, when the status is known.
  init(
    _ sink: any ResponseSink, headers: [(name: String, value: String)],
    count: @escaping @Sendable (_ status: Int) -> Void
  ) {
    self.sink = sink
    self.headers = headers
    self.count = count
  }

  package func send(_ response: HTTPResponse) {
    var response = response
    response.headers += headers
    // A client that has gone gets no status at all; 499 is nginx's number for that.
    count(sink.isClosed ? 499 : response.status)
    sink.respond(response)
  }

  /// Answers with JSON, which is made on another thread: it may be long, and the calling thread
  /// has other clients to serve.
  package func send(_ json: @escaping @Sendable () -> JSON) {
    DispatchQueue.global().async { [self] in send(HTTPResponse(json())) }
  }

  /// Begins a stream of events.
  func startStream() {
    var head = HTTPResponse(contentType: "text/event-stream; charset=utf-8")
    head.add("X-Accel-Buffering", "no")  // nginx would hold events back
    head.headers += headers
    isStream.withLock { $0 = true }
    count(head.status)
    sink.startStream(head)
  }

  func write(_ bytes: [UInt8]) { sink.write(bytes) }

  func end() { sink.end() }

  /// Answers with an error; in a stream that has begun, by its last event.
  func fail(_ error: APIError) {
    guard isStream.withLock({ $0 }) else { return send(error.response) }
    sink.write(serverSentEvent(error.json.compactText))
    sink.end()
  }

  func onDisconnect(_ action: @escaping @Sendable () -> Void) { sink.onDisconnect(action) }
}
