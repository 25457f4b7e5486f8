import Foundation
import Storage
import Tokenization

/// Two conversations that begin alike and differ in their answers: the one that people prefer, and the other.
struct PreferencePair {
  let chosen: [ChatMessage]
  let rejected: [ChatMessage]
  let hasToolTurns: Bool
  /// Descriptions of tools, for a chat template that knows them.
  var tools: [JSON] = []
  /// The pictures of either conversation, by their marks.
  var chosenPictures: [PictureSource] = []
  var rejectedPictures: [PictureSource] = []

  /// Messages that both begin with; the answers after these are what is compared.
  var promptCount: Int { zip(chosen, rejected).prefix { $0 == $1 }.count }
}

/// A conversation and whether people want its last answer.
struct LabelledAnswer {
  let conversation: RowConversation
  let isDesirable: Bool
}

extension RowReader {
  /// What a good row looks like, for messages about bad ones.
  static let goodLabelledRow = #"{"prompt": "Who are you?", "completion": "I am MiniMind.", "label": true}"#

  /// The answer of a row with a label: a conversation as for fine-tuning, and in `label` true or false, 1 or 0.
  ///
  /// - Parameter needsLabel: whether a conversation without a label is broken; otherwise it is one that people want.
  /// - Returns: nil for a row without `label` that has `chosen` and `rejected`: a pair is an answer that people want and one
  ///   that they do not want.
  func labelledAnswer(
    of record: Record, in block: Block, needsLabel: Bool
  ) throws(RowProblem) -> LabelledAnswer? {
    try readFields(record, of: block, asIn: Self.goodLabelledRow)
    guard let label = fields.value(of: FieldNames.label) else {
      if fields.index(of: FieldNames.chosen) != nil, fields.index(of: FieldNames.rejected) != nil { return nil }
      guard needsLabel else {
        return LabelledAnswer(conversation: try conversation(of: record, in: block), isDesirable: true)
      }
      throw RowProblem("there is no \"label\" but \(fields.names.inQuotes), as in: \(Self.goodLabelledRow)")
    }
    let isDesirable: Bool
    switch fields.json(label) {
    case let value? where value.boolean != nil: isDesirable = value.boolean == true
    case let value? where value.number == 0 || value.number == 1: isDesirable = value.number == 1
    case let value? where value.kind != .string:
      throw RowProblem("\"label\" is \(value.kind.inWords), true or false is expected")
    default:
      switch try fields.text(label).lowercased() {
      case "true", "1": isDesirable = true
      case "false", "0": isDesirable = false
      case let text: throw RowProblem("\"label\" is \"\(text.prefix(40))\", true or false is expected")
      }
    }
    let conversation = try conversation(of: record, in: block)
    // The row has been read again.
    fields.use(label)
    return LabelledAnswer(conversation: conversation, isDesirable: isDesirable)
  }

  static let goodPreferenceRow =
    #"{"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#

  /// Names of a question's field; `prompt` may also be a list of messages.
  static let questionFields: [FieldName] = ["prompt", "instruction", "question", "q", "query", "问题"]

  /// The pair of a row.
  ///
  /// `chosen` and `rejected` are texts, messages, or lists of messages. Where both lists hold the question, what they begin
  /// with alike is the prompt, as trl has it (`extract_prompt` in data_utils.py), and a `prompt` of text beside them is not read.
  /// Otherwise the prompt is in `prompt` (a text or a list), in `conversations` or `messages`, or in a question's field with
  /// `input` and `history`; each may have `system`, as for fine-tuning. Pictures in `image` or `images` are those of both.
  func preferencePair(of record: Record, in block: Block) throws(RowProblem) -> PreferencePair {
    try readFields(record, of: block, asIn: Self.goodPreferenceRow)
    let answers = (try answer(FieldNames.chosen), try answer(FieldNames.rejected))
    if answers.0.hasToolTurns || answers.1.hasToolTurns {
      return PreferencePair(chosen: [], rejected: [], hasToolTurns: true)
    }
    let prompt: RowConversation
    if Self.isWhole(answers.0), Self.isWhole(answers.1), try !isListed(FieldNames.prompt) {
      prompt = answers.0.hasOwnSystem || answers.1.hasOwnSystem ? RowConversation() : try system()
      usePrompt(repeatedIn: answers)
    } else {
      prompt = try preferencePrompt(answeredBy: answers)
    }
    let tools = [prompt.tools, answers.0.tools, try rowTools()].first { !$0.isEmpty } ?? []
    let beside = try rowPictures()
    let chosen = try conversation(prompt, answeredBy: answers.0, beside, "chosen")
    let rejected = try conversation(prompt, answeredBy: answers.1, beside, "rejected")
    let pair = PreferencePair(
      chosen: chosen.messages, rejected: rejected.messages, hasToolTurns: prompt.hasToolTurns, tools: tools,
      chosenPictures: chosen.pictures, rejectedPictures: rejected.pictures)
    let first = pair.promptCount
    guard !pair.hasToolTurns, pair.chosen != pair.rejected else { return pair }
    let shown = pair.chosen.prefix(first).reduce(0) { $0 + PictureMark.count(in: $1.content) }
    guard pair.chosenPictures.prefix(shown) == pair.rejectedPictures.prefix(shown) else {
      throw RowProblem("\"chosen\" and \"rejected\" answer questions about other pictures")
    }
    // One list has ended where the other asks another question.
    for messages in [pair.chosen, pair.rejected] where first >= messages.count || messages[first].role != .assistant {
      throw RowProblem(
        "\"chosen\" and \"rejected\" do not answer the same question: message \(first + 1) is where they differ, and it "
          + "is no answer in both")
    }
    return pair
  }

