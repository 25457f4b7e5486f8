import Tokenization

/// A conversation as a row has it: its messages, and which of them are to be learned.
struct RowConversation: Equatable {
  var messages: [ChatMessage] = []
  /// One a message: false for an answer that is marked as not to be learned, and for all that are no answers.
  var isTrained: [Bool] = []
  /// Whether there are calls of tools or what tools returned, which nothing trains on.
  var hasToolTurns = false
  /// Whether an answer stood before the first question and was left out.
  var lostOpeningAnswer = false

  mutating func append(_ role: ChatMessage.Role, _ content: String, isTrained: Bool? = nil) {
    messages.append(ChatMessage(role: role, content: content))
    self.isTrained.append(isTrained ?? (role == .assistant))
  }

  mutating func append(_ other: RowConversation) {
    messages += other.messages
    isTrained += other.isTrained
    hasToolTurns = hasToolTurns || other.hasToolTurns
    lostOpeningAnswer = lostOpeningAnswer || other.lostOpeningAnswer
  }

  mutating func insertSystem(_ content: String) {
    messages.insert(ChatMessage(role: .system, content: content), at: 0)
    isTrained.insert(false, at: 0)
  }

  /// Leaves out an answer before the first question, as FastChat does: it answers nothing.
  mutating func removeOpeningAnswer() {
    let first = messages.first?.role == .system ? 1 : 0
    guard messages.count > first + 1, messages[first].role == .assistant else { return }
    messages.remove(at: first)
    isTrained.remove(at: first)
    lostOpeningAnswer = true
  }

  /// Leaves out what comes after the last answer that is learned: it is context for nothing.
  mutating func endWithLastTrained() {
    let count = (isTrained.lastIndex(of: true) ?? -1) + 1
    messages.removeLast(messages.count - count)
    isTrained.removeLast(isTrained.count - count)
  }

  /// Checks the order: perhaps a system message, then user and assistant in turn.
  func checkTurns() throws(RowProblem) {
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
}
