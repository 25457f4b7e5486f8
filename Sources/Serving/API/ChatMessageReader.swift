import Storage
import StructuredOutput
import Tokenization

/// Reads the messages of a request as a model's chat template takes them.
struct ChatMessageReader {
  let template: ChatTemplate

  /// Whether the template writes tools, calls and results itself, in the form in which calls are found in answers. For
  /// another, they are described in texts, as for v1's.
  var knowsTools: Bool { template.jinja?.writesToolCalls ?? false }

  func messages(_ fields: RequestFields) throws(APIError) -> [ChatMessage] {
    guard let list = try fields.list("messages", limit: 4096) else {
      throw APIError.invalid("messages", "'messages' is missing.")
    }
    var messages: [ChatMessage] = []
    for (index, value) in list.enumerated() {
      let place = "messages[\(index)]"
      guard value.isObject else { throw APIError.invalid(place, "'\(place)' must be an object.") }
      let message = try self.message(value, place)
      let isResult = !knowsTools && Self.isToolResult(value) && index > 0 && Self.isToolResult(list[index - 1])
      // Several instructions at the beginning become one, since v1's template has one place for them. The results of
      // several tools become one message, since the template opens an answer after each message.
      let isInstruction = template.jinja == nil && message.role == .system && !messages.isEmpty
      if isInstruction && (messages.count > 1 || messages[0].role != .system) {
        throw APIError.invalid(
          place, "'\(place)' is a system message after others; this model's template has it only at the beginning.")
      }
      if isInstruction || isResult {
        messages[messages.count - 1].content += "\n" + message.content
      } else {
        messages.append(message)
      }
    }
    guard messages.contains(where: { $0.role == .user }) else {
      throw APIError.invalid("messages", "'messages' has no message of a user.")
    }
    if let last = messages.last, last.role == .assistant, last.reasoning != nil || last.callsTools {
      throw APIError.unsupported(
        "messages", "'messages[\(list.count - 1)]' is an answer to be continued, which can have 'content' only.")
    }
    return messages
  }

  private static func isToolResult(_ message: JSON) -> Bool { message["role"] == .string("tool") }

  private func message(_ value: JSON, _ place: String) throws(APIError) -> ChatMessage {
    func content(_ isNeeded: Bool = true) throws(APIError) -> String {
      try Self.content(value["content"], isNeeded: isNeeded, place)
    }
    switch value["role"]?.stringValue {
    case "system": return ChatMessage(role: .system, content: try content())
    case "developer": return ChatMessage(role: template.jinja == nil ? .system : .developer, content: try content())
    case "user": return ChatMessage(role: .user, content: try content())
    case "tool":
      guard knowsTools else { return ChatMessage(role: .user, content: ToolText.result(try content())) }
      let fields = ["tool_call_id", "name"].compactMap { name in
        value[name]?.stringValue.map { JSON.Member(name, .string($0)) }
      }
      return ChatMessage(role: .tool, content: try content(), fields: fields)
    case "assistant": return try answer(value, try content(false), place)
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

  private func answer(_ value: JSON, _ content: String, _ place: String) throws(APIError) -> ChatMessage {
    for name in ["audio", "function_call"] where !(value[name]?.isNull ?? true) {
      throw APIError.unsupported(
        "\(place).\(name)", "'\(place).\(name)' is not supported: an answer has text and 'tool_calls'.")
    }
    let calls = try Self.calls(value["tool_calls"], place)
    guard template.jinja != nil else {
      return ChatMessage(role: .assistant, content: Self.text(content, calls))
    }
    var message = ChatMessage(role: .assistant, content: content)
    for name in ["reasoning_content", "reasoning"] where message.reasoning == nil {
      message.reasoning = value[name]?.stringValue
    }
    if knowsTools, !calls.isEmpty, let listed = value["tool_calls"].flatMap(ToolCalls.normalized) {
      message.fields = [.init("tool_calls", listed)]
    } else {
      message.content = Self.text(content, calls)
    }
    return message
  }

  private static func text(_ content: String, _ calls: [String]) -> String {
    ((content.isEmpty ? [] : [content]) + calls).joined(separator: "\n")
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
}