  /// Whether an answer is a whole conversation, its question included.
  private static func isWhole(_ answer: RowConversation) -> Bool {
    answer.messages.first { !$0.role.isInstruction }?.role == .user
  }

  private func isListed(_ name: FieldName) throws(RowProblem) -> Bool {
    guard let index = fields.value(of: name) else { return false }
    return try structure(index)?.kind == .array
  }

  /// Fields that repeat what both lists hold count as used.
  private func usePrompt(repeatedIn answers: (RowConversation, RowConversation)) {
    func trimmed(_ text: String) -> String { text.trimmingCharacters(in: .whitespacesAndNewlines) }
    for name in Self.questionFields {
      guard let index = fields.value(of: name), let text = fields.json(index)?.string else { continue }
      let isRepeated = [answers.0, answers.1].allSatisfy { answer in
        answer.messages.contains { $0.role == .user && trimmed($0.content) == trimmed(text) }
      }
      if isRepeated { fields.use(index) }
    }
    for name in FieldNames.lists {
      guard let index = fields.value(of: name), let list = try? structure(index),
        let listed = try? messages(list, key: name, followsMarks: false)
      else { continue }
      let isRepeated = [answers.0, answers.1].contains { $0.messages.starts(with: listed.messages) }
      if isRepeated { fields.use(index) }
    }
  }

  private func system() throws(RowProblem) -> RowConversation { try withSystem(RowConversation()) }

  private func preferencePrompt(
    answeredBy answers: (RowConversation, RowConversation)
  ) throws(RowProblem) -> RowConversation {
    if let index = fields.value(of: FieldNames.prompt), let list = try structure(index), list.kind == .array {
      fields.use(index)
      return try withSystem(try messages(list, key: "prompt", followsMarks: false))
    }
    if var listed = try listedMessages(followsMarks: false) {
      // The list may end with one of the answers.
      if listed.messages.last?.role == .assistant, !listed.hasToolTurns,
        [answers.0, answers.1].contains(where: { $0.messages.last == listed.messages.last })
      {
        listed.messages.removeLast()
        listed.isTrained.removeLast()
        for name in Self.questionFields {
          guard let index = fields.value(of: name), let text = fields.json(index)?.string else { continue }
          if listed.messages.last?.content == text { fields.use(index) }
        }
      }
      return listed
    }
    for name in Self.questionFields {
      guard let index = fields.value(of: name) else { continue }
      return try prompt(question: try fields.text(index))
    }
    return try system()
  }

  /// The whole conversation that ends with the answer in `key`.
  ///
  /// - Parameter beside: the pictures that the row has beside its messages.
  private func conversation(
    _ prompt: RowConversation, answeredBy answer: RowConversation, _ beside: [PictureSource], _ key: String
  ) throws(RowProblem) -> RowConversation {
    guard !prompt.hasToolTurns else { return RowConversation() }
    var whole = prompt
    if [.assistant, .tool].contains(answer.messages.first?.role) {
      guard prompt.messages.contains(where: { $0.role == .user }) else {
        throw RowProblem(
          "there is no question in it: \"prompt\", \"conversations\" or \"instruction\" is expected beside \"\(key)\", "
            + "found \(fields.names.inQuotes), as in: \(Self.goodPreferenceRow)")
      }
      whole.append(answer)
    } else {
      // A list that begins with the prompt, with or without the system message.
      let asked =
        prompt.hasOwnSystem && !answer.hasOwnSystem
        ? Array(prompt.messages.dropFirst()) : prompt.messages
      // The list's own system message is used where the prompt has none.
      let begun =
        answer.hasOwnSystem && !prompt.hasOwnSystem
        ? Array(answer.messages.dropFirst()) : answer.messages
      guard begun.isEmpty || begun.starts(with: asked) else {
        throw RowProblem("\"\(key)\" begins with another question than the prompt")
      }
      if answer.hasOwnSystem && !prompt.hasOwnSystem {
        whole = answer
      } else {
        whole.messages += answer.messages.dropFirst(asked.count)
      }
      // A list that repeats the question may repeat its pictures, or only where they are.
      if !answer.inlinePictures.isEmpty { whole.inlinePictures = answer.inlinePictures }
    }
    if keepsPictures { try whole.placePictures(beside, comeFirst: picturesComeFirst) }
    do throws(RowProblem) { try whole.checkTurns() } catch { throw RowProblem("\"\(key)\": \(error.reason)") }
    guard whole.messages.last?.role == .assistant else {
      throw RowProblem("there is no answer at the end of \"\(key)\"")
    }
    return whole
  }

  /// The content of `chosen` or `rejected`, as messages.
  private func answer(_ key: FieldName) throws(RowProblem) -> RowConversation {
    guard let index = fields.index(of: key), fields.json(index)?.kind != .null else {
      throw RowProblem("there is no \"\(key)\" but \(fields.names.inQuotes), as in: \(Self.goodPreferenceRow)")
    }
    fields.use(index)
    var conversation = RowConversation()
    guard let value = try structure(index) else {
      conversation.append(.assistant, try fields.text(index))
      return conversation
    }
    do throws(RowProblem) {
      guard value.kind == .object else { return try messages(value, key: key, followsMarks: false) }
      try append(value, number: 1, followsMarks: false, to: &conversation)
    } catch { throw RowProblem("\"\(key)\": \(error.reason)") }
    return conversation
  }
}
