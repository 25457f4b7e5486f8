import Foundation
import Storage

extension ModelServer {
  /// The paths of the API, without `/v1`.
  package static let routes: [Route<ModelServer>] = openAI + anthropic + llamaCpp + ollama

  private static let openAI: [Route<ModelServer>] = [
    Route(method: "POST", path: "/chat/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try server.fields(request), .chat, reply)
    },
    Route(method: "POST", path: "/completions") { server, request, _, reply throws(APIError) in
      try server.generate(try server.fields(request), .completion, reply)
    },
    Route(method: "POST", path: "/responses") { server, request, _, reply throws(APIError) in
      let fields = try server.fields(request)
      let call = try TranslatedRequest(responses: fields).call(server.chatCall)
      let format = ResponsesFormat(
        call, fields, tokenizer: server.model.tokenizer, created: Int(Date().timeIntervalSince1970),
        model: server.model.name)
      try server.answer(call, format, reply)
    },
    Route(method: "POST", path: "/responses/input_tokens") { server, request, _, reply throws(APIError) in
      let tokens = try TranslatedRequest(responses: try server.fields(request)).perform(server.prompt)
      reply.send(
        HTTPResponse(
          .object([
            .init("object", .string("response.input_tokens")), .init("input_tokens", .integer(tokens.count)),
          ])))
    },
    Route(method: "POST", path: "/embeddings") { server, request, _, reply throws(APIError) in
      try server.embed(try server.fields(request), reply) { [name = server.model.name] data, tokens in
        let usage: [JSON.Member] = [.init("prompt_tokens", .integer(tokens)), .init("total_tokens", .integer(tokens))]
        return .object([
          .init("object", .string("list")), .init("data", .array(data)), .init("model", .string(name)),
          .init("usage", .object(usage)),
        ])
      }
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
      let text = server.metrics.text(server.scheduler.statistics, server.model.sight?.statistics)
      reply.send(HTTPResponse(contentType: "text/plain; version=0.0.4; charset=utf-8", text: text))
    },
  ]

  private static let anthropic: [Route<ModelServer>] = [
    Route(method: "POST", path: "/messages", style: .anthropic) { server, request, _, reply throws(APIError) in
      let fields = try server.fields(request)
      let call = try TranslatedRequest(messages: fields).call(server.chatCall)
      try server.answer(call, MessagesFormat(call, model: server.model.name), reply)
    },
    Route(method: "POST", path: "/messages/count_tokens", style: .anthropic) {
      server, request, _, reply throws(APIError) in
      let tokens = try TranslatedRequest(messages: try server.fields(request)).perform(server.prompt)
      reply.send(HTTPResponse(.object([.init("input_tokens", .integer(tokens.count))])))
    },
  ]

  /// The fields of a request that names a model.
  func fields(_ request: HTTPRequest) throws(APIError) -> RequestFields {
    let fields = try RequestFields(body: request.body)
    try check(modelName: try fields.string("model"))
    return fields
  }
}
