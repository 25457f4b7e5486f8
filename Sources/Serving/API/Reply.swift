import Dispatch
import Storage
import Synchronization

/// Where the answer to one request goes: the client, with the headers that every answer has, and the metrics.
final class Reply: Sendable {
  let metrics: ServingMetrics
  private let exchange: HTTPExchange
  private let route: String
  private let headers: [(name: String, value: String)]
  /// A stream has begun, so its status is out.
  private let isStream = Mutex(false)

  init(_ exchange: HTTPExchange, route: String, headers: [(name: String, value: String)], metrics: ServingMetrics) {
    self.exchange = exchange
    self.route = route
    self.headers = headers
    self.metrics = metrics
  }

  func send(_ response: HTTPResponse) {
    var response = response
    response.headers += headers
    // A client that has gone gets no status at all; 499 is nginx's number for that.
    metrics.countRequest(route: route, status: exchange.isClosed ? 499 : response.status)
    exchange.respond(response)
  }

  /// Answers with JSON, which is made on another thread: it may be long, and the scheduler's has others to serve.
  func send(_ json: @escaping @Sendable () -> JSON) {
    DispatchQueue.global().async { [self] in send(HTTPResponse(json())) }
  }

  /// Begins a stream of events.
  func startStream() {
    var head = HTTPResponse(contentType: "text/event-stream; charset=utf-8")
    head.add("X-Accel-Buffering", "no")  // nginx would hold events back
    head.headers += headers
    isStream.withLock { $0 = true }
    metrics.countRequest(route: route, status: head.status)
    exchange.startStream(head)
  }

  func write(_ bytes: [UInt8]) { exchange.write(bytes) }

  func end() { exchange.end() }

  /// Answers with an error; in a stream that has begun, by its last event.
  func fail(_ error: APIError) {
    guard isStream.withLock({ $0 }) else { return send(error.response) }
    exchange.write(serverSentEvent(error.json.compactText))
    exchange.end()
  }

  func onDisconnect(_ action: @escaping @Sendable () -> Void) { exchange.onDisconnect(action) }
}
