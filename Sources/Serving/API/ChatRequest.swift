import Inference
import Storage
import Tokenization

extension GenerationCall {
  /// A request to `/v1/chat/completions`.
  package init(chat fields: RequestFields, _ reader: TextInputReader, _ template: ChatTemplate?) throws(APIError) {
    guard let template else {
      throw APIError.invalid(
        nil, "This model has no chat template; it continues texts. Use /v1/completions, or a model fine-tuned for chat."
      )
    }
    try Self.refuseForeignFields(fields)
    let messages = try Self.messages(fields)
    let tokens = Self.prompt(messages, reader.tokenizer, template)
    guard tokens.count <= reader.contextLength else {
      throw APIError.contextLength("messages", tokens: tokens.count, limit: reader.contextLength)
    }
    try self.init(fields, .chat, prompts: [TextInput(tokens: tokens)])
    let wantsLogProbabilities = try fields.bool("logprobs") ?? false
    let top = try fields.integer("top_logprobs", in: 0...20)
    guard top == nil || wantsLogProbabilities else {
      throw APIError.invalid("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    }
    request.topLogProbabilities = wantsLogProbabilities ? top ?? 0 : nil
    try readLogitBias(fields, reader.tokenizer)
  }

  private static func refuseForeignFields(_ fields: RequestFields) throws(APIError) {
    let isEmpty = { (value: JSON) in value.arrayValue?.isEmpty ?? false }
    try fields.refuse("functions", unless: isEmpty, "use 'tools'.")
    try fields.refuse("function_call", unless: { $0 == .string("none") }, "use 'tool_choice'.")
    try fields.refuse("modalities", unless: { $0 == .array([.string("text")]) }, "the model writes text only.")
    try fields.refuse("audio", unless: { _ in false }, "the model writes text only.")
    try fields.refuse("web_search_options", unless: { _ in false }, "the model knows only what it was trained on.")
    try fields.refuse("reasoning_effort", unless: { $0 == .string("none") }, "the model does not reason apart.")
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
      let role = try Self.role(value["role"], place)
      let content = try Self.content(value["content"], role, place)
      // Several instructions at the beginning are one; the template knows no other place for them.
      if role == .system, let last = messages.last {
        guard messages.count == 1, last.role == .system else {
          throw APIError.invalid(
            place, "'\(place)' is a system message behind others; this model's template has it only at the beginning.")
        }
        messages[0].content += "\n" + content
      } else {
        messages.append(ChatMessage(role: role, content: content))
      }
    }
    guard messages.contains(where: { $0.role == .user }) else {
      throw APIError.invalid("messages", "'messages' has no message of a user.")
    }
    return messages
  }

  private static func role(_ value: JSON?, _ place: String) throws(APIError) -> ChatMessage.Role {
    switch value?.stringValue {
    case "system", "developer": return .system
    case "user": return .user
    case "assistant": return .assistant
    case "tool", "function":
      throw APIError.unsupported(place, "'\(place)' is the result of a tool; tools are not supported.")
    case let other?:
      throw APIError.invalid(
        place + ".role",
        "'\(place).role' is \(JSON.quoted(String(other.prefix(40)))); it must be system, developer, user or assistant.")
    case nil: throw APIError.invalid(place + ".role", "'\(place).role' must be a string.")
    }
  }

  /// A string, or parts of type text.
  private static func content(_ value: JSON?, _ role: ChatMessage.Role, _ place: String) throws(APIError) -> String {
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
    case nil where role == .assistant, .null where role == .assistant: return ""
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
