import Generation
import Storage
import StructuredOutput
import Tokenization

extension GenerationCall {
  /// A request to `/v1/chat/completions`.
  ///
  /// - Parameter template: the model's, or why there is none.
  package init(
    chat fields: RequestFields, _ reader: TextInputReader, _ template: Result<ChatTemplate, any Error>,
    _ vocabulary: TokenVocabulary
  ) throws(APIError) {
    let layout: ChatTemplate
    switch template {
    case .success(let template): layout = template
    case .failure(let reason):
      throw APIError.invalid(nil, "This model only continues texts, at /v1/completions. \(reason)")
    }
    try Self.refuseForeignFields(fields)
    let form = try AnswerForm(fields, vocabulary)
    let messages = form.instructing(try Self.messages(fields))
    let tokens = Self.prompt(messages, reader.tokenizer, layout)
    guard tokens.count <= reader.contextLength else {
      throw APIError.contextLength(
        "messages", form.tools.isEmpty ? "messages has" : "messages and tools have", tokens: tokens.count,
        limit: reader.contextLength)
    }
    try self.init(fields, .chat, prompts: [TextInput(tokens: tokens)], defaults: reader.defaults)
    let wantsLogProbabilities = try fields.bool("logprobs") ?? false
    let top = try fields.integer("top_logprobs", in: 0...20)
    guard top == nil || wantsLogProbabilities else {
      throw APIError.invalid("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    }
    tools = form.tools
    request.constraint = form.constraint
    request.topLogProbabilities = wantsLogProbabilities ? top ?? 0 : nil
    try readLogitBias(fields, reader.tokenizer)
    try checkSize(contextLength: reader.contextLength)
  }

  private static func refuseForeignFields(_ fields: RequestFields) throws(APIError) {
    let isEmpty = { (value: JSON) in value.arrayValue?.isEmpty ?? false }
    try fields.refuse("functions", unless: isEmpty, "use 'tools'.")
    try fields.refuse("function_call", unless: { $0 == .string("none") }, "use 'tool_choice'.")
    try fields.refuse("modalities", unless: { $0 == .array([.string("text")]) }, "the model writes text only.")
    try fields.refuse("audio", unless: { _ in false }, "the model writes text only.")
    try fields.refuse("web_search_options", unless: { _ in false }, "the model knows only what it was trained on.")
    try fields.refuse("reasoning_effort", unless: { $0 == .string("none") }, "the model does not reason apart.")
    try fields.refuse("moderation", unless: { _ in false }, "requests and answers are not moderated.")
    try fields.refuse(
      "service_tier", unless: { [.string("auto"), .string("default")].contains($0) }, "all requests wait in one queue.")
    try fields.refuse("verbosity", unless: { $0 == .string("medium") }, "the model has one manner.")
  }

  private static func messages(_ fields: RequestFields) throws(APIError) -> [ChatMessage] {
    guard let list = try fields.list("messages", limit: 4096) else {
      throw APIError.invalid("messages", "'messages' is missing.")
    }
    var messages: [ChatMessage] = []
    for (index, value) in list.enumerated() {
      let place = "messages[\(index)]"
      guard value.isObject else { throw APIError.invalid(place, "'\(place)' must be an object.") }
      let message = try Self.message(value, place)
      // Several instructions at the beginning become one, since the template has one place for them. The results of
      // several tools become one message, since the template opens an answer after each message.
      let isInstruction = message.role == .system && !messages.isEmpty
      if isInstruction && (messages.count > 1 || messages[0].role != .system) {
        throw APIError.invalid(
          place, "'\(place)' is a system message after others; this model's template has it only at the beginning.")
      }
      let isResult = Self.isToolResult(value) && index > 0 && Self.isToolResult(list[index - 1])
      if isInstruction || isResult {
        messages[messages.count - 1].content += "\n" + message.content
      } else {
        messages.append(message)
      }
    }
    guard messages.contains(where: { $0.role == .user }) else {
      throw APIError.invalid("messages", "'messages' has no message of a user.")
    }
    return messages
  }

  private static func isToolResult(_ message: JSON) -> Bool { message["role"] == .string("tool") }

  private static func message(_ value: JSON, _ place: String) throws(APIError) -> ChatMessage {
    func content(_ isNeeded: Bool = true) throws(APIError) -> String {
      try Self.content(value["content"], isNeeded: isNeeded, place)
    }
    switch value["role"]?.stringValue {
    case "system", "developer": return ChatMessage(role: .system, content: try content())
    case "user": return ChatMessage(role: .user, content: try content())
    case "tool": return ChatMessage(role: .user, content: ToolText.result(try content()))
    case "assistant":
      for name in ["audio", "function_call"] where !(value[name]?.isNull ?? true) {
        throw APIError.unsupported(
          "\(place).\(name)", "'\(place).\(name)' is not supported: an answer has text and 'tool_calls'.")
      }
      let calls = try Self.calls(value["tool_calls"], place)
      let text = try content(false)
      return ChatMessage(role: .assistant, content: ((text.isEmpty ? [] : [text]) + calls).joined(separator: "\n"))
    case "function":
      throw APIError.unsupported(place, "'\(place)' has the old role function; use 'tools' and the role tool.")
    case let role?:
      throw APIError.invalid(
        place + ".role",
        "'\(place).role' is \(JSON.quoted(String(role.prefix(40)))); it must be system, developer, user, assistant or "
          + "tool.")
    case nil: throw APIError.invalid(place + ".role", "'\(place).role' must be a string.")
    }
  }

  /// Calls of an earlier answer, as the model wrote them.
  private static func calls(_ value: JSON?, _ place: String) throws(APIError) -> [String] {
    guard let value, !value.isNull else { return [] }
    var texts: [String] = []
    for call in value.arrayValue ?? [.null] {
      guard let name = call["function"]?["name"]?.stringValue,
        let arguments = call["function"]?["arguments"]?.stringValue
      else {
        throw APIError.invalid(
          place + ".tool_calls",
          "'\(place).tool_calls' must be a list of calls with function.name and function.arguments.")
      }
      texts.append(ToolText.call(name: name, arguments: arguments))
    }
    return texts
  }

  /// A string, or parts of type text.
  private static func content(_ value: JSON?, isNeeded: Bool, _ place: String) throws(APIError) -> String {
    let name = place + ".content"
    switch value {
    case .string(let text): return text
    case .array(let parts):
      var text = ""
      for part in parts {
        let kind = part["type"]?.stringValue
        guard kind == "text" || kind == "refusal" else {
          throw APIError.invalid(
            name, "'\(name)' has a part that is not text; this model reads text only.",
            code: "unsupported_content_type")
        }
        guard let piece = part["text"]?.stringValue ?? part["refusal"]?.stringValue else {
          throw APIError.invalid(name, "a text part of '\(name)' must have a string 'text'.")
        }
        text += piece
      }
      return text
    case nil where !isNeeded, .null where !isNeeded: return ""
    default: throw APIError.invalid(name, "'\(name)' must be a string or a list of parts.")
    }
  }

  /// The conversation as tokens. An answer at its end is one that has begun, and is continued.
  private static func prompt(_ messages: [ChatMessage], _ tokenizer: Tokenizer, _ template: ChatTemplate) -> [Int32] {
    var parts = template.encode(messages, with: tokenizer, addGenerationPrompt: true)
    let last = messages.count - 1
    guard messages[last].role == .assistant else { return parts.flatMap(\.ids) }
    let answer = parts.first { $0.messageIndex == last && $0.isAnswer }.map { $0.ids.dropLast() } ?? []
    parts.removeAll { $0.messageIndex == last }
    return parts.flatMap(\.ids) + answer
  }
}
