/// A set of tokens: a bit for each token of a vocabulary.
package struct TokenSet: Sendable, Equatable {
  /// Token t is bit t mod 64 of word t / 64.
  package private(set) var words: [UInt64]

  /// The empty set.
  package init(vocabularySize: Int) { words = [UInt64](repeating: 0, count: (vocabularySize + 63) / 64) }

  /// The set of all tokens.
  static func all(vocabularySize: Int) -> TokenSet {
    var set = TokenSet(vocabularySize: 0)
    set.words = [UInt64](repeating: .max, count: (vocabularySize + 63) / 64)
    return set
  }

  package func contains(_ token: Int32) -> Bool {
    let word = Int(token) >> 6
    return token >= 0 && word < words.count && words[word] >> UInt64(token & 63) & 1 == 1
  }

  /// - Precondition: the token is in the vocabulary.
  package mutating func insert(_ token: Int32) { words[Int(token) >> 6] |= 1 << UInt64(token & 63) }

  /// - Precondition: the token is in the vocabulary.
  mutating func remove(_ token: Int32) { words[Int(token) >> 6] &= ~(1 << UInt64(token & 63)) }

  /// Adds the tokens of a set over the same vocabulary.
  package mutating func formUnion(_ other: TokenSet) {
    for (index, word) in other.words.enumerated() { words[index] |= word }
  }

  /// Calls `body` with each token, from the lowest.
  package func forEach(_ body: (Int32) -> Void) {
    for (index, word) in words.enumerated() {
      var rest = word
      while rest != 0 {
        body(Int32(index * 64 + rest.trailingZeroBitCount))
        rest &= rest - 1
      }
    }
  }

  /// The lowest token in the set.
  package var first: Int32? {
    for (index, word) in words.enumerated() where word != 0 { return Int32(index * 64 + word.trailingZeroBitCount) }
    return nil
  }
}

/// Where the probability of the end tokens goes while a text may not end.
package struct TextEnding: Sendable, Equatable {
  /// The tokens with which the model ends a text; none of them is allowed here.
  package var endTokens: TokenSet
  /// The allowed tokens with which a shortest valid rest of the text begins, at least one.
  package var closingTokens: TokenSet

  package init(endTokens: TokenSet, closingTokens: TokenSet) {
    self.endTokens = endTokens
    self.closingTokens = closingTokens
  }
}

/// What a generated text may be: it gives the tokens that may come next, and advances by the one that came.
///
/// A value: copies are independent, so one constraint serves several choices, and a draft can be tried on a copy.
package protocol TokenConstraint: Sendable {
  /// The tokens that may come next, never none. The model's end tokens are among them where the text may end.
  mutating func allowedTokens() -> TokenSet

  /// How to end the text soonest where it may not end yet; nil where it may, or where no way is known.
  mutating func ending() -> TextEnding?

  /// Continues after a token that was allowed.
  mutating func accept(_ token: Int32)
}

extension TokenConstraint {
  package mutating func ending() -> TextEnding? { nil }
}
