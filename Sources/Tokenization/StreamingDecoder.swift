/// Turns tokens into text as they come, holding back bytes until their character is whole.
///
/// The pieces joined, with `finish()` at the end, equal `Tokenizer.decode` of all the tokens.
package struct StreamingDecoder {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// The beginning of a character, at most three bytes, between calls. Where tokens spell characters: the bytes of tokens
  /// that stand for bytes, all since the last other token, since `tokenizers` reads them as a whole or not at all.
  private var pending: [UInt8] = []
  /// Where tokens spell characters: whether no token came yet, and how much of the text's beginning may still be removed.
  private var isFirst = true
  private var strips: Int

  package init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool = false) {
    self.tokenizer = tokenizer
    skipsSpecialTokens = skippingSpecialTokens
    strips =
      if case .characters(let decoding) = tokenizer.model.pipeline.decoding { decoding.strip?.count ?? 0 } else { 0 }
  }

  /// Adds a token and returns the characters that are now complete: often one, sometimes none or several.
  package mutating func push(_ id: Int32) -> String {
    if skipsSpecialTokens && tokenizer.isSpecial(id) { return "" }
    if case .characters(let decoding) = tokenizer.model.pipeline.decoding { return push(id, decoding) }
    pending += tokenizer.bytes(of: id)
    var text: [UInt8] = []
    let read = pending.withUnsafeBufferPointer { UTF8Text.appendMended($0, to: &text, keepsTruncated: true) }
    pending.removeFirst(read)
    return String(decoding: text, as: UTF8.self)
  }

  private mutating func push(_ id: Int32, _ decoding: TokenDecoding.Characters) -> String {
    guard let token = tokenizer.model.decodedSpelling(of: id) else { return "" }
    defer { isFirst = false }
    if let byte = decoding.byte(of: token) {
      pending.append(byte)
      return ""
    }
    let text =
      isFirst && decoding.metaspace != nil ? decoding.text(of: token, isFirst: true) : tokenizer.bytes(of: id)
    return stripped(takePending() + text, decoding)
  }

  /// What is left at the end: U+FFFD when the last character was never completed.
  package mutating func finish() -> String {
    if case .characters(let decoding) = tokenizer.model.pipeline.decoding { return stripped(takePending(), decoding) }
    defer { pending.removeAll() }
    return pending.isEmpty ? "" : "\u{FFFD}"
  }

  /// The text of the tokens that stand for bytes: U+FFFD for each where they are no text.
  private mutating func takePending() -> [UInt8] {
    defer { pending.removeAll() }
    return pending.withUnsafeBufferPointer(UTF8Text.isWellFormed)
      ? pending : pending.flatMap { _ in Array("\u{FFFD}".utf8) }
  }

  private mutating func stripped(_ text: [UInt8], _ decoding: TokenDecoding.Characters) -> String {
    var text = text[...]
    if strips > 0, let strip = decoding.strip, !text.isEmpty {
      let content = Array(String(strip.content).utf8)
      while strips > 0, text.starts(with: content) {
        text.removeFirst(content.count)
        strips -= 1
      }
      if !text.isEmpty { strips = 0 }
    }
    return String(decoding: text, as: UTF8.self)
  }
}
