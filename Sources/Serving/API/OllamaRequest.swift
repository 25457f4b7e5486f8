import Storage

extension TranslatedRequest {
  /// A request to Ollama's `/api/chat`, or to `/api/generate` with what it asks as a conversation.
  package init(ollama fields: RequestFields) throws(APIError) {
    try FieldTable.ollama.check(fields)
    let options = try fields.fields("options") ?? RequestFields(.object([]))
    try FieldTable.ollamaOptions.check(options)
    self.init(options, translated: "num_predict")
    set("model", fields["model"], from: "model")
    set("max_tokens", try Self.limit(options), from: "options.num_predict")
    set("stream", .bool(try fields.bool("stream") ?? true), from: "stream")
    set("tools", fields["tools"], from: "tools")
    set("response_format", Self.format(fields), from: "format")
    if let think = fields["think"] {
      let name = think.stringValue == nil ? "enable_thinking" : "reasoning_effort"
      set(name, think, from: "think")
    }
    if try fields.bool("raw") ?? false {
      // Ollama writes until the model ends.
      if options["num_predict"] == nil { set("max_tokens", .integer(-1), from: "options.num_predict") }
      set("prompt", fields["prompt"], from: "prompt")
    } else if fields["messages"] == nil {
      if let system = fields["system"] { add("system", system, from: "system") }
      add("user", fields["prompt"], from: "prompt")
    }
    for (index, message) in (try fields.list("messages", limit: 4096) ?? []).enumerated() {
      let place = "messages[\(index)]"
      var content = message["content"]
      if let images = message["images"], !images.isNull, images != .array([]) {
        content = try Self.content(images, content, place)
      }
      let others = [("tool_calls", "tool_calls"), ("thinking", "reasoning_content"), ("tool_name", "name")].compactMap {
        theirs, own in message[theirs].map { JSON.Member(own, $0) }
      }
      add(message["role"]?.stringValue ?? "", content, from: place, others)
    }
  }

  /// Pictures before a text, in the form of chat completions. Ollama does not say what kind they are, and the files do.
  private static func content(_ images: JSON, _ text: JSON?, _ place: String) throws(APIError) -> JSON {
    let files = images.arrayValue?.compactMap(\.stringValue) ?? []
    guard !files.isEmpty, files.count == images.arrayValue?.count else {
      throw APIError.invalid(place + ".images", "'\(place).images' must be a list of texts in base64.")
    }
    var parts = files.map { file in
      let url = JSON.object([.init("url", .string("data:image/any;base64," + file))])
      return JSON.object([.init("type", .string("image_url")), .init("image_url", url)])
    }
    parts.append(.object([.init("type", .string("text")), .init("text", text ?? .string(""))]))
    return .array(parts)
  }

  /// −1 and −2 are Ollama's words for no limit but the context.
  private static func limit(_ options: RequestFields) throws(APIError) -> JSON? {
    try options.integer("num_predict", in: -2...Int.max).map { .integer(max(-1, $0)) }
  }

  private static func format(_ fields: RequestFields) -> JSON? {
    switch fields["format"] {
    case nil, .string("")?: nil
    case .string("json")?: .object([.init("type", .string("json_object"))])
    case let schema?: .object([.init("type", .string("json_object")), .init("schema", schema)])
    }
  }
}

extension FieldTable {
  /// Of `/api/chat` and `/api/generate`.
  package static let ollama = FieldTable(
    honoured: "model messages prompt system raw stream format options tools think",
    harmless: [("keep_alive", "the model stays.")],
    refused: [
      ("suffix", "the model only continues texts.", [.string("")]),
      ("template", "the model's own is used.", [.string("")]),
      ("context", "send the conversation to /api/chat.", [.array([])]),
      ("images", "the model reads and writes text only.", [.array([])]),
      ("logprobs", "/v1/chat/completions knows it.", [.bool(false)]),
      ("top_logprobs", "/v1/chat/completions knows it.", [.integer(0)]),
      ("width", "the model writes text only.", []), ("height", "the model writes text only.", []),
      ("steps", "the model writes text only.", []),
      ("truncate", "the server is started with --shorten.", [.bool(false)]),
      ("shift", "the server is started with --context.", [.bool(false)]),
    ])

  package static let ollamaOptions = FieldTable(
    honoured: """
      num_predict temperature top_k top_p min_p seed stop repeat_penalty repeat_last_n presence_penalty frequency_penalty
      """,
    harmless: [
      (
        "num_ctx num_batch num_gpu main_gpu num_thread num_keep numa low_vram f16_kv use_mmap use_mlock vocab_only "
          + "logits_all embedding_only draft_num_predict",
        "how the model is run was said when the server was started."
      ),
      ("mirostat_tau mirostat_eta penalize_newline", "they count beside what is refused only."),
    ],
    refused: [
      ("tfs_z", "the steps of sampling are temperature, top_k, top_p, min_p and the penalties.", [.integer(1)]),
      ("typical_p", "the steps of sampling are temperature, top_k, top_p, min_p and the penalties.", [.integer(1)]),
      ("mirostat", "the steps of sampling are temperature, top_k, top_p, min_p and the penalties.", [.integer(0)]),
    ])
}
