import Storage
import StructuredOutput
import Tokenization
import Vision

/// A picture of a request, not yet looked at.
package struct RequestPicture: Sendable {
  /// A `data:` URL, or where it is to be fetched.
  let url: String
  /// The field that it is in.
  let place: String

  /// Whether the request holds it.
  var isInline: Bool { DataURL.isOne(url) }
}

/// Reads the messages of a request as a model's chat template takes them.
struct ChatMessageReader {
  let template: ChatTemplate
  /// Whether instructions after other messages become part of a user's message, and a conversation of instructions
  /// only one of a user's: for a template that has a place for them at its beginning only.
  var foldsInstructions: Bool
  /// Whether pictures may be named by their addresses.
  private let fetchesPictures: Bool
  /// The pictures of the messages that were read last, by their marks.
  private(set) var pictures: [RequestPicture] = []

  init(template: ChatTemplate, fetchesPictures: Bool = false) {
    self.template = template
    self.fetchesPictures = fetchesPictures
    foldsInstructions = template.jinja == nil
  }

  /// Whether the template writes tools, calls and results itself, in the form in which calls are found in answers. For
  /// another, they are described in texts, as for v1's.
  var knowsTools: Bool { template.jinja?.writesToolCalls ?? false }

  /// The messages of a request, unread.
  static func list(_ fields: RequestFields) throws(APIError) -> [JSON] {
    guard let list = try fields.list("messages", limit: 4096) else {
      throw APIError.invalid("messages", "'messages' is missing.")
    }
    return list
  }

  /// - Parameter list: of a request, or the rest of it when it was shortened.
  mutating func messages(_ list: [JSON]) throws(APIError) -> [ChatMessage] {
    pictures = []
    var messages: [ChatMessage] = []
    /// Instructions that wait for the next message of a user.
    var late: [String] = []
    for (index, value) in list.enumerated() {
      let place = "messages[\(index)]"
      guard value.isObject else { throw APIError.invalid(place, "'\(place)' must be an object.") }
      let message = try self.message(value, place)
      let isResult = !knowsTools && Self.isToolResult(value) && index > 0 && Self.isToolResult(list[index - 1])
      // Several instructions at the beginning become one, since there is one place for them. The results of several
      // tools become one message, since v1's template opens an answer after each message.
      let isLate = foldsInstructions && message.role.isInstruction && !messages.isEmpty
      let joins = isLate && messages.count == 1 && messages[0].role.isInstruction
      if joins || isResult {
        messages[messages.count - 1].content += "\n" + message.content
      } else if isLate {
        late.append(message.content)
      } else {
        messages.append(message)
        if message.role == .user { Self.prepend(&late, to: &messages[messages.count - 1]) }
      }
    }
    if foldsInstructions { Self.fold(late, into: &messages) }
    guard !foldsInstructions || messages.contains(where: { $0.role == .user }) else {
      throw APIError.invalid("messages", "'messages' has no message of a user, nor one of a system.")
    }
    if let last = messages.last, last.role == .assistant, last.reasoning != nil || last.callsTools {
      throw APIError.unsupported(
        "messages", "'messages[\(list.count - 1)]' is an answer to be continued, which can have 'content' only.")
    }
    return messages
  }

  private static func prepend(_ late: inout [String], to message: inout ChatMessage) {
    message.content = (late + [message.content]).joined(separator: "\n")
    late = []
  }

  /// Instructions that no message of a user follows end the last one, or are one; and so is what there is where no user
  /// has said anything.
  private static func fold(_ late: [String], into messages: inout [ChatMessage]) {
    let text = late.joined(separator: "\n")
    if !late.isEmpty, let last = messages.last, last.role == .user {
      messages[messages.count - 1].content += "\n" + text
    } else if !late.isEmpty {
      messages.append(ChatMessage(role: .user, content: text))
    } else if let first = messages.first, first.role.isInstruction, !messages.contains(where: { $0.role == .user }) {
      messages[0] = ChatMessage(role: .user, content: first.content)
    }
  }

  private static func isToolResult(_ message: JSON) -> Bool { message["role"] == .string("tool") }

  private mutating func message(_ value: JSON, _ place: String) throws(APIError) -> ChatMessage {
    func content(_ isNeeded: Bool = true) throws(APIError) -> String {
      try self.content(value["content"], isNeeded: isNeeded, place, isUser: value["role"] == .string("user"))
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
      let given = call["function"]?["arguments"]
      // Ollama's clients send the object itself.
      guard let name = call["function"]?["name"]?.stringValue, let given,
        let arguments = given.stringValue ?? (given.isObject ? given.compactText : nil)
      else {
        throw APIError.invalid(
          place + ".tool_calls",
          "'\(place).tool_calls' must be a list of calls with function.name and function.arguments.")
      }
      texts.append(ToolText.call(name: name, arguments: arguments))
    }
    return texts
  }

  /// A string, or parts of type text, and of a user pictures.
  private mutating func content(
    _ value: JSON?, isNeeded: Bool, _ place: String, isUser: Bool
  ) throws(APIError) -> String {
    let name = place + ".content"
    let sees = !template.pictureTokens.isEmpty
    switch value {
    case .string(let text): return sees ? PictureMark.cleaned(text) : text
    case .array(let parts):
      var texts: [String] = []
      for part in parts {
        let kind = part["type"]?.stringValue
        if sees, kind == "image_url" {
          texts.append(try mark(part, name, isUser: isUser))
          continue
        }
        guard kind == "text" || kind == "refusal" else {
          throw APIError.invalid(
            name,
            "'\(name)' has a part that is not text; this model reads text \(sees ? "and pictures " : "")only.",
            code: "unsupported_content_type")
        }
        guard let piece = part["text"]?.stringValue ?? part["refusal"]?.stringValue else {
          throw APIError.invalid(name, "a text part of '\(name)' must have a string 'text'.")
        }
        texts.append(sees ? PictureMark.cleaned(piece) : piece)
      }
      return texts.joined(separator: "\n")
    case nil where !isNeeded, .null where !isNeeded: return ""
    default: throw APIError.invalid(name, "'\(name)' must be a string or a list of parts.")
    }
  }

  /// What stands for a picture in the text of its message.
  private mutating func mark(_ part: JSON, _ name: String, isUser: Bool) throws(APIError) -> String {
    guard isUser else {
      throw APIError.unsupported(name, "'\(name)' has a picture; only messages of a user can have pictures.")
    }
    guard let url = part["image_url"]?["url"]?.stringValue ?? part["image_url"]?.stringValue else {
      throw APIError.invalid(name, "a picture of '\(name)' must have 'image_url' with a string 'url'.")
    }
    guard DataURL.isOne(url) || fetchesPictures && PictureFetcher.isAddress(url) else {
      throw APIError.unsupported(
        name,
        "'\(name)' has a picture that is not in the request; this server fetches "
          + (fetchesPictures ? "those that https:// or http:// leads to." : "none.")
          + " Send it as a data: URL, such as data:image/png;base64,…")
    }
    guard pictures.count < PictureMark.limit else {
      throw APIError.invalid("messages", "'messages' has more than \(PictureMark.limit) pictures.")
    }
    pictures.append(RequestPicture(url: url, place: name))
    return PictureMark.text(pictures.count - 1)
  }
}
