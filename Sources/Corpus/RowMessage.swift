import Storage
import Tokenization
import Vision

extension RowReader {
  /// The messages of a list.
  ///
  /// - Parameter followsMarks: whether marks of what is to be learned count; otherwise they are among what is not used.
  func messages(
    _ list: RowJSON, key: some CustomStringConvertible, followsMarks: Bool = true
  ) throws(RowProblem) -> RowConversation {
    guard list.kind == .array else {
      throw RowProblem("\"\(key)\" holds \(list.kind.inWords), a list of messages is expected")
    }
    var conversation = RowConversation()
    var number = 0
    try list.forEachElement { (value) throws(RowProblem) in
      number += 1
      try append(value, number: number, followsMarks: followsMarks, to: &conversation)
    }
    return conversation
  }

  /// What a member of a message is for.
  private enum MessagePart {
    case role, content, reasoning, trainedMark, maskedMark, partMark, toolCall, tools, toolField
  }

  private static let messageParts: [(name: StaticString, part: MessagePart)] = [
    ("role", .role), ("from", .role), ("content", .content), ("value", .content), ("reasoning_content", .reasoning),
    ("reasoning", .reasoning), ("thinking", .reasoning), ("weight", .trainedMark), ("loss", .trainedMark),
    ("train", .trainedMark), ("loss_mask", .trainedMark), ("mask", .maskedMark), ("masked", .maskedMark),
    ("train_detail", .partMark), ("tool_calls", .toolCall), ("function_call", .toolCall),
    ("tools", .tools), ("tool_call_id", .toolField), ("name", .toolField),
  ]

  private static let roles: [String: ChatMessage.Role] = [
    "system": .system, "developer": .system, "user": .user, "human": .user, "assistant": .assistant,
    "gpt": .assistant, "model": .assistant, "bot": .assistant, "chatgpt": .assistant,
  ]

  /// Roles of what a tool returned, and of ShareGPT's turns that call one.
  private static let toolRoles: Set<String> = [
    "tool", "function", "observation", "ipython", "tool_response", "tool_call", "function_call", "function_response",
  ]

  /// One message: `role` and `content`, or `from` and `value`; perhaps its reasoning, and marks of whether it is to be learned.
  func append(
    _ value: RowJSON, number: Int, followsMarks: Bool, to conversation: inout RowConversation
  ) throws(RowProblem) {
    var role: RowJSON?
    var content: RowJSON?
    var reasoning: RowJSON?
    var isTrained: Bool?
    var calls: RowJSON?
    var toolFields: [JSON.Member] = []
    try value.forEachMember { (key, member) throws(RowProblem) in
      let known = Self.messageParts.first { key.hasSameBytes(as: $0.name) }
      guard member.kind != .null else { return }
      switch known?.part {
      case .role: role = role ?? member
      case .content: content = content ?? member
      case .reasoning where !member.isEmpty: reasoning = reasoning ?? member
      case .reasoning: break
      case .toolCall where !member.isEmpty: calls = calls ?? member
      case .toolCall: break
      case .tools where keepsTools && !member.isEmpty:
        conversation.tools = try tools(member, "\"tools\" of message \(number)")
      case .toolField where keepsTools && member.kind == .string:
        toolFields.append(.init("\(known!.name)", .string(member.string ?? "")))
      case .trainedMark where followsMarks, .maskedMark where followsMarks:
        let mark = try Self.mark(member, known!.name, isMasked: known!.part == .maskedMark, number: number)
        isTrained = (isTrained ?? true) && mark
      case .partMark where followsMarks && !member.isEmpty:
        throw RowProblem(
          "message \(number) has \"\(known!.name)\", marks of parts of a message, which are not followed")
      case nil, .trainedMark, .maskedMark, .partMark, .tools, .toolField:
        guard !member.isEmpty else { return }
        unusedParts.append(("messages[].\(String(decoding: key.prefix(60), as: UTF8.self))", member.example))
      }
    }
    guard let name = role?.string else {
      throw RowProblem("message \(number) has no \"role\" (or \"from\") with a text")
    }
    let known = Self.roles[name] ?? Self.roles[name.lowercased()]
    let isOfTools = calls != nil || known == nil && Self.toolRoles.contains(name.lowercased())
    if isOfTools && keepsTools || name == "developer" && keepsDeveloper {
      var said: String?
      if let content { said = try text(of: content, number: number, reasoning: &reasoning, &conversation) }
      var message = try toolMessage(name.lowercased(), said, calls, fields: toolFields, number: number)
      if message.role == .assistant, let thought = reasoning?.string {
        if keepsReasoning {
          message.reasoning = thought
        } else {
          message.content = try Self.answer(message.content, after: thought, number: number)
        }
      }
      return conversation.append(message, isTrained: message.role == .assistant ? isTrained : false)
    }
    for field in toolFields { unusedParts.append(("messages[].\(field.key)", field.value.compactText)) }
    if isOfTools {
      conversation.hasToolTurns = true
      return
    }
    guard let role = known else {
      throw RowProblem("message \(number) is of \"\(name.prefix(40))\"; system, user and assistant are understood")
    }
    guard let content, let text = try text(of: content, number: number, reasoning: &reasoning, &conversation) else {
      throw RowProblem("message \(number) has no \"content\" (or \"value\") with a text")
    }
    guard role == .assistant else {
      if let reasoning {
        unusedParts.append(("messages[].reasoning of the \(role.rawValue)", reasoning.example))
      }
      if isTrained == true { unusedParts.append(("messages[].mark to train on the \(role.rawValue)", "true")) }
      return conversation.append(role, text)
    }
    if let reasoning, reasoning.kind != .string {
      throw RowProblem("the reasoning of message \(number) is \(reasoning.kind.inWords), a text is expected")
    }
    try append(answer: text, after: reasoning?.string, number: number, isTrained: isTrained, to: &conversation)
  }

