import Storage

extension TranslatedRequest {
  /// A request to `/v1/messages` or `/v1/messages/count_tokens`, of Anthropic's API.
  package init(messages fields: RequestFields) throws(APIError) {
    try FieldTable.messages.check(fields)
    self.init(
      fields,
      translated:
        "system messages max_tokens stop_sequences tools tool_choice thinking output_config output_format stream "
        + "truncation")
    set("max_tokens", fields["max_tokens"], from: "max_tokens")
    set("stream", fields["stream"], from: "stream")
    set("truncation", fields["truncation"], from: "truncation")
    set("stop", fields["stop_sequences"], from: "stop_sequences")
    set("tools", try Self.tools(fields, types: ["custom"], schema: "input_schema"), from: "tools")
    try readChoice(fields)
    try readForm(fields)
    if let system = fields["system"] { add("system", system, from: "system") }
    guard let list = try fields.list("messages", limit: 4096) else {
      throw APIError.invalid("messages", "'messages' is missing.")
    }
    for (index, message) in list.enumerated() {
      let place = "messages[\(index)]"
      guard let role = message["role"]?.stringValue, ["user", "assistant", "system"].contains(role) else {
        throw APIError.invalid(place + ".role", "'\(place).role' must be user, assistant or system.")
      }
      guard let blocks = message["content"]?.arrayValue else {
        add(role, message["content"], from: place)
        continue
      }
      try read(blocks, role, place)
    }
  }

  /// Blocks of one message: results of tools become messages of their own, calls part of the answer.
  private mutating func read(_ blocks: [JSON], _ role: String, _ place: String) throws(APIError) {
    var texts: [JSON] = []
    var others: [JSON.Member] = []
    var calls: [JSON] = []
    for (index, block) in blocks.enumerated() {
      switch block["type"]?.stringValue {
      case "tool_result" where role == "user":
        let id = JSON.Member("tool_call_id", block["tool_use_id"] ?? .null)
        add("tool", block["content"] ?? .string(""), from: "\(place).content[\(index)]", [id])
      case "tool_use" where role == "assistant": calls.append(block)
      case "thinking" where role == "assistant":
        others = [.init("reasoning_content", block["thinking"] ?? .null)]
      // What was hidden from the client cannot be read here, and came from another model.
      case "redacted_thinking" where role == "assistant": break
      case "image": texts.append(try Self.picture(block["source"], place))
      default: texts.append(block)
      }
    }
    if !texts.isEmpty || role == "assistant" { add(role, .array(texts), from: place, others) }
    for call in calls {
      guard let name = call["name"]?.stringValue, let id = call["id"]?.stringValue, let input = call["input"] else {
        throw APIError.invalid(
          place + ".content", "a tool_use of '\(place).content' must have an id, a name and an input.")
      }
      addCall(id: id, name: name, arguments: .string(input.compactText), from: place)
    }
  }

  /// A picture as chat completions have it.
  private static func picture(_ source: JSON?, _ place: String) throws(APIError) -> JSON {
    let url: JSON
    switch source?["type"]?.stringValue {
    case "base64":
      guard let kind = source?["media_type"]?.stringValue, let data = source?["data"]?.stringValue else {
        throw APIError.invalid(
          place + ".content", "the source of a picture of '\(place).content' must have 'media_type' and 'data'.")
      }
      url = .string("data:\(kind);base64,\(data)")
    case "url": url = source?["url"] ?? .null
    default:
      throw APIError.unsupported(
        place + ".content", "the source of a picture of '\(place).content' must have the type base64.")
    }
    return .object([.init("type", .string("image_url")), .init("image_url", .object([.init("url", url)]))])
  }

  private mutating func readChoice(_ fields: RequestFields) throws(APIError) {
    guard let choice = try fields.fields("tool_choice") else { return }
    let value: JSON
    switch try choice.string("type") {
    case "auto": value = .string("auto")
    case "any": value = .string("required")
    case "none": value = .string("none")
    case "tool":
      let function = JSON.object([.init("name", choice["name"] ?? .null)])
      value = .object([.init("type", .string("function")), .init("function", function)])
    default: throw APIError.invalid("tool_choice", "'tool_choice' must have the type auto, any, tool or none.")
    }
    set("tool_choice", value, from: "tool_choice")
    let isSingle = try choice.bool("disable_parallel_tool_use") ?? false
    set("parallel_tool_calls", isSingle ? .bool(false) : nil, from: "tool_choice")
  }

  private mutating func readForm(_ fields: RequestFields) throws(APIError) {
    let configuration = try fields.fields("output_config")
    if let format = configuration?["format"] ?? fields["output_format"] {
      guard format["type"]?.stringValue == "json_schema" else {
        throw APIError.invalid("output_config.format", "'output_config.format' must have the type json_schema.")
      }
      set(
        "response_format",
        .object([
          .init("type", .string("json_schema")),
          .init(
            "json_schema", .object([.init("name", .string("answer")), .init("schema", format["schema"] ?? .null)])),
        ]), from: "output_config.format")
    }
    var effort = configuration?["effort"]
    if let thinking = try fields.fields("thinking") {
      switch try thinking.string("type") {
      case "enabled", "adaptive":
        effort = effort ?? .string("high")
        set("max_thinking_tokens", thinking["budget_tokens"], from: "thinking.budget_tokens")
      case "disabled": effort = .string("none")
      default: throw APIError.invalid("thinking", "'thinking' must have the type enabled, adaptive or disabled.")
      }
    }
    set("reasoning_effort", effort, from: "thinking")
  }
}
