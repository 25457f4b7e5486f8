/// Rewrites what Python's `json` reads and the JSON standard, or simdjson, does not: `NaN`, `Infinity` and `-Infinity` become
/// null, numbers beyond 64 bits one that a double holds, and half characters (lone surrogates) U+FFFD. A row is not lost for a
/// score that nothing reads.
struct JSONRepair {
  private(set) var bytes: [UInt8] = []
  private(set) var hasLoneSurrogate = false

  private let text: UnsafeRawBufferPointer
  private var position = 0
  private var isChanged = false

  /// - Returns: nil where there is nothing of this kind in `text`.
  init?(_ text: UnsafeRawBufferPointer) {
    self.text = text
    bytes.reserveCapacity(text.count)
    while position < text.count {
      switch text[position] {
      case .quote: copyString()
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "N"), UInt8(ascii: "I"): copyNumber()
      default: copy(1)
      }
    }
    guard isChanged else { return nil }
  }

  private mutating func copy(_ count: Int) {
    let end = min(position + count, text.count)
    bytes.append(contentsOf: text[position..<end])
    position = end
  }

  private mutating func replace(_ count: Int, with other: String) {
    bytes.append(contentsOf: other.utf8)
    position += count
    isChanged = true
  }

  private mutating func copyNumber() {
    for word in ["NaN", "Infinity", "-Infinity"] where text[position...].starts(with: word.utf8) {
      return replace(word.utf8.count, with: "null")
    }
    let token = text[position...].prefix { byte in
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "+-.eE".utf8.contains(byte)
    }
    guard !token.isEmpty else { return copy(1) }
    let digits = token.drop { $0 == UInt8(ascii: "-") }
    // A number that no JSON has, such as 007, stays as it is and is refused.
    let isPadded =
      digits.count > 1 && digits.first == UInt8(ascii: "0") && digits.allSatisfy { $0 >= UInt8(ascii: "0") }
    let isInteger = digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    let isTooLarge =
      isInteger ? digits.count > 18 : Double(String(decoding: token, as: UTF8.self)).map { !$0.isFinite } ?? false
    guard isTooLarge && !isPadded else { return copy(token.count) }
    replace(token.count, with: token.count > digits.count ? "-9e99" : "9e99")
  }

  private mutating func copyString() {
    copy(1)
    while position < text.count {
      switch text[position] {
      case .quote: return copy(1)
      case UInt8(ascii: "\\"): copyEscape()
      default: copy(text[position...].prefix { $0 != .quote && $0 != UInt8(ascii: "\\") }.count)
      }
    }
  }

  private mutating func copyEscape() {
    guard let unit = codeUnit(at: position), (0xD800...0xDFFF).contains(unit) else { return copy(2) }
    if unit < 0xDC00, let second = codeUnit(at: position + 6), (0xDC00...0xDFFF).contains(second) { return copy(12) }
    hasLoneSurrogate = true
    replace(6, with: "\\ufffd")
  }

  /// The UTF-16 code unit of an escape `\uXXXX`.
  private func codeUnit(at start: Int) -> UInt32? {
    guard start + 6 <= text.count, text[start...].starts(with: "\\u".utf8) else { return nil }
    return UInt32(String(decoding: text[start + 2..<start + 6], as: UTF8.self), radix: 16)
  }
}
