/// An answer as a model has written it, token by token.
package struct AnswerTokens: Sendable, Equatable {
  /// What it chose, the token that ends the answer included, and between answers what stands there of tools.
  package var tokens: [Int32]
  /// Places in `tokens` that the model did not choose: results of tools, and what the template writes around them.
  package var inserted: [Range<Int>] = []
  /// [tokens] natural logarithm of each token's probability when it was chosen, in the model's own distribution at
  /// temperature 1.
  package var logProbabilities: [Float]
  /// The last answer, special tokens left out.
  package var text: String
  /// The answers that called tools, with what the tools said.
  package var earlierText = ""
  /// Whether it was cut at the most tokens rather than ended.
  package var isTruncated: Bool

  /// Tokens that the model chose.
  package var chosenCount: Int { tokens.count - inserted.reduce(0) { $0 + $1.count } }

  package init(
    tokens: [Int32] = [], logProbabilities: [Float] = [], text: String = "", isTruncated: Bool = false
  ) {
    self.tokens = tokens
    self.logProbabilities = logProbabilities
    self.text = text
    self.isTruncated = isTruncated
  }
}
