import Storage

/// A path of the API and what answers there.
package struct Route: Sendable {
  let method: String
  /// Without `/v1`, with `{id}` at its end for any rest.
  let path: String
  /// Whether it can be used without a key.
  var isOpen = false
  let answer: @Sendable (ModelServer, HTTPRequest, _ path: String, Reply) throws(APIError) -> Void

  /// For metrics.
  package var name: String { path }

  package static let all: [Route] = [
    Route(method: "POST", path: "/chat/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try fields(request, server), .chat, reply)
    },
    Route(method: "POST", path: "/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try fields(request, server), .completion, reply)
    },
    Route(method: "POST", path: "/embeddings") { server, request, _, reply throws(APIError) in
      try server.embed(try fields(request, server), reply)
    },
    Route(method: "GET", path: "/models") { server, _, _, reply throws(APIError) in
      reply.send(
        HTTPResponse(.object([.init("object", .string("list")), .init("data", .array([server.description]))])))
    },
    Route(method: "GET", path: "/models/{id}") { server, _, path, reply throws(APIError) in
      guard path.dropFirst("/models/".count) == server.model.name else { throw server.unknownModel }
      reply.send(HTTPResponse(server.description))
    },
    Route(method: "GET", path: "/health", isOpen: true) { server, _, _, reply throws(APIError) in
      if server.isStopping { throw .stopping }
      reply.send(HTTPResponse(.object([.init("status", .string("ok"))])))
    },
    Route(method: "GET", path: "/metrics") { server, _, _, reply throws(APIError) in
      let text = server.metrics.text(server.scheduler.statistics)
      reply.send(HTTPResponse(contentType: "text/plain; version=0.0.4; charset=utf-8", text: text))
    },
  ]

  /// The fields of a request that names a model.
  private static func fields(_ request: HTTPRequest, _ server: ModelServer) throws(APIError) -> RequestFields {
    let fields = try RequestFields(body: request.body)
    try server.check(modelName: try fields.string("model"))
    return fields
  }

  /// A path without `/v1` before it and slashes behind it, with which clients differ.
  package static func normalized(_ path: String) -> String {
    // By bytes: to count characters for each of many slashes would take a second.
    guard let end = path.utf8.lastIndex(where: { $0 != UInt8(ascii: "/") }) else { return "/" }
    var path = Substring(path.utf8[...end])
    if path == "/v1" || path.hasPrefix("/v1/") { path.removeFirst(3) }
    return path.isEmpty ? "/" : String(path)
  }

  /// - Parameter path: normalised.
  package func matches(_ path: String) -> Bool {
    guard self.path.hasSuffix("{id}") else { return path == self.path }
    let prefix = self.path.dropLast("{id}".count)
    return path.hasPrefix(prefix) && path.count > prefix.count
  }
}
