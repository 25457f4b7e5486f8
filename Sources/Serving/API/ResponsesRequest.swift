import Storage

extension TranslatedRequest {
  /// A request to `/v1/responses`. The server keeps no conversation: the whole of it is in the request.
  package init(responses fields: RequestFields) throws(APIError) {
    try FieldTable.responses.check(fields)
    self.init(
      fields, translated: "input instructions max_output_tokens reasoning text tools tool_choice include top_logprobs")
    set("max_tokens", fields["max_output_tokens"], from: "max_output_tokens")
    set("tools", try Self.tools(fields, types: ["function"], schema: "parameters"), from: "tools")
    set("tool_choice", try Self.choice(fields), from: "tool_choice")
    set("reasoning_effort", try fields.fields("reasoning")?["effort"], from: "reasoning.effort")
    set("response_format", try Self.format(fields), from: "text.format")
    try readInclude(fields)
    set("messages", nil, from: "input")
    if let instructions = fields["instructions"] { add("system", instructions, from: "instructions") }
    guard let input = fields["input"] else { throw APIError.invalid("input", "'input' is missing.") }
    guard input.stringValue == nil else {
      add("user", input, from: "input")
      return
    }
    guard let items = try fields.list("input", limit: 4096) else { return }
    var thoughts: [JSON.Member] = []
    for (index, item) in items.enumerated() { try read(item, "input[\(index)]", &thoughts) }
  }

  /// - Parameter thoughts: reasoning that waits for the answer to which it led.
  private mutating func read(_ item: JSON, _ place: String, _ thoughts: inout [JSON.Member]) throws(APIError) {
    func text(_ name: String) throws(APIError) -> String {
      guard let text = item[name]?.stringValue else {
        throw APIError.invalid("\(place).\(name)", "'\(place).\(name)' must be a string.")
      }
      return text
    }
    switch item["type"]?.stringValue ?? "message" {
    case "message":
      let role = try text("role")
      add(role, Self.parts(item["content"]), from: place, role == "assistant" ? thoughts : [])
      if role == "assistant" { thoughts = [] }
    case "function_call":
      addCall(
        id: try text("call_id"), name: try text("name"), arguments: item["arguments"] ?? .string(""), from: place,
        thoughts)
      thoughts = []
    case "function_call_output":
      let id = JSON.Member("tool_call_id", .string(try text("call_id")))
      add("tool", Self.parts(item["output"]), from: place, [id])
    case "reasoning":
      let parts = ["content", "summary"].lazy.compactMap { item[$0]?.arrayValue }.first { !$0.isEmpty } ?? []
      let reasoning = parts.compactMap { $0["text"]?.stringValue }.joined(separator: "\n")
      thoughts = reasoning.isEmpty ? [] : [.init("reasoning_content", .string(reasoning))]
    case let type:
      throw APIError.unsupported(
        place + ".type",
        "'\(place).type' is \(JSON.quoted(String(type.prefix(40)))); there are message, function_call, "
          + "function_call_output and reasoning.")
    }
  }

  /// Parts of a content, with the types of chat completions.
  private static func parts(_ content: JSON?) -> JSON? {
    guard let parts = content?.arrayValue else { return content }
    return .array(
      parts.map { part in
        if part["type"]?.stringValue == "input_image" {
          return .object([
            .init("type", .string("image_url")),
            .init("image_url", .object([.init("url", part["image_url"] ?? .null)])),
          ])
        }
        guard ["input_text", "output_text"].contains(part["type"]?.stringValue), case .object(var members) = part else {
          return part
        }
        for index in members.indices where members[index].key == "type" { members[index].value = .string("text") }
        return .object(members)
      })
  }

  private static func choice(_ fields: RequestFields) throws(APIError) -> JSON? {
    guard let choice = fields["tool_choice"], choice.isObject else { return fields["tool_choice"] }
    func function(_ value: JSON) -> JSON {
      .object([
        .init("type", value["type"] ?? .null), .init("function", .object([.init("name", value["name"] ?? .null)])),
      ])
    }
    switch choice["type"]?.stringValue {
    case "function": return function(choice)
    case "allowed_tools":
      let tools = JSON.array((choice["tools"]?.arrayValue ?? []).map(function))
      let allowed = JSON.object([.init("mode", choice["mode"] ?? .null), .init("tools", tools)])
      return .object([.init("type", .string("allowed_tools")), .init("allowed_tools", allowed)])
    default:
      throw APIError.unsupported("tool_choice", "'tool_choice' can have the type function or allowed_tools.")
    }
  }

  private static func format(_ fields: RequestFields) throws(APIError) -> JSON? {
    guard let format = try fields.fields("text")?["format"] else { return nil }
    guard format["type"]?.stringValue == "json_schema" else { return format }
    return .object([.init("type", .string("json_schema")), .init("json_schema", format)])
  }

  private mutating func readInclude(_ fields: RequestFields) throws(APIError) {
    let names = try fields["include"].map { value throws(APIError) -> [String] in
      let names = (value.arrayValue ?? [.null]).compactMap(\.stringValue)
      guard names.count == value.arrayValue?.count else {
        throw APIError.invalid("include", "'include' must be a list of strings.")
      }
      return names
    }
    // Reasoning is never encrypted here, and comes as it is.
    let known = ["message.output_text.logprobs", "reasoning.encrypted_content"]
    if let other = names?.first(where: { !known.contains($0) }) {
      throw APIError.unsupported(
        "include", "'include' has \(JSON.quoted(String(other.prefix(60)))); there are \(known.joined(separator: ", "))."
      )
    }
    let top = try fields.integer("top_logprobs", in: 0...20) ?? 0
    let wantsLogProbabilities = names?.contains(known[0]) ?? false || top > 0
    set("logprobs", wantsLogProbabilities ? .bool(true) : nil, from: "include")
    set("top_logprobs", top > 0 ? .integer(top) : nil, from: "top_logprobs")
  }
}
