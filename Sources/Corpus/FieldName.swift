/// What a field of a row is called. Upper and lower case of ASCII letters are alike, but a field of exactly this name is
/// preferred.
package struct FieldName: Sendable, Equatable, ExpressibleByStringLiteral, CustomStringConvertible {
  package let description: String
  private let bytes: [UInt8]

  package init(_ name: String) {
    description = name
    bytes = Array(name.utf8)
  }

  package init(stringLiteral name: String) { self.init(name) }

  enum Likeness { case none, exceptForCase, exact }

  func likeness(_ key: UnsafeRawBufferPointer) -> Likeness {
    guard key.count == bytes.count else { return .none }
    var likeness = Likeness.exact
    for (byte, other) in zip(bytes, key) where byte != other {
      let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
      guard isLetter && byte ^ other == 0x20 else { return .none }
      likeness = .exceptForCase
    }
    return likeness
  }
}

/// The names under which the parts of rows are looked for, in this order.
package struct FieldNames: Sendable, Equatable {
  /// A question's field, and that of its answer.
  package struct Turn: Sendable, Equatable {
    package let question: FieldName
    package let answer: FieldName
  }

  package private(set) var text: [FieldName] = ["text", "content", "正文", "内容", "文本", "本文", "テキスト"]
  package private(set) var turns: [Turn] = [
    ("q", "a"), ("instruction", "output"), ("prompt", "completion"), ("question", "answer"), ("prompt", "response"),
    ("query", "response"), ("instruction", "response"), ("question", "response"), ("input", "output"), ("问题", "回答"),
    ("问题", "答案"), ("提问", "回答"), ("问", "答"), ("指令", "输出"), ("質問", "回答"), ("質問", "答え"),
  ].map { Turn(question: FieldName($0.0), answer: FieldName($0.1)) }

  /// - Parameters:
  ///   - text: the only name of a document's field; nil for the usual ones.
  ///   - question, answer: the only names of a question's and an answer's field; nil for the usual ones.
  package init(text: String? = nil, question: String? = nil, answer: String? = nil) {
    if let text { self.text = [FieldName(text)] }
    guard question != nil || answer != nil else { return }
    var found: [Turn] = []
    for turn in turns {
      let turn = Turn(
        question: question.map { FieldName($0) } ?? turn.question, answer: answer.map { FieldName($0) } ?? turn.answer)
      if !found.contains(turn) { found.append(turn) }
    }
    turns = found
  }

  // Made once: a name is more than a pointer.
  static let lists: [FieldName] = ["messages", "conversations"]
  static let prompt: FieldName = "prompt"
  static let input: FieldName = "input"
  static let history: FieldName = "history"
  static let chosen: FieldName = "chosen"
  static let rejected: FieldName = "rejected"
  static let label: FieldName = "label"
  static let pictures: [FieldName] = ["image_bytes", "image", "images"]
  static let tools: FieldName = "tools"
  static let system: [FieldName] = ["system", "system_prompt"]
  static let reasoning: [FieldName] = ["reasoning_content", "reasoning", "thinking", "think", "complex_cot"]
}
