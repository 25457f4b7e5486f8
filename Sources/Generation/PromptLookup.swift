/// Guesses how a text goes on from what followed the same three tokens the last time.
///
/// A step that reads a token and a few guesses costs little more than one that reads the token alone, and where the
/// guesses are what would have been chosen it brings several tokens; Saxena 2023, "Prompt Lookup Decoding", after Leviathan
/// et al. 2023 (arXiv 2211.17192). The choices are made as ever, from the same logits to the bit, so the text is the same.
///
/// Wrong guesses cost time, and ordinary text is full of words that went on differently the last time. So guesses begin
/// after some that would have been right.
struct PromptLookup {
  private var tokens: [Int32] = []
  /// The place after the last occurrence of three tokens.
  private var places: [SIMD4<Int32>: Int] = [:]
  /// Grows with each token that would have been guessed right, halves with each that would not.
  private var trust = 0

  var count: Int { tokens.count }

  mutating func append(_ token: Int32) {
    if let key {
      if let place = places[key] { trust = tokens[place] == token ? min(trust + 1, 6) : trust / 2 }
      places[key] = tokens.count
    }
    tokens.append(token)
  }

  /// The last three tokens.
  private var key: SIMD4<Int32>? {
    let end = tokens.count
    return end < 3 ? nil : SIMD4(tokens[end - 3], tokens[end - 2], tokens[end - 1], 0)
  }

  /// At most `most` tokens that may come next; most often none. Three are nearly free.
  func guesses(most: Int) -> ArraySlice<Int32> {
    guard trust >= 2, let key, let place = places[key] else { return [] }
    return tokens[place..<min(tokens.count, place + min(trust < 4 ? 3 : 7, max(0, most)))]
  }
}
