import CPCRE2

/// A compiled split pattern. Any number of threads may search with it, each through a `SplitSearch` of its own.
///
/// Sendable: the compiled code is never changed after `init`, and PCRE2 only reads it.
final class SplitPattern: @unchecked Sendable {
  /// The pattern as `tokenizer.json` has it.
  let source: String
  /// Whether it is a text that matches itself.
  let isLiteral: Bool
  let code: OpaquePointer
  /// Whether PCRE2 has made machine code of it, which a system may forbid.
  let isNative: Bool

  /// - Throws: what the pattern has that is not supported.
  init(_ source: String, isLiteral: Bool = false) throws(SplitSyntax.Unsupported) {
    self.source = source
    self.isLiteral = isLiteral
    let text = isLiteral ? try SplitSyntax.quoted(source) : try SplitSyntax.rewritten(source)
    let context = pcre2_compile_context_create_8(nil)
    defer { pcre2_compile_context_free_8(context) }
    pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
    var error: Int32 = 0
    var offset = 0
    let options = UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_MULTILINE)
    guard let code = pcre2_compile_8(text, text.count, options, &error, &offset, context) else {
      throw SplitSyntax.Unsupported(part: Self.message(error))
    }
    var matchesNothing: UInt32 = 0
    pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_MATCHEMPTY), &matchesNothing)
    guard matchesNothing == 0 else {
      pcre2_code_free_8(code)
      throw SplitSyntax.Unsupported(part: "a match of no characters")
    }
    self.code = code
    isNative = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE)) == 0
  }

  deinit { pcre2_code_free_8(code) }

  private static func message(_ error: Int32) -> String {
    var text = [UInt8](repeating: 0, count: 256)
    let length = pcre2_get_error_message_8(error, &text, text.count)
    return String(decoding: text.prefix(Int(max(0, length))), as: UTF8.self)
  }
}

/// A pattern's matches in texts, one text after another; used by one thread at a time.
final class SplitSearch {
  let pattern: SplitPattern
  private let matchData: OpaquePointer
  private let context: OpaquePointer
  private let stack: OpaquePointer?
  private let ends: UnsafeMutablePointer<Int>
  /// The text with stand-ins, where it needs them.
  private var copy: [UInt8] = []

  /// Steps back within one match: some seconds. A pattern that needs more on a real text would do so for ever.
  private static let matchLimit: UInt32 = 50_000_000
  /// Bytes, of which the first are taken when a match needs them.
  private static let stackBytes = (least: 1 << 15, most: 1 << 26)

  init(_ pattern: SplitPattern) {
    self.pattern = pattern
    guard let matchData = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil) else {
      fatalError("no memory for a search")
    }
    self.matchData = matchData
    self.context = context
    pcre2_set_match_limit_8(context, Self.matchLimit)
    stack = pattern.isNative ? pcre2_jit_stack_create_8(Self.stackBytes.least, Self.stackBytes.most, nil) : nil
    if let stack { pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack)) }
    ends = pcre2_get_ovector_pointer_8(matchData)
  }

  deinit {
    pcre2_match_data_free_8(matchData)
    pcre2_match_context_free_8(context)
    if let stack { pcre2_jit_stack_free_8(stack) }
  }

  /// Calls `body` with the stretches of `text`, in order, each a match or what is between matches.
  ///
  /// - Parameter text: well-formed UTF-8.
  /// - Throws: `TokenizerError` where a match takes too long, and what `body` throws.
  @inline(__always)
  func forEachStretch(
    of text: UnsafeBufferPointer<UInt8>,
    _ body: (_ stretch: Range<Int>, _ isMatch: Bool) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    guard let base = text.baseAddress else { return }
    if UnicodeStandIns.shared.replace(in: text, into: &copy) {
      let copy = self.copy
      try copy.withUnsafeBufferPointer { (copy) throws(TokenizerError) in
        try search(copy.baseAddress ?? base, text.count, body)
      }
    } else {
      try search(base, text.count, body)
    }
  }

  @inline(__always)
  private func search(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ body: (Range<Int>, Bool) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    var position = 0
    while position < count {
      let found =
        pattern.isNative
        ? pcre2_jit_match_8(pattern.code, text, count, position, 0, matchData, context)
        : pcre2_match_8(pattern.code, text, count, position, UInt32(PCRE2_NO_UTF_CHECK), matchData, context)
      guard found >= 0 else {
        if found == PCRE2_ERROR_NOMATCH { break }
        throw TokenizerError(
          "the split pattern \(pattern.source.inQuotes) takes too long on a text of \(count) bytes, at byte \(position). "
            + "Leave that text out, or use a tokenizer with another pattern.")
      }
      if ends[0] > position { try body(position..<ends[0], false) }
      // `\K`, which could end a match before it begins, is refused.
      try body(ends[0]..<ends[1], true)
      position = ends[1]
    }
    if position < count { try body(position..<count, false) }
  }
}
