/// A request, complete.
package struct HTTPRequest: Sendable {
  package var method: String
  /// The path, percent-decoded, without the query.
  package var path: String
  /// Values of the headers in `headerNames`, by name in small letters.
  package var headers: [String: String]
  package var body: [UInt8]

  package init(method: String, path: String, headers: [String: String] = [:], body: [UInt8] = []) {
    self.method = method
    self.path = path
    self.headers = headers
    self.body = body
  }

  /// The headers that mean something here; the others are not kept.
  static let headerNames = ["host", "origin", "authorization", "access-control-request-headers"]
}

/// Why a request is not handled at all.
package enum HTTPRefusal: Error, Equatable, Sendable {
  case bodyTooLarge(limit: Int)
  /// All bodies together are too large.
  case overloaded
}

/// An answer; of one that is streamed, the head.
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
}

/// What a client may take of the server.
package struct HTTPLimits: Sendable {
  /// Open connections; beyond, a new one is closed at once.
  package var connections = 512
  /// Bytes of a request's line and headers, and of what is being sent, for each connection.
  package var connectionMemory = 32 << 10
  /// Bytes of one request's body. A longer one is read and dropped up to eight times this, so that the client gets to
  /// read why it was refused.
  package var body = 4 << 20
  /// Bytes of all bodies being received or answered.
  package var allBodies = 64 << 20
  /// Bytes that wait for a client to read them while its answer is still being made; beyond, it is given up.
  package var unsent = 1 << 20
  /// Seconds that a client has to send a whole request, from when it connected or its last answer ended; and to read
  /// the rest of an answer that is complete.
  package var patience = 60.0
  /// Seconds of silence in a stream after which a comment is sent, so that nobody in between takes it for dead.
  package var silence = 15.0

  package init() {}
}
