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
      let all = try Tool.list(fields["tools"])
      let choice = try ToolChoice(fields["tool_choice"], tools: all)
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
  private static let foreign = [
    "grammar", "guided_grammar", "guided_regex", "guided_choice", "guided_whitespace_pattern", "structural_tag",
    "regex", "ebnf", "format",
  ]

  /// The format that a request asks for in one of the places where clients of other servers put it: a schema in
  /// `json_schema` (llama.cpp, SGLang), `guided_json` or `structured_outputs.json` (vLLM). Two that differ are refused.
  private static func format(_ fields: RequestFields) throws(APIError) -> ResponseFormat {
    for name in foreign {
      try fields.refuse(name, unless: { $0 == .string("") }, "give 'response_format' with a JSON Schema.")
    }
    var schemas: [(place: String, schema: JSON)] = []
    for name in ["json_schema", "guided_json"] {
      if let schema = fields[name] { schemas.append((name, schema)) }
    }
    if let outputs = try fields.fields("structured_outputs"), case .object(let members) = outputs.object {
      for member in members where !member.value.isNull && member.value != .bool(false) {
        guard member.key == "json" else {
          throw APIError.unsupported(
            "structured_outputs.\(member.key)",
            "'structured_outputs.\(member.key)' is not supported: give 'structured_outputs.json', a JSON Schema.")
        }
        schemas.append(("structured_outputs.json", member.value))
      }
    }
    do throws(StructuredOutputError) {
      var format = try ResponseFormat(fields["response_format"])
      for (place, text) in schemas {
        // vLLM takes a schema as a text, too.
        let schema = text.stringValue.flatMap { try? JSON(parsing: $0) } ?? text
        switch format {
        case .text, .jsonObject: format = .jsonSchema(schema, place: place)
        case .jsonSchema(let other, let otherPlace):
          guard other == schema else {
            throw StructuredOutputError(
              place: place, reason: "it is another schema than that in \(otherPlace). Give one.")
          }
        }
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
