import Storage

/// Ollama's API, translated.
extension ModelServer {
  static let ollama: [Route<ModelServer>] = [
    Route(method: "GET", path: "/api/version", style: .ollama) { server, _, _, reply throws(APIError) in
      // The version of Ollama whose API this is; clients ask for it to know what they may send.
      reply.send(HTTPResponse(.object([.init("version", .string("0.14.0"))])))
    },
    Route(method: "GET", path: "/api/tags", style: .ollama) { server, _, _, reply throws(APIError) in
      reply.send(HTTPResponse(.object([.init("models", .array([server.ollamaDescription]))])))
    },
    Route(method: "GET", path: "/api/ps", style: .ollama) { server, _, _, reply throws(APIError) in
      reply.send(HTTPResponse(.object([.init("models", .array([server.ollamaDescription]))])))
    },
    Route(method: "POST", path: "/api/show", style: .ollama) { server, request, _, reply throws(APIError) in
      _ = try server.fields(request)
      reply.send(HTTPResponse(server.ollamaDetails))
    },
    Route(method: "POST", path: "/api/chat", style: .ollama) { server, request, _, reply throws(APIError) in
      let fields = try server.fields(request)
      let translated = try TranslatedRequest(ollama: fields)
      if fields["messages"] == .array([]) { return reply.send(server.nothing(isChat: true)) }
      let call = try translated.call(server.chatCall)
      try server.answer(call, OllamaFormat(isChat: true, model: server.model.name), reply)
    },
    Route(method: "POST", path: "/api/generate", style: .ollama) { server, request, _, reply throws(APIError) in
      let fields = try server.fields(request)
      let translated = try TranslatedRequest(ollama: fields)
      if fields["prompt"] == .string("") { return reply.send(server.nothing(isChat: false)) }
      let isRaw = try fields.bool("raw") ?? false
      let call = try translated.perform(isRaw ? server.completionCall : server.chatCall)
      try server.answer(call, OllamaFormat(isChat: false, model: server.model.name), reply)
    },
    Route(method: "POST", path: "/api/embed", style: .ollama) { server, request, _, reply throws(APIError) in
      try server.embed(try server.fields(request), reply) { [name = server.model.name] vectors, tokens in
        .object([
          .init("model", .string(name)), .init("embeddings", .array(vectors.map { $0["embedding"] ?? .null })),
          .init("prompt_eval_count", .integer(tokens)),
        ])
      }
    },
  ]

  /// The answer to a request without messages or prompt, with which clients load a model or unload it. This one stays.
  private func nothing(isChat: Bool) -> HTTPResponse {
    HTTPResponse(OllamaFormat(isChat: isChat, model: model.name).loaded)
  }

  private var ollamaDescription: JSON {
    .object([
      .init("name", .string(model.name)), .init("model", .string(model.name)),
      .init("digest", .string(model.fingerprint)), .init("context_length", .integer(model.contextLength)),
      .init("details", details),
    ])
  }

  private var details: JSON {
    .object([.init("family", .string("minimind")), .init("families", .array([.string("minimind")]))])
  }

  private var ollamaDetails: JSON {
    var template = ""
    if case .success(let known) = model.template { template = known.text }
    let capabilities =
      ["completion", "embedding"] + (template.isEmpty ? [] : ["tools"]) + (model.thinks ? ["thinking"] : [])
    return .object([
      .init("template", .string(template)), .init("details", details), .init("modelfile", .string("")),
      .init("capabilities", .array(capabilities.map { .string($0) })),
      .init(
        "model_info",
        .object([
          .init("general.architecture", .string("minimind")),
          .init("minimind.context_length", .integer(model.contextLength)),
          .init("minimind.embedding_length", .integer(model.hiddenSize)),
        ])),
    ])
  }
}
