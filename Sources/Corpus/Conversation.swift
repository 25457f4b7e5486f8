import Tokenization

extension RowReader {
  /// What a good row looks like, for messages about bad ones.
  static let goodConversationRow = #"{"q": "Who are you?", "a": "I am MiniMind."}"#

  /// The conversation of a row: perhaps a system message, then questions and answers in turn, an answer last.
  ///
  /// Read are `messages` (`role`, `content`) and ShareGPT's `conversations` (`from`, `value`); and single turns
  /// under the names of `FieldNames`, with `input` (joined to the question by a newline) and earlier turns in `history`: a list
  /// of [question, answer] pairs, in CSV written as Python writes it. `prompt` and `completion` may be lists of messages, of
  /// which the completion is learned. Each may have `system`.
  func conversation(of record: Record, in block: Block) throws(RowProblem) -> RowConversation {
    try readFields(record, of: block, asIn: Self.goodConversationRow)
    if let listed = try listedMessages() { return try withoutOpenQuestion(listed) }
    guard let turn = try findTurn() else {
      throw RowProblem(
        "there is no question in it: \"q\" and \"a\", \"instruction\" and \"output\", \"messages\" or "
          + "\"conversations\" are expected, found \(fields.names.inQuotes), as in: \(Self.goodConversationRow)")
    }
    return try conversation(question: turn.question, answer: turn.answer)
  }

  /// The fields of a question and its answer: the first pair of names of which both say something, else the first that are there.
  private func findTurn() throws(RowProblem) -> (question: Int, answer: Int)? {
    var blank: (question: Int, answer: Int)?
    for turn in names.turns {
      guard let question = fields.value(of: turn.question), let answer = fields.value(of: turn.answer) else { continue }
      if !fields.isBlank(question) && !fields.isBlank(answer) { return (question, answer) }
      blank = blank ?? (question, answer)
    }
    if let blank { return blank }
    for turn in names.turns {
      // An empty field of CSV is there, but says nothing.
      guard let question = fields.index(of: turn.question), fields.json(question)?.kind != .null else { continue }
      if let answer = fields.index(of: turn.answer), fields.json(answer)?.kind != .null { return (question, answer) }
      throw RowProblem(
        "there is \"\(turn.question)\" but no \"\(turn.answer)\", as in: "
          + #"{"\#(turn.question)": "Who are you?", "\#(turn.answer)": "I am MiniMind."}"#)
    }
    return nil
  }

  private func conversation(question: Int, answer: Int) throws(RowProblem) -> RowConversation {
    fields.use(question)
    fields.use(answer)
    if let list = try structure(question), list.kind == .array {
      var conversation = try withSystem(try messages(list, key: fields.names[question]))
      conversation.isTrained = conversation.isTrained.map { _ in false }
      conversation.append(try answerMessages(answer))
      return try withoutOpenQuestion(conversation)
    }
    var conversation = try prompt(question: try fields.text(question))
    conversation.append(try answerMessages(answer))
    return try withoutOpenQuestion(conversation)
  }

  /// What answers a question: a text, perhaps with its reasoning in another field, a message, or a list of messages.
  private func answerMessages(_ field: Int) throws(RowProblem) -> RowConversation {
    if let value = try structure(field) {
      let name = fields.names[field]
      if value.kind == .array { return try messages(value, key: name) }
      var conversation = RowConversation()
      do throws(RowProblem) {
        try append(value, number: 1, followsMarks: true, to: &conversation)
      } catch { throw RowProblem("\"\(name)\": \(error.reason)") }
      return conversation
    }
    var conversation = RowConversation()
    let text = try fields.text(field)
    try append(answer: text, after: try reasoning(), number: nil, to: &conversation)
    return conversation
  }

  /// The text of the reasoning in a field of its own.
  private func reasoning() throws(RowProblem) -> String? {
    for name in FieldNames.reasoning {
      guard let index = fields.value(of: name), !fields.isUsed(index), !fields.isBlank(index) else { continue }
      return try fields.text(index)
    }
    return nil
  }

  /// The messages in `messages` or `conversations`; nil when there is neither, or an empty list beside other fields.
  ///
  /// - Parameter followsMarks: as in `messages`.
  func listedMessages(followsMarks: Bool = true) throws(RowProblem) -> RowConversation? {
    for name in FieldNames.lists {
      guard let index = fields.value(of: name), let list = try structure(index) ?? fields.json(index) else { continue }
      if list.isEmpty, fields.count > 1 { continue }
      fields.use(index)
      var conversation = try withSystem(try messages(list, key: name, followsMarks: followsMarks))
      if conversation.tools.isEmpty { conversation.tools = try rowTools() }
      return conversation
    }
    return nil
  }

  /// Messages with the row's `system` first, where they do not begin with a system message themselves.
  func withSystem(_ conversation: RowConversation) throws(RowProblem) -> RowConversation {
    guard !conversation.hasOwnSystem, let system = try fields.text(FieldNames.system)
    else {
      return conversation
    }
    var whole = conversation
    whole.insertSystem(system)
    return whole
  }

  /// What comes before an answer: the system message and the earlier turns of a row, then the question with its input.
  func prompt(question: String) throws(RowProblem) -> RowConversation {
    var conversation = RowConversation()
    if let system = try fields.text(FieldNames.system) { conversation.append(.system, system) }
    for (question, answer) in try history() {
      conversation.append(.user, question)
      conversation.append(.assistant, answer)
    }
    var input = ""
    if let index = fields.value(of: FieldNames.input), !fields.isUsed(index) { input = try fields.text(index) }
    conversation.append(.user, input.isEmpty ? question : question + "\n" + input)
    return conversation
  }

  /// Checks the order. A last question without an answer is left out: there is nothing to learn from it.
  private func withoutOpenQuestion(_ conversation: RowConversation) throws(RowProblem) -> RowConversation {
    var whole = conversation
    if keepsPictures { try whole.placePictures(try rowPictures(), comeFirst: picturesComeFirst) }
    guard !whole.hasToolTurns else { return whole }
    whole.removeOpeningAnswer()
    try whole.checkTurns()
    whole.removeOpenQuestions()
    guard whole.messages.last?.role == .assistant else { throw RowProblem("there is no answer in the conversation") }
    return whole
  }
}
