/// A request, complete.
package struct HTTPRequest: Sendable {
  package var method: String
  /// The path, percent-decoded, without the query.
  package var path: String
  /// Values of the headers by name in lower case; the first value of a repeated header.
  package var headers: [String: String]
  package var body: [UInt8]

  package init(method: String, path: String, headers: [String: String] = [:], body: [UInt8] = []) {
    self.method = method
    self.path = path
    self.headers = headers
    self.body = body
  }
}

/// Headers in the order received, with names in lower case.
struct HTTPHeaders {
  private(set) var list: [(name: String, value: String)] = []

  mutating func add(_ name: String, _ value: String) { list.append((name.lowercased(), value)) }

  private func values(_ name: String) -> [String] { list.filter { $0.name == name }.map(\.value) }

  /// Why it is not certain where the request ends or which host it is for; nil if it is. A proxy in front of the server
  /// may read such a request differently (RFC 9112, sections 3.2 and 6.3).
  var ambiguity: String? {
    let lengths = values("content-length")
    let codings = values("transfer-encoding")
    if values("host").count > 1 { return "The request has several Host headers." }
    if lengths.count > 1 { return "The request has several Content-Length headers." }
    if codings.isEmpty { return nil }
    if !lengths.isEmpty { return "The request has both Content-Length and Transfer-Encoding." }
    return codings.map { $0.lowercased() } == ["chunked"]
      ? nil : "The request has a Transfer-Encoding other than chunked."
  }
}

/// Why a request does not reach a handler.
package enum HTTPRefusal: Error, Equatable, Sendable {
  case bodyTooLarge(limit: Int)
  /// The reason is a sentence.
  case ambiguous(String)
  /// The bodies of all current requests together are too large.
  case overloaded
}

/// An answer, or the head of one that is streamed.
package struct HTTPResponse: Sendable {
  package var status: Int
  package var headers: [(name: String, value: String)]
  package var body: [UInt8]

  package init(status: Int = 200, contentType: String? = nil, body: [UInt8] = []) {
    self.status = status
    headers = contentType.map { [("Content-Type", $0)] } ?? []
    self.body = body
  }

  package init(status: Int = 200, contentType: String, text: String) {
    self.init(status: status, contentType: contentType, body: Array(text.utf8))
  }

  package mutating func add(_ name: String, _ value: String) { headers.append((name, value)) }

  /// Whether the body is a stream of Server-Sent Events, which may have comments.
  var isEventStream: Bool {
    headers.contains { $0.name == "Content-Type" && $0.value.hasPrefix("text/event-stream") }
  }
}

/// What clients may use of the server's memory and time.
package struct HTTPLimits: Sendable {
  /// Open connections; further ones wait until one of these is closed.
  package var connections = 512
  /// Bytes for each connection: the request's line and headers, and what is being sent.
  package var connectionMemory = 32 << 10
  /// Bytes of one request's body. A longer one is read and dropped up to eight times this, so that the client can
  /// read why it was refused.
  package var body = 4 << 20
  /// Bytes of all bodies that are being received.
  package var allBodies = 64 << 20
  /// Bytes that wait for a client to read them while its answer is being written; with more, the connection is closed.
  package var unsent = 1 << 20
  /// Seconds that a client has to send a whole request, counted from when it connected or its last answer ended; and to
  /// read the rest of an answer that is complete.
  package var patience = 60.0
  /// Seconds of silence in a stream after which a comment is sent, so that no proxy closes the connection as idle.
  package var silence = 15.0

  package init() {}
}
