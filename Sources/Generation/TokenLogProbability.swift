import VectorMath

/// How likely the model found a token, and which it found most likely: natural logarithms of its own distribution, at
/// temperature 1 and before bias, penalties and constraints.
package struct TokenLogProbability: Sendable, Equatable {
  package struct Entry: Sendable, Equatable {
    package var token: Int32
    package var logProbability: Float
  }

  package var token: Int32
  package var logProbability: Float
  /// The most likely tokens, most likely first (of equals the lower id first); as many as were asked for.
  package var top: [Entry]

  /// - Parameters:
  ///   - token: in the vocabulary.
  ///   - logits: of the place where the token stands, [vocabulary].
  ///   - count: how many of the most likely tokens to name.
  ///   - vocabularySize: tokens from here on are not named: the tokenizer does not have them.
  package init(_ token: Int32, logits: Span<Float>, top count: Int, vocabularySize: Int) {
    let logSum = logSumExponential(logits)
    self.token = token
    logProbability = logits[Int(token)] - logSum
    top = []
    let named = logits.extracting(first: min(vocabularySize, logits.count))
    let count = min(count, named.count)
    guard count > 0 else { return }
    let least = largest(rank: count, of: named)
    for token in named.indices where named[token] >= least {
      top.append(Entry(token: Int32(token), logProbability: named[token] - logSum))
    }
    top.sort { ($0.logProbability, $1.token) > ($1.logProbability, $0.token) }
    top.removeLast(top.count - min(top.count, count))
  }
}
