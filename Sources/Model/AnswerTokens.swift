/// An answer as a model has written it, token by token.
package struct AnswerTokens: Sendable, Equatable {
  /// What it chose, the token that ends the answer included.
  package var tokens: [Int32]
  /// [tokens] natural logarithm of each token's probability when it was chosen, in the model's own distribution at
  /// temperature 1.
  package var logProbabilities: [Float]
  /// Special tokens left out.
  package var text: String
  /// Whether it was cut at the most tokens rather than ended.
  package var isTruncated: Bool

  package init(
    tokens: [Int32] = [], logProbabilities: [Float] = [], text: String = "", isTruncated: Bool = false
  ) {
    self.tokens = tokens
    self.logProbabilities = logProbabilities
    self.text = text
    self.isTruncated = isTruncated
  }
}
