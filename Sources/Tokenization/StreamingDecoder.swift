/// Turns tokens into text as they come, holding back bytes until their character is whole.
///
/// The pieces joined, with `finish()` at the end, equal `Tokenizer.decode` of all the tokens.
package struct StreamingDecoder {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The beginning of a character, at most three bytes, between calls.
  private var pending: [UInt8] = []

  package init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool = false) {
    self.tokenizer = tokenizer
    skipsSpecialTokens = skippingSpecialTokens
  }

  /// Adds a token and returns the characters that are now complete: often one, sometimes none or several.
  package mutating func push(_ id: Int32) -> String {
    if skipsSpecialTokens && tokenizer.isSpecial(id) { return "" }
    pending += tokenizer.bytes(of: id)
    var text: [UInt8] = []
    let read = pending.withUnsafeBufferPointer { UTF8Text.appendMended($0, to: &text, keepsTruncated: true) }
    pending.removeFirst(read)
    return String(decoding: text, as: UTF8.self)
  }

  /// What is left at the end: U+FFFD when the last character was never completed.
  package mutating func finish() -> String {
    defer { pending.removeAll() }
    return pending.isEmpty ? "" : "\u{FFFD}"
  }
}
