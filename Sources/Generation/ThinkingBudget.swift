import Tokenization

/// The most tokens of the reasoning before an answer, and how it is ended when they are spent.
package struct ThinkingBudget: Sendable, Equatable {
  /// Tokens between `<think>` and `</think>`.
  package let maximumTokens: Int
  /// Whether the prompt has begun the reasoning; otherwise the answer may begin with `<think>`.
  package let isOpen: Bool
  /// `</think>` and an empty line, as templates write them, after a whole line and within one.
  fileprivate let afterLine: [Int32]
  fileprivate let withinLine: [Int32]

  /// - Throws: `TokenizerError` when the tokenizer cannot write the tag.
  package init(
    maximumTokens: Int, isOpen: Bool, _ tokenizer: Tokenizer
  ) throws(TokenizerError) {
    precondition(maximumTokens >= 0, "a budget of \(maximumTokens) tokens")
    self.maximumTokens = maximumTokens
    self.isOpen = isOpen
    afterLine = try tokenizer.encode("</think>\n\n")
    withinLine = try tokenizer.encode("\n</think>\n\n")
  }

  /// Whether a text that is continued ends within reasoning.
  package static func isOpen(atEndOf text: String) -> Bool {
    guard let opening = text.ranges(of: "<think>").last else { return false }
    return !text[opening.upperBound...].contains("</think>")
  }
}

/// Follows the text of an answer, and says which tokens must come when the reasoning has used up its budget.
struct ThinkingLimit {
  private let budget: ThinkingBudget
  private var splitter: ReasoningSplitter
  private var used = 0
  /// Whether the text so far ends with a line break: the prompt does, after `<think>`.
  private var endsLine = true
  private var forced: ArraySlice<Int32> = []
  private var isOver = false

  init(_ budget: ThinkingBudget) {
    self.budget = budget
    splitter = ReasoningSplitter(isOpen: budget.isOpen)
    close()
  }

  /// The token that must come next; nil where any may.
  var next: Int32? { forced.first }

  /// Leaves the reasoning as it is from here on: what the answer must be has no place for its end.
  mutating func giveUp() {
    forced = []
    isOver = true
  }

  /// - Parameter text: that the token has completed.
  mutating func receive(_ text: String) {
    guard !isOver || !forced.isEmpty else { return }
    forced = forced.dropFirst()
    guard !isOver else { return }
    let wasReasoning = splitter.isReasoning
    _ = splitter.push(text)
    if wasReasoning { used += 1 }
    if let last = text.last { endsLine = last.isNewline }
    close()
  }

  /// Ends the reasoning if its tokens are spent.
  private mutating func close() {
    guard splitter.isReasoning, used >= budget.maximumTokens else { return }
    isOver = true
    forced = (endsLine ? budget.afterLine : budget.withinLine)[...]
  }
}
