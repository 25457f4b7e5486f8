/// Finds added tokens in text as `AddedVocabulary::find_matches` of `tokenizers` does: the leftmost match, and the longest of
/// those that start there.
struct AddedTokenFinder {
  /// A stretch of text without added tokens, as offsets of bytes, or an added token.
  enum Part {
    case text(Range<Int>)
    case token(Int32)
  }

  private struct Match {
    let token: AddedToken
    let bytes: Range<Int>
  }

  /// The tokens that begin with each byte, longest first: [256].
  private let tokensByFirstByte: [[(token: AddedToken, bytes: [UInt8])]]
  private let canStart: [Bool]
  let isEmpty: Bool

  /// - Parameter normalizer: what the texts of the tokens, like the text in which they are found, have passed.
  init(_ tokens: [AddedToken], normalizer: TextNormalizer = TextNormalizer()) {
    var byFirstByte = [[(token: AddedToken, bytes: [UInt8])]](repeating: [], count: 256)
    for token in tokens {
      let bytes = Array(normalizer.normalized(token.content).utf8)
      byFirstByte[Int(bytes[0])].append((token, bytes))
    }
    tokensByFirstByte = byFirstByte.map { $0.sorted { $0.bytes.count > $1.bytes.count } }
    canStart = byFirstByte.map { !$0.isEmpty }
    isEmpty = tokens.isEmpty
  }

  /// Calls `body` with the parts of `text[range]` in order.
  ///
  /// - Parameter text: well-formed UTF-8; `range` begins and ends between characters.
  func forEachPart(
    of text: UnsafeBufferPointer<UInt8>, in range: Range<Int>, specialTokens: SpecialTokenHandling,
    _ body: (Part) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    let contents = specialTokens.contents
    var start = range.lowerBound
    var searched = start
    while let match = firstMatch(in: text, searched..<range.upperBound, outside: contents) {
      // A match that does not count still hides those that overlap it.
      searched = match.bytes.upperBound
      let flags = match.token.flags
      if specialTokens.areText && flags.isSpecial { continue }
      if flags.isSingleWord && touchesWord(match.bytes, text, range) { continue }
      var tokenStart = match.bytes.lowerBound
      var tokenEnd = match.bytes.upperBound
      if flags.stripsLeft { tokenStart = max(start, startOfSpaces(before: tokenStart, text, from: range.lowerBound)) }
      if flags.stripsRight { tokenEnd = endOfSpaces(after: tokenEnd, text, to: range.upperBound) }
      if start < tokenStart { try body(.text(start..<tokenStart)) }
      try body(.token(match.token.id))
      start = tokenEnd
    }
    if start < range.upperBound { try body(.text(start..<range.upperBound)) }
  }

  /// - Parameter contents: stretches, in order, of which no byte is part of a match; nothing there hides a match either.
  private func firstMatch(
    in text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, outside contents: [Range<Int>]
  ) -> Match? {
    if isEmpty { return nil }
    return canStart.withUnsafeBufferPointer { canStart in
      var position = range.lowerBound
      while position < range.upperBound {
        if canStart[Int(text[position])] {
          for (token, bytes) in tokensByFirstByte[Int(text[position])] where range.upperBound - position >= bytes.count
          {
            let match = position..<position + bytes.count
            if text[match].elementsEqual(bytes), !overlaps(match, contents) { return Match(token: token, bytes: match) }
          }
        }
        position += 1
      }
      return nil
    }
  }

  private func overlaps(_ range: Range<Int>, _ contents: [Range<Int>]) -> Bool {
    if contents.isEmpty { return false }
    var (low, high) = (0, contents.count)
    while low < high {
      let middle = (low + high) / 2
      if contents[middle].upperBound > range.lowerBound { high = middle } else { low = middle + 1 }
    }
    return low < contents.count && contents[low].lowerBound < range.upperBound
  }

  private func touchesWord(_ match: Range<Int>, _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Bool {
    match.lowerBound > range.lowerBound && isWordCharacter(UTF8Text.scalar(in: text, before: match.lowerBound))
      || match.upperBound < range.upperBound && isWordCharacter(UTF8Text.scalar(in: text, at: match.upperBound))
  }

  private func startOfSpaces(before end: Int, _ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var position = end
    while position > start {
      let scalar = UTF8Text.scalar(in: text, before: position)
      guard isSpace(scalar) else { break }
      position -= UTF8.width(scalar)
    }
    return position
  }

  private func endOfSpaces(after start: Int, _ text: UnsafeBufferPointer<UInt8>, to end: Int) -> Int {
    var position = start
    while position < end {
      let scalar = UTF8Text.scalar(in: text, at: position)
      guard isSpace(scalar) else { break }
      position += UTF8.width(scalar)
    }
    return position
  }

  /// `\s` of Rust's regular expressions: White_Space.
  private func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    UnicodeClassTable.shared.classOf(scalar.value) == UnicodeClass.space
  }

  /// `\w` of Rust's regular expressions (Unicode Technical Standard 18, annex C), which know Unicode 16 in `tokenizers` 0.23.
  private func isWordCharacter(_ scalar: Unicode.Scalar) -> Bool {
    let properties = scalar.properties
    guard let age = properties.age, age.major <= 16 else { return false }
    if properties.isAlphabetic || properties.isJoinControl { return true }
    return switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: true
    default: false
    }
  }
}
