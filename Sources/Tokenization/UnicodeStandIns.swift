/// Characters that PCRE2 sees in place of others, so that every version of it classes all characters as `tokenizers` 0.23
/// does, whose expressions know Unicode 16: a newer character is seen as an old one of the same class and length.
///
/// Sendable: written only in `init`, and the one instance lives for the whole process.
final class UnicodeStandIns: @unchecked Sendable {
  static let shared = UnicodeStandIns()

  private let standIns: [UInt32: Unicode.Scalar]
  /// Whether one of the 64 characters whose UTF-8 differs in the last byte alone has a stand-in: [code point / 64].
  private let hasStandIn: [Bool]

  /// For each general category an old character of three bytes, and one of four.
  private static let representatives: [Unicode.GeneralCategory: (three: UInt32?, four: UInt32?)] = [
    .uppercaseLetter: (0x1E00, 0x10400), .lowercaseLetter: (0x1E01, 0x10428), .titlecaseLetter: (0x1F88, nil),
    .modifierLetter: (0x1D2C, 0x16F93), .otherLetter: (0x0905, 0x10000), .nonspacingMark: (0x0901, 0x1D167),
    .spacingMark: (0x0903, 0x1D165), .enclosingMark: (0x20DD, nil), .decimalNumber: (0x0966, 0x104A0),
    .letterNumber: (0x2160, 0x10140), .otherNumber: (0x2460, 0x10107), .connectorPunctuation: (0x203F, nil),
    .dashPunctuation: (0x2010, 0x10EAD), .openPunctuation: (0x2045, nil), .closePunctuation: (0x2046, nil),
    .initialPunctuation: (0x2018, nil), .finalPunctuation: (0x2019, nil), .otherPunctuation: (0x2020, 0x10100),
    .mathSymbol: (0x2200, 0x1D6C1), .currencySymbol: (0x20A0, 0x1E2FF), .modifierSymbol: (0x1FBD, 0x1F3FB),
    .otherSymbol: (0x2100, 0x1D000), .format: (0x200B, 0xE0001),
  ]

  private init() {
    var standIns: [UInt32: Unicode.Scalar] = [:]
    for code in UInt32(0x800)..<0x110000 {
      guard let scalar = Unicode.Scalar(code), let age = scalar.properties.age,
        // Debian's PCRE2 knows Unicode 14.
        age.major > 14 && age.major <= 16,
        let representative = Self.representatives[scalar.properties.generalCategory]
      else { continue }
      let isHan = (0x2EBF0...0x2EE5D).contains(code) || (0x31350...0x323AF).contains(code)
      let value = isHan ? 0x20000 : code < 0x10000 ? representative.three : representative.four
      standIns[code] = value.flatMap(Unicode.Scalar.init)
    }
    // The Mongolian vowel separator is a space for PCRE2; this sign has changed its category.
    standIns[0x180E] = "\u{200B}"
    standIns[0x1171E] = "\u{1D167}"
    self.standIns = standIns
    var hasStandIn = [Bool](repeating: false, count: 0x110000 / 64)
    for code in standIns.keys { hasStandIn[Int(code / 64)] = true }
    self.hasStandIn = hasStandIn
  }

  /// The character that PCRE2 is to see; nil for the character itself.
  func standIn(for scalar: Unicode.Scalar) -> Unicode.Scalar? { standIns[scalar.value] }

  /// Copies `text`, well-formed UTF-8, with stand-ins, to `copy`.
  ///
  /// - Returns: false, with `copy` untouched, where the text needs none.
  func replace(in text: UnsafeBufferPointer<UInt8>, into copy: inout [UInt8]) -> Bool {
    guard let base = text.baseAddress else { return false }
    return hasStandIn.withUnsafeBufferPointer { hasStandIn in
      var isCopied = false
      var position = 0
      while position < text.count {
        let first = base[position]
        if first < 0x80 {
          while position + 8 <= text.count,
            UnsafeRawPointer(base + position).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0
          { position += 8 }
          while position < text.count, base[position] < 0x80 { position += 1 }
        } else if first < 0xE0 {
          position += 2
        } else {
          let length = first < 0xF0 ? 3 : 4
          var block = Int(first & (length == 3 ? 0x0F : 0x07)) << 6 | Int(base[position + 1] & 0x3F)
          if length == 4 { block = block << 6 | Int(base[position + 2] & 0x3F) }
          if hasStandIn[block], let standIn = standIns[UInt32(block << 6 | Int(base[position + length - 1] & 0x3F))] {
            if !isCopied {
              copy.removeAll(keepingCapacity: true)
              copy.append(contentsOf: text)
              isCopied = true
            }
            for (offset, byte) in UTF8.encode(standIn)!.enumerated() { copy[position + offset] = byte }
          }
          position += length
        }
      }
      return isCopied
    }
  }
}
