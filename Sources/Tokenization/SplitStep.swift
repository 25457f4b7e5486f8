import Storage

/// A step of a pre-tokenizer: how a piece of text is split before its parts are merged.
enum SplitStep: Sendable {
  /// GPT-2's pattern, by `WordScanner`.
  case gpt2
  /// The matches of a pattern.
  case pattern(SplitPattern, Behavior, isInverted: Bool)
  /// Each number character by itself, or runs of them.
  case digits(areSingle: Bool)

  /// What becomes of a match, as `tokenizer.json` calls it.
  enum Behavior: String, Sendable, CaseIterable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  var json: JSON? {
    switch self {
    case .gpt2: nil
    case .pattern(let pattern, let behavior, let isInverted):
      .object([
        .init("type", .string("Split")),
        .init("pattern", .object([.init(pattern.isLiteral ? "String" : "Regex", .string(pattern.source))])),
        .init("behavior", .string(behavior.rawValue)), .init("invert", .bool(isInverted)),
      ])
    case .digits(let areSingle):
      .object([.init("type", .string("Digits")), .init("individual_digits", .bool(areSingle))])
    }
  }
}

/// Puts the stretches of a text together as a behaviour asks: `SplitDelimiterBehavior` of `tokenizers`.
struct StretchMerger {
  private let behavior: SplitStep.Behavior
  private var waiting: Range<Int>?
  private var waitingIsMatch = false

  init(_ behavior: SplitStep.Behavior) { self.behavior = behavior }

  /// Takes the next stretch, and calls `body` with the parts that are then complete.
  @inline(__always)
  mutating func add(
    _ stretch: Range<Int>, isMatch: Bool, _ body: (Range<Int>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    switch behavior {
    case .isolated: try body(stretch)
    case .removed: if !isMatch { try body(stretch) }
    case .contiguous: try extend(with: stretch, isMatch, if: isMatch == waitingIsMatch, body)
    case .mergedWithPrevious: try extend(with: stretch, isMatch, if: isMatch && !waitingIsMatch, body)
    case .mergedWithNext: try extend(with: stretch, isMatch, if: waitingIsMatch && !isMatch, body)
    }
  }

  private mutating func extend(
    with stretch: Range<Int>, _ isMatch: Bool, if isJoined: Bool, _ body: (Range<Int>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    if let waiting, isJoined {
      self.waiting = waiting.lowerBound..<stretch.upperBound
    } else {
      if let waiting { try body(waiting) }
      waiting = stretch
    }
    waitingIsMatch = isMatch
  }

  func finish(_ body: (Range<Int>) throws(TokenizerError) -> Void) throws(TokenizerError) {
    if let waiting { try body(waiting) }
  }
}