  /// Adds an answer with the reasoning that leads to it.
  func append(
    answer text: String, after reasoning: String?, number: Int?, isTrained: Bool? = nil,
    to conversation: inout RowConversation
  ) throws(RowProblem) {
    guard let reasoning else { return conversation.append(.assistant, text, isTrained: isTrained) }
    let whole = try Self.answer(text, after: reasoning, number: number)
    guard keepsReasoning, whole != text else { return conversation.append(.assistant, whole, isTrained: isTrained) }
    conversation.append(ChatMessage(role: .assistant, content: text, reasoning: reasoning), isTrained: isTrained)
  }

  /// Whether a mark says that its message is to be learned.
  private static func mark(
    _ value: RowJSON, _ name: StaticString, isMasked: Bool, number: Int
  ) throws(RowProblem) -> Bool {
    if let boolean = value.boolean { return boolean != isMasked }
    // Some write mask 1 for what is to be learned, others for what is not.
    if isMasked {
      throw RowProblem(
        "\"\(name)\" of message \(number) is \(value.kind.inWords); true is expected for what is not to be learned, or "
          + "\"weight\" with 0 or 1")
    }
    if let weight = value.number, weight == 0 || weight == 1 { return weight == 1 }
    let found = value.number.map { "\($0)" } ?? value.kind.inWords
    throw RowProblem("\"\(name)\" of message \(number) is \(found); 0 and 1, or true and false, are understood")
  }

  /// A text, or the text of a list of parts; nil for anything else.
  private func text(
    of content: RowJSON, number: Int, reasoning: inout RowJSON?, _ conversation: inout RowConversation
  ) throws(RowProblem) -> String? {
    guard content.kind == .array else { return content.string }
    var texts: [String] = []
    var thought = reasoning
    var hasToolTurns = false
    var inlinePictures: [String] = []
    try content.forEachElement { (part) throws(RowProblem) in
      if let text = part.string { return texts.append(text) }
      let type = part["type"]?.string ?? "text"
      switch type {
      case "text", "input_text", "output_text":
        guard let text = part["text"]?.string else {
          throw RowProblem("message \(number) has a part of its content without a text")
        }
        texts.append(text)
      case "thinking", "reasoning":
        guard let text = part["thinking"] ?? part["reasoning"] ?? part["text"], text.kind == .string, thought == nil
        else {
          throw RowProblem("message \(number) has reasoning that is no text, or twice")
        }
        thought = text
      case "tool_use", "tool_result", "tool_call": hasToolTurns = true
      case "image_url" where keepsPictures, "input_image" where keepsPictures:
        let value = part["image_url"]
        guard let url = value?.string ?? value?["url"]?.string, DataURL.isOne(url) else {
          throw RowProblem("message \(number) has a picture that is no data: URL; others are not fetched")
        }
        inlinePictures.append(url)
        texts.append(PictureMark.placeholder)
      case "image" where keepsPictures && part["image"] == nil && part["url"] == nil && part["path"] == nil:
        // A picture of the row's, as the processors of transformers have it.
        texts.append(PictureMark.placeholder)
      default:
        throw RowProblem("message \(number) has a part of type \"\(type.prefix(40))\"; only text is trained on")
      }
    }
    reasoning = thought
    conversation.inlinePictures += inlinePictures
    if hasToolTurns { conversation.hasToolTurns = true }
    return texts.joined()
  }

  /// An answer with the reasoning that leads to it, as MiniMind's and Qwen's templates write it.
  static func answer(_ text: String, after reasoning: String, number: Int?) throws(RowProblem) -> String {
    guard reasoning.contains(where: { !$0.isWhitespace }) else { return text }
    let answer = text.drop { $0.isNewline }
    guard !answer.drop(while: \.isWhitespace).hasPrefix("<think>") else {
      throw RowProblem(
        (number.map { "message \($0)" } ?? "the row")
          + " has its reasoning twice: in a field and as <think> in the answer")
    }
    let thought = reasoning.drop { $0.isNewline }
    let end = thought.lastIndex { !$0.isNewline }.map { thought.index(after: $0) } ?? thought.endIndex
    return "<think>\n\(thought[..<end])\n</think>\n\n\(answer)"
  }
}
