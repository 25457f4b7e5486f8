import Tokenization

extension RowReader {
  /// What a good row looks like, for messages about bad ones.
  static let goodConversationRow = #"{"q": "Who are you?", "a": "I am MiniMind."}"#

  /// Names of a question's and its answer's field, in the order in which they are looked for.
  private static let turnFields: [(question: StaticString, answer: StaticString)] = [
    ("q", "a"), ("instruction", "output"), ("prompt", "completion"), ("question", "answer"),
  ]

  /// The conversation of a row: perhaps a system message, then questions and answers in turn, an answer last.
  ///
  /// Read are `messages` (`role`, `content`) and ShareGPT's `conversations` (`from`, `value`); and single turns
  /// under the names above, with `input` (joined to the question by a newline) and earlier turns in `history`: a list
  /// of [question, answer] pairs, in CSV written as Python writes it. Each may have `system`.
  func conversation(of record: Record, in block: Block) throws(RowProblem) -> [ChatMessage] {
    let row = try readFields(record, of: block, asIn: Self.goodConversationRow)
    if let messages = try listedMessages(of: row) { return try withoutOpenQuestion(messages) }
    for fields in Self.turnFields {
      guard let question = try row.text(fields.question) else { continue }
      guard let answer = try row.text(fields.answer) else {
        throw RowProblem(
          "there is \"\(fields.question)\" but no \"\(fields.answer)\", as in: "
            + #"{"\#(fields.question)": "Who are you?", "\#(fields.answer)": "I am MiniMind."}"#)
      }
      return try prompt(of: row, question: question) + [ChatMessage(role: .assistant, content: answer)]
    }
    throw RowProblem(
      "there is no question in it: \"q\" and \"a\", \"instruction\" and \"output\", \"messages\" or "
        + "\"conversations\" are expected, found \(list(row.names)), as in: \(Self.goodConversationRow)")
  }

  /// A row with its fields by name.
  func readFields(_ record: Record, of block: Block, asIn goodRow: String) throws(RowProblem) -> Row {
    let row = try read(record, of: block)
    if case .json(let value) = row, value.kind != .object {
      throw RowProblem("the row is \(value.kind.inWords), an object is expected, as in: \(goodRow)")
    }
    return row
  }

  /// The messages in `messages` or `conversations`; nil when there is neither.
  func listedMessages(of row: Row) throws(RowProblem) -> [ChatMessage]? {
    if let list = row.value("messages") { return try messages(list, key: "messages", of: row) }
    if let list = row.value("conversations") { return try messages(list, key: "conversations", of: row) }
    return nil
  }

  /// The messages of a row's list, the row's `system` first where the list does not begin with a system message itself.
  func messages(_ list: JSONValue, key: StaticString, of row: Row) throws(RowProblem) -> [ChatMessage] {
    let listed = try messages(list, key: key)
    guard listed.first?.role != .system, let system = try row.text("system") else { return listed }
    return [ChatMessage(role: .system, content: system)] + listed
  }

  /// What comes before an answer: the system message and the earlier turns of a row, then the question with its input.
  func prompt(of row: Row, question: String) throws(RowProblem) -> [ChatMessage] {
    var messages: [ChatMessage] = []
    if let system = try row.text("system") { messages.append(ChatMessage(role: .system, content: system)) }
    for (question, answer) in try history(of: row) {
      messages.append(ChatMessage(role: .user, content: question))
      messages.append(ChatMessage(role: .assistant, content: answer))
    }
    let input = try row.text("input") ?? ""
    messages.append(ChatMessage(role: .user, content: input.isEmpty ? question : question + "\n" + input))
    return messages
  }

  /// The messages of a list.
  func messages(_ list: JSONValue, key: StaticString) throws(RowProblem) -> [ChatMessage] {
    guard list.kind == .array else {
      throw RowProblem("\"\(key)\" holds \(list.kind.inWords), a list of messages is expected")
    }
    var messages: [ChatMessage] = []
    try list.forEachElement { (value) throws(RowProblem) in
      messages.append(try message(value, number: messages.count + 1))
    }
    return messages
  }

  /// One message: `role` and `content`, or `from` and `value`.
  func message(_ value: JSONValue, number: Int) throws(RowProblem) -> ChatMessage {
    guard let name = (value["role"] ?? value["from"])?.string else {
      throw RowProblem("message \(number) has no \"role\" (or \"from\") with a text")
    }
    guard let role = Self.roles[name.lowercased()] else {
      throw RowProblem("message \(number) is of \"\(name.prefix(40))\"; system, user and assistant are understood")
    }
    guard let content = (value["content"] ?? value["value"])?.string else {
      throw RowProblem("message \(number) has no \"content\" (or \"value\") with a text")
    }
    return ChatMessage(role: role, content: content)
  }

  private static let roles: [String: ChatMessage.Role] = [
    "system": .system, "developer": .system, "user": .user, "human": .user, "assistant": .assistant,
    "gpt": .assistant, "model": .assistant, "bot": .assistant,
  ]

  /// Checks the order: perhaps a system message, then user and assistant in turn.
  func checkTurns(_ messages: [ChatMessage]) throws(RowProblem) {
    let first = messages.first?.role == .system ? 1 : 0
    for (index, message) in messages.enumerated().dropFirst(first) {
      let expected: ChatMessage.Role = (index - first) % 2 == 0 ? .user : .assistant
      guard message.role == expected else {
        throw RowProblem(
          "message \(index + 1) is of the \(message.role.rawValue), the \(expected.rawValue) is expected: after an "
            + "optional system message, user and assistant take turns")
      }
    }
  }

  /// Checks the order. A last question without an answer is left out: there is nothing to learn from it.
  private func withoutOpenQuestion(_ messages: [ChatMessage]) throws(RowProblem) -> [ChatMessage] {
    try checkTurns(messages)
    let whole = messages.last?.role == .user ? Array(messages.dropLast()) : messages
    guard whole.last?.role == .assistant else { throw RowProblem("there is no answer in the conversation") }
    return whole
  }

  /// The earlier turns in `history`; none when it is absent, null or blank.
  private func history(of row: Row) throws(RowProblem) -> [(question: String, answer: String)] {
    guard let value = row.value("history"), value.kind != .string else {
      guard let text = try row.text("history"), !text.utf8.allSatisfy({ $0 <= 0x20 }) else { return [] }
      return try pairs(try PythonLiteral(text))
    }
    guard value.kind != .null else { return [] }
    guard value.kind == .array else {
      throw RowProblem("\"history\" holds \(value.kind.inWords), a list of [question, answer] pairs is expected")
    }
    var turns: [(question: String, answer: String)] = []
    try value.forEachElement { (pair) throws(RowProblem) in
      var texts: [String] = []
      try pair.forEachElement { (text) throws(RowProblem) in
        guard let text = text.string else { throw Self.brokenPair(turns.count) }
        texts.append(text)
      }
      guard texts.count == 2 else { throw Self.brokenPair(turns.count) }
      turns.append((texts[0], texts[1]))
    }
    return turns
  }

  private func pairs(_ literal: PythonLiteral) throws(RowProblem) -> [(question: String, answer: String)] {
    guard case .list(let elements) = literal else {
      if literal == .none { return [] }
      throw RowProblem("\"history\" is one text, a list of [question, answer] pairs is expected")
    }
    var turns: [(question: String, answer: String)] = []
    for element in elements {
      guard case .list(let pair) = element, pair.count == 2, case .string(let question) = pair[0],
        case .string(let answer) = pair[1]
      else {
        throw Self.brokenPair(turns.count)
      }
      turns.append((question, answer))
    }
    return turns
  }

  private static func brokenPair(_ index: Int) -> RowProblem {
    RowProblem("element \(index + 1) of \"history\" is no pair of texts, [question, answer] is expected")
  }
}

extension RowReader.Row {
  /// The value of a JSON row's field.
  func value(_ name: StaticString) -> JSONValue? {
    if case .json(let value) = self { value[name] } else { nil }
  }

  /// The text of a field; nil when it is absent or null.
  func text(_ name: StaticString) throws(RowProblem) -> String? {
    switch self {
    case .json(let value):
      guard let field = value[name], field.kind != .null else { return nil }
      guard let text = field.string else {
        throw RowProblem("\"\(name)\" holds \(field.kind.inWords), a text is expected")
      }
      return text
    case .csv(let columns, let fields):
      return columns.firstIndex(of: name.description).map(fields.string)
    case .text: return nil
    }
  }

  var names: [String] {
    switch self {
    case .json(let value): value.keys
    case .csv(let columns, _): columns
    case .text: []
    }
  }
}
