import Storage
import Tokenization

/// A conversation as a row has it: its messages, and which of them are to be learned.
struct RowConversation: Equatable {
  var messages: [ChatMessage] = []
  /// One a message: false for an answer that is marked as not to be learned, and for all that are no answers.
  var isTrained: [Bool] = []
  /// Descriptions of tools, for a chat template that knows them.
  var tools: [JSON] = []
  /// Whether there are calls of tools or what tools returned that the chat template has no place for.
  var hasToolTurns = false
  /// Whether an answer stood before the first question and was left out.
  var lostOpeningAnswer = false
  /// `data:` URLs among the parts of messages, each of which has left a placeholder.
  var inlinePictures: [String] = []
  /// By their marks, once they are placed.
  var pictures: [PictureSource] = []
  /// Whether its system message is one of ours.
  var gotSystem = false

  /// Whether it begins with an instruction of its own.
  var hasOwnSystem: Bool { messages.first?.role.isInstruction == true }

  mutating func append(_ role: ChatMessage.Role, _ content: String, isTrained: Bool? = nil) {
    append(ChatMessage(role: role, content: content), isTrained: isTrained)
  }

  mutating func append(_ message: ChatMessage, isTrained: Bool? = nil) {
    messages.append(message)
    self.isTrained.append(isTrained ?? (message.role == .assistant))
  }

  mutating func append(_ other: RowConversation) {
    messages += other.messages
    isTrained += other.isTrained
    inlinePictures += other.inlinePictures
    if tools.isEmpty { tools = other.tools }
    hasToolTurns = hasToolTurns || other.hasToolTurns
    lostOpeningAnswer = lostOpeningAnswer || other.lostOpeningAnswer
  }

  mutating func insertSystem(_ content: String) {
    messages.insert(ChatMessage(role: .system, content: content), at: 0)
    isTrained.insert(false, at: 0)
  }

  /// Leaves out an answer before the first question, as FastChat does: it answers nothing.
  mutating func removeOpeningAnswer() {
    let first = hasOwnSystem ? 1 : 0
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

  /// Leaves out questions and results of tools after the last answer: there is nothing to learn from them.
  mutating func removeOpenQuestions() {
    while let last = messages.last, last.role == .user || last.role == .tool {
      messages.removeLast()
      isTrained.removeLast()
    }
  }

  /// Checks the order: perhaps a system message, then user and assistant in turn. Results of tools follow an answer that
  /// calls them, and an answer follows them.
  func checkTurns() throws(RowProblem) {
    let first = hasOwnSystem ? 1 : 0
    if messages.contains(where: { $0.role == .tool || $0.callsTools }) { return try checkToolTurns(from: first) }
    for (index, message) in messages.enumerated().dropFirst(first) {
      let expected: ChatMessage.Role = (index - first) % 2 == 0 ? .user : .assistant
      guard message.role == expected else {
        throw RowProblem(
          "message \(index + 1) is of the \(message.role.rawValue), the \(expected.rawValue) is expected: after an "
            + "optional system message, user and assistant take turns")
      }
    }
  }

  private func checkToolTurns(from first: Int) throws(RowProblem) {
    var expected: [ChatMessage.Role] = [.user]
    for (index, message) in messages.enumerated().dropFirst(first) {
      guard expected.contains(message.role) else {
        throw RowProblem(
          "message \(index + 1) is of the \(message.role.rawValue), "
            + "\(expected.map { "the \($0.rawValue)" }.joined(separator: " or ")) is expected")
      }
      expected =
        switch message.role {
        case .user: [.assistant]
        case .tool: [.tool, .assistant]
        default: message.callsTools ? [.tool, .user] : [.user]
        }
    }
  }
}
