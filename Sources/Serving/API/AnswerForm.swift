import Generation
import Storage
import StructuredOutput
import Tokenization

/// What an answer is to be: text, JSON, or calls of tools.
struct AnswerForm {
  /// Functions that the answer may call.
  var tools: [Tool]
  /// What the text may be; nil for anything.
  var constraint: (any TokenConstraint)?

  /// Reads `response_format`, `tools`, `tool_choice` and `parallel_tool_calls`. A call that must be made takes
  /// precedence over a format.
  init(_ fields: RequestFields, _ vocabulary: TokenVocabulary) throws(APIError) {
    let allowsSeveralCalls = try fields.bool("parallel_tool_calls") ?? true
    let format = try Self.format(fields)
    do throws(StructuredOutputError) {
      var all = try Tool.list(fields["tools"])
      let choice = try Self.choice(fields["tool_choice"], &all)
      tools = choice == .none ? [] : all
      constraint = try choice.constraint(all, vocabulary)
      if constraint == nil { constraint = try format.constraint(vocabulary) }
      if constraint == nil && tools.contains(where: \.isStrict) {
        constraint = try StrictCallConstraint(tools, vocabulary: vocabulary, allowsSeveralCalls: allowsSeveralCalls)
      } else if constraint == nil && !tools.isEmpty && !allowsSeveralCalls {
        constraint = OneCallConstraint(tools, vocabulary: vocabulary)
      }
    } catch {
      throw APIError.invalid(error)
    }
  }

  /// Reads `tool_choice`, and leaves in `tools` those that it allows.
  private static func choice(_ json: JSON?, _ tools: inout [Tool]) throws(StructuredOutputError) -> ToolChoice {
    guard let json, json["type"]?.stringValue == "allowed_tools" else { return try ToolChoice(json, tools: tools) }
    let allowed = json["allowed_tools"]
    let entries = allowed?["tools"]?.arrayValue ?? []
    let names = entries.compactMap { $0["function"]?["name"]?.stringValue }
    guard !names.isEmpty, names.count == entries.count, let mode = allowed?["mode"],
      ["auto", "required"].contains(mode.stringValue)
    else {
      throw StructuredOutputError(
        place: "tool_choice",
        reason: "allowed_tools must have a mode, auto or required, and tools, a list of functions.")
    }
    for name in names where !tools.contains(where: { $0.name == name }) {
      throw StructuredOutputError(
        place: "tool_choice", reason: "there is no function \(JSON.quoted(String(name.prefix(64)))) among the tools.")
    }
    tools.removeAll { !names.contains($0.name) }
    return try ToolChoice(mode, tools: tools)
  }

  /// What constrains the answer to the format that a request to continue a text asks for; nil for a text.
  static func constraint(ofCompletion fields: RequestFields, _ vocabulary: TokenVocabulary) throws(APIError)
    -> (any TokenConstraint)?
  {
    let isEmpty = { (value: JSON) in value.arrayValue?.isEmpty ?? false }
    try fields.refuse("tools", unless: isEmpty, "/v1/chat/completions knows it.")
    try fields.refuse("tool_choice", unless: { $0 == .string("none") }, "/v1/chat/completions knows it.")
    let format = try format(fields)
    do throws(StructuredOutputError) { return try format.constraint(vocabulary) } catch {
      throw APIError.invalid(error)
    }
  }

  /// Fields of other servers that ask for a form which this one cannot keep to.
  private static let foreign = ["guided_whitespace_pattern", "structural_tag", "ebnf", "format"]
  /// Fields of llama.cpp, SGLang and vLLM that ask for a form, and what `structured_outputs` calls it.
  private static let forms = [
    ("json_schema", "json"), ("guided_json", "json"), ("guided_choice", "choice"), ("guided_regex", "regex"),
    ("regex", "regex"), ("grammar", "grammar"), ("guided_grammar", "grammar"),
  ]

  /// The format that a request asks for in one of the places where clients of other servers put it. Two that differ are
  /// refused.
  private static func format(_ fields: RequestFields) throws(APIError) -> ResponseFormat {
    for name in foreign {
      try fields.refuse(name, unless: { $0 == .string("") }, "give 'response_format' with a JSON Schema.")
    }
    var wanted: [(place: String, form: String, value: JSON)] = []
    for (name, form) in forms {
      // llama.cpp's clients send an empty grammar for none.
      if let value = fields[name], value != .string("") { wanted.append((name, form, value)) }
    }
    if let outputs = try fields.fields("structured_outputs"), case .object(let members) = outputs.object {
      for member in members where !member.value.isNull && member.value != .bool(false) {
        guard forms.contains(where: { $0.1 == member.key }) else {
          throw APIError.unsupported(
            "structured_outputs.\(member.key)",
            "'structured_outputs.\(member.key)' is not supported: there are json, choice, regex and grammar.")
        }
        wanted.append(("structured_outputs.\(member.key)", member.key, member.value))
      }
    }
    do throws(StructuredOutputError) {
      var format = try ResponseFormat(fields["response_format"])
      for (place, form, value) in wanted {
        let next: ResponseFormat
        switch form {
        // vLLM takes a schema as a text, too.
        case "json": next = .jsonSchema(value.stringValue.flatMap { try? JSON(parsing: $0) } ?? value, place: place)
        case "choice": next = .choice(value, place: place)
        case "regex": next = .regex(value, place: place)
        default: next = .grammar(value, place: place)
        }
        if let other = format.place, !format.isSame(as: next), format != .jsonObject || form != "json" {
          throw StructuredOutputError(place: place, reason: "it asks for another form than \(other). Give one.")
        }
        format = next
      }
      return format
    } catch {
      throw APIError.invalid(error)
    }
  }

  /// The conversation with a message that describes the tools to the model.
  func instructing(_ messages: [ChatMessage]) -> [ChatMessage] {
    if tools.isEmpty { return messages }
    var messages = messages
    let text = ToolText.instructions(tools)
    if messages.first?.role.isInstruction == true {
      messages[0].content += "\n\n" + text
    } else {
      messages.insert(ChatMessage(role: .system, content: text), at: 0)
    }
    return messages
  }
}
