import Storage

/// Routes about tokens and settings, with the names of llama.cpp's server and of vLLM.
extension ModelServer {
  static let llamaCpp: [Route<ModelServer>] = [
    Route(method: "POST", path: "/tokenize") { server, request, _, reply throws(APIError) in
      reply.send(HTTPResponse(try server.tokenized(try server.fields(request))))
    },
    Route(method: "POST", path: "/detokenize") { server, request, _, reply throws(APIError) in
      let fields = try server.fields(request)
      let tokens = try fields["tokens"] == .array([]) ? [] : server.reader.tokens(fields, "tokens")
      let text = JSON.string(server.model.tokenizer.decode(tokens))
      // llama.cpp's name, and vLLM's.
      reply.send(HTTPResponse(.object([.init("content", text), .init("prompt", text)])))
    },
    Route(method: "POST", path: "/apply-template") { server, request, _, reply throws(APIError) in
      let tokens = try server.prompt(try server.fields(request))
      reply.send(HTTPResponse(.object([.init("prompt", .string(server.model.tokenizer.decode(tokens)))])))
    },
    Route(method: "GET", path: "/props") { server, _, _, reply throws(APIError) in
      reply.send(HTTPResponse(server.properties))
    },
  ]

  /// llama.cpp's clients send `content`, vLLM's `prompt` or `messages`; each expects the begin token as its server does.
  private func tokenized(_ fields: RequestFields) throws(APIError) -> JSON {
    let tokens: [Int32]
    if fields["messages"] != nil {
      tokens = try prompt(fields)
    } else {
      let isLlamaCpp = fields["content"] != nil
      let name = isLlamaCpp ? "content" : "prompt"
      guard let text = try fields.string(name) else {
        throw APIError.invalid("content", "'content' is missing, the text to be tokenized.")
      }
      let adds = try fields.bool(isLlamaCpp ? "add_special" : "add_special_tokens") ?? !isLlamaCpp
      let parses = try fields.bool("parse_special") ?? true
      let own: [Int32]
      do { own = try model.tokenizer.encode(text, specialTokens: parses ? .parsed : .asText) } catch {
        throw APIError.invalid(name, "'\(name)': \(error)")
      }
      tokens = adds && own.first != model.tokenizer.beginToken ? model.tokenizer.beginTokens + own : own
    }
    func text(_ token: Int32) -> JSON { .string(String(decoding: model.tokenizer.bytes(of: token), as: UTF8.self)) }
    var list: [JSON] = tokens.map { .integer(Int($0)) }
    if try fields.bool("with_pieces") ?? false {
      list = tokens.map { token in
        let bytes = model.tokenizer.bytes(of: token)
        let piece = String(validating: bytes, as: UTF8.self).map { JSON.string($0) }
        return .object([
          .init("id", .integer(Int(token))), .init("piece", piece ?? .array(bytes.map { .integer(Int($0)) })),
        ])
      }
    }
    var members: [JSON.Member] = [
      .init("tokens", .array(list)), .init("count", .integer(tokens.count)),
      .init("max_model_len", .integer(model.contextLength)),
    ]
    if try fields.bool("return_token_strs") ?? false { members.append(.init("token_strs", .array(tokens.map(text)))) }
    return .object(members)
  }

  private var properties: JSON {
    func text(_ tokens: [Int32]) -> JSON { .string(model.tokenizer.decode(tokens)) }
    var template = JSON.null
    if case .success(let known) = model.template { template = .string(known.text) }
    let settings = JSON.object([
      .init("n_ctx", .integer(model.contextLength)), .init("params", model.defaults.json),
    ])
    return .object([
      .init("default_generation_settings", settings), .init("total_slots", .integer(width)),
      .init("model_alias", .string(model.name)), .init("chat_template", template),
      .init("bos_token", text(model.tokenizer.beginTokens)), .init("eos_token", text([model.tokenizer.endToken])),
      .init("modalities", .object([.init("vision", .bool(model.sight != nil)), .init("audio", .bool(false))])),
      .init("build_info", .string("minimind " + model.fingerprint)),
    ])
  }
}
