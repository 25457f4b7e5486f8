import Storage

extension ModelServer {
  /// The paths of the API, without `/v1`.
  package static let routes: [Route<ModelServer>] = [
    Route(method: "POST", path: "/chat/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try server.fields(request), .chat, reply)
    },
    Route(method: "POST", path: "/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try server.fields(request), .completion, reply)
    },
    Route(method: "POST", path: "/embeddings") { server, request, _, reply throws(APIError) in
      try server.embed(try server.fields(request), reply)
    },
    Route(method: "GET", path: "/models") { server, _, _, reply throws(APIError) in
      reply.send(
        HTTPResponse(.object([.init("object", .string("list")), .init("data", .array([server.description]))])))
    },
    Route(method: "GET", path: "/models/{id}") { server, _, values, reply throws(APIError) in
      guard values[0] == server.model.name else { throw server.unknownModel }
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
  private func fields(_ request: HTTPRequest) throws(APIError) -> RequestFields {
    let fields = try RequestFields(body: request.body)
    try check(modelName: try fields.string("model"))
    return fields
  }
}
