// The standard library's own normalization, which it does not publish yet; Foundation's, on Linux, is wrong beyond U+FFFF.
@_spi(_Unicode) import Swift

/// Normalization form C, as `tokenizers` 0.23 makes it, which knows Unicode 9: newer characters are left as they are, and
/// nothing is composed or reordered across them.
enum CanonicalComposition {
  /// `text`, well-formed UTF-8, composed; nil where it is so already.
  static func composed(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let first = firstInQuestion(text) else { return nil }
    // It may compose with the character before it, which does not with any before that: `firstInQuestion` passed it.
    var start = first
    if start > 0 { repeat { start -= 1 } while text[start] & 0xC0 == 0x80 }
    var result = Array(text[..<start])
    var known = String.UnicodeScalarView()
    func flush() {
      for scalar in String(known)._nfc { result.append(contentsOf: UTF8.encode(scalar)!) }
      known = String.UnicodeScalarView()
    }
    for scalar in String(decoding: UnsafeBufferPointer(rebasing: text[start...]), as: UTF8.self).unicodeScalars {
      if !isKnown(scalar) {
        flush()
        result.append(contentsOf: UTF8.encode(scalar)!)
      } else if let marks = tibetanVowels[scalar] {
        known.append(contentsOf: marks)
      } else {
        known.append(scalar)
      }
    }
    flush()
    return result
  }

  /// Vowels that are two marks each, which the standard library takes for letters when it puts marks in order.
  private static let tibetanVowels: [Unicode.Scalar: [Unicode.Scalar]] = [
    "\u{F73}": ["\u{F71}", "\u{F72}"], "\u{F75}": ["\u{F71}", "\u{F74}"], "\u{F81}": ["\u{F71}", "\u{F80}"],
  ]

  /// Unassigned characters count as known: no normalization touches them.
  private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x7FD || scalar.properties.age.map { $0.major <= 9 } ?? true
  }

  /// Where the first character is that composing may change, move or join to the one before it.
  private static func firstInQuestion(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
    var position = 0
    while position < text.count {
      let first = text[position]
      if first < 0x80 {
        position += 1
      } else if first < 0xE0 {
        guard isSettled(first, text[position + 1]) else { return position }
        position += 2
      } else if first < 0xF0 {
        guard isSettled(first, text[position + 1], text[position + 2]) else { return position }
        position += 3
      } else {
        // U+1F000 to U+1FFFF, symbols.
        guard first == 0xF0 && text[position + 1] == 0x9F else { return position }
        position += 4
      }
    }
    return nil
  }

  /// Of two bytes: Latin, Greek and Cyrillic without marks and without the ano teleia.
  private static func isSettled(_ first: UInt8, _ second: UInt8) -> Bool {
    switch first {
    case 0xCE: second != 0x87
    case 0xD2: !(0x83...0x87).contains(second)
    default: first < 0xCC || (0xCF...0xD5).contains(first)
    }
  }

  /// Of three bytes: Latin with two marks, punctuation and symbols, CJK, Hangul in syllables, kana without sound marks of
  /// their own, full-width forms.
  private static func isSettled(_ first: UInt8, _ second: UInt8, _ third: UInt8) -> Bool {
    switch first {
    case 0xE1: second == 0xBA || second == 0xBB
    case 0xE2:
      second == 0x80
        ? third >= 0x82
        : [0x81, 0x82].contains(second) || (0x85...0x8B).contains(second) || (0x8D...0xAA).contains(second)
    case 0xE3: !(second == 0x80 && (0xAA...0xAF).contains(third)) && !(second == 0x82 && (0x99...0x9A).contains(third))
    case 0xE4...0xE9: true
    case 0xEA: second >= 0xB0
    case 0xEB...0xED: true
    case 0xEF: second >= 0xBC
    default: false
    }
  }
}
