/// Splits text by the steps of a pre-tokenizer; used by one thread at a time.
final class TextSplitter {
  private let steps: [SplitStep]
  private let searches: [SplitSearch?]
  private let scanner = WordScanner()

  init(_ steps: [SplitStep]) {
    self.steps = steps
    searches = steps.map { step in
      if case .pattern(let pattern, _, _) = step { SplitSearch(pattern) } else { nil }
    }
  }

  /// Calls `body` with the words of `text[range]` in order.
  ///
  /// - Parameter text: well-formed UTF-8; `range` begins and ends between characters.
  /// - Throws: `TokenizerError` where a pattern takes too long, and what `body` throws.
  @inline(__always)
  func forEachWord(
    of text: UnsafeBufferPointer<UInt8>, in range: Range<Int>,
    _ body: (_ word: Range<Int>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    if steps.count == 1, let search = searches[0], case .pattern(_, .isolated, _) = steps[0] {
      // The usual case: one pattern, whose matches and what is between them are the words.
      try search.forEachStretch(of: UnsafeBufferPointer(rebasing: text[range])) { (stretch, _) throws(TokenizerError) in
        try body(range.lowerBound + stretch.lowerBound..<range.lowerBound + stretch.upperBound)
      }
    } else {
      try split(text, range, step: 0, body)
    }
  }

  private func split(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, step: Int,
    _ body: (Range<Int>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    if range.isEmpty { return }
    guard step < steps.count else { return try body(range) }
    func splitFurther(_ part: Range<Int>) throws(TokenizerError) {
      try split(
        text, range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound, step: step + 1, body)
    }
    let piece = UnsafeBufferPointer(rebasing: text[range])
    switch steps[step] {
    case .gpt2:
      guard let base = piece.baseAddress else { return }
      var position = 0
      while position < piece.count {
        let end = scanner.endOfWord(base, from: position, to: piece.count)
        try splitFurther(position..<end)
        position = end
      }
    case .pattern(_, let behavior, let isInverted):
      guard let search = searches[step] else { return }
      var merger = StretchMerger(behavior)
      try search.forEachStretch(of: piece) { (stretch, isMatch) throws(TokenizerError) in
        try merger.add(stretch, isMatch: isMatch != isInverted, splitFurther)
      }
      try merger.finish(splitFurther)
    case .digits(let areSingle):
      var merger = StretchMerger(areSingle ? .isolated : .contiguous)
      try Self.forEachNumberStretch(of: piece) { (stretch, isMatch) throws(TokenizerError) in
        try merger.add(stretch, isMatch: isMatch, splitFurther)
      }
      try merger.finish(splitFurther)
    }
  }

  private static func forEachNumberStretch(
    of text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>, Bool) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    var position = 0
    var start = 0
    while position < text.count {
      let scalar = UTF8Text.scalar(in: text, at: position)
      let end = position + UTF8.width(scalar)
      if isNumber(scalar.value) {
        if start < position { try body(start..<position, false) }
        try body(position..<end, true)
        start = end
      }
      position = end
    }
    if start < position { try body(start..<position, false) }
  }

  /// `char::is_numeric` of Rust: with the numbers of Unicode 17, which the regular expressions do not know yet.
  private static func isNumber(_ code: UInt32) -> Bool {
    UnicodeClassTable.shared.classOf(code) == UnicodeClass.number || (0x11DE0...0x11DE9).contains(code)
      || (0x16FF4...0x16FF6).contains(code)
  }
}
