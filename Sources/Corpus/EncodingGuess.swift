/// Judges by the first bytes of a file what encoding it is in.
///
/// UTF-8 has a form of its own. Those of East Asia are recognised by what is common in their texts: hiragana and katakana;
/// hangul; the characters that GB 2312 and Big5 list first, as the most frequent ones. What fits none of them well is not guessed.
struct EncodingGuess {
  let isASCII: Bool
  /// Whether it is UTF-8, perhaps with lines that are damaged.
  let isUTF8: Bool
  /// The encoding where it is not UTF-8 and is recognised.
  let encoding: TextEncoding?

  init(_ head: UnsafeRawBufferPointer, isWhole: Bool) {
    isASCII = head.allSatisfy { $0 < 0x80 }
    // The last line may have been cut in a character.
    let lines = head.split(separator: .newline, omittingEmptySubsequences: true)
    let whole = isWhole || head.last == .newline ? lines[...] : lines.count > 1 ? lines.dropLast() : lines[...]
    var damaged = 0
    var good = 0
    for line in whole where line.contains(where: { $0 >= 0x80 }) {
      let bytes = UnsafeRawBufferPointer(rebasing: line)
      let isCut = whole.count == lines.count && !isWhole && line.endIndex == head.count
      if isValidUTF8(isCut ? Self.withoutCutCharacter(bytes) : bytes) { good += 1 } else { damaged += 1 }
    }
    let ascii = whole.count - good - damaged
    let guess = damaged == 0 || good > 0 && damaged <= good ? nil : Self.eastAsian(head)
    // A few damaged lines in a file of UTF-8, or of ASCII, are damage and no other encoding.
    isUTF8 = guess == nil && (damaged <= good || damaged <= ascii)
    encoding = guess
  }

  private static func withoutCutCharacter(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    for count in 1...3 where bytes.count >= count && bytes[bytes.count - count] >= 0xC0 {
      return UnsafeRawBufferPointer(rebasing: bytes.dropLast(count))
    }
    return bytes
  }

  /// UTF-16 without a byte order mark: every other byte of text with ASCII in it is zero.
  static func wideEncoding(_ head: UnsafeRawBufferPointer) -> TextEncoding? {
    guard head.count >= 4 else { return nil }
    var zeros = (even: 0, odd: 0)
    for (index, byte) in head.enumerated() where byte == 0 {
      if index % 2 == 0 { zeros.even += 1 } else { zeros.odd += 1 }
    }
    let half = head.count / 2
    if zeros.odd * 5 > half && zeros.even * 20 < half { return TextEncoding("UTF-16LE") }
    if zeros.even * 5 > half && zeros.odd * 20 < half { return TextEncoding("UTF-16BE") }
    return nil
  }

  private static func eastAsian(_ head: UnsafeRawBufferPointer) -> TextEncoding? {
    let pairs = (
      euc: Pairs(head, lead: 0xA1...0xFE) { $0 >= 0xA1 }, big5: Pairs(head, lead: 0xA1...0xF9) { $0 >= 0x40 }
    )
    // Shift_JIS has kana in rows 0x82 and 0x83, EUC-JP in 0xA4 and 0xA5.
    guard head.count(where: { $0 >= 0x80 }) >= 8 else { return nil }
    let shiftJIS = Pairs(head, lead: 0x81...0x9F) { $0 >= 0x40 && $0 != 0x7F }
    if shiftJIS.share(of: [0x82...0x83]) > 0.3 && shiftJIS.coverage > 0.7 { return TextEncoding("SHIFT_JIS") }
    if pairs.euc.coverage > 0.9 {
      if pairs.euc.share(of: [0xA4...0xA5]) > 0.3 { return TextEncoding("EUC-JP") }
      // The commonest Chinese characters are spread over 0xB0 to 0xD7, the hangul are all in 0xB0 to 0xC8.
      let common = pairs.euc.share(of: [0xB0...0xD7])
      if common > 0.5 && pairs.euc.share(of: [0xC9...0xD7]) > 0.15 * common { return TextEncoding("GB18030") }
      if pairs.euc.share(of: [0xB0...0xC8]) > 0.8 { return TextEncoding("EUC-KR") }
    }
    if pairs.big5.coverage > 0.9 && pairs.big5.share(of: [0xA4...0xC6]) > 0.6 && pairs.big5.lowTrails > 0.2 {
      return TextEncoding("BIG5")
    }
    // Characters beyond GB 2312 among common ones, as in names.
    let gbk = Pairs(head, lead: 0x81...0xFE) { $0 >= 0x30 && $0 != 0x7F }
    return gbk.coverage > 0.95 && gbk.share(of: [0xB0...0xD7]) > 0.5 && gbk.lowTrails < 0.2
      && gbk.share(of: [0xC9...0xD7]) > 0.1 ? TextEncoding("GB18030") : nil
  }

  /// The pairs of bytes that begin with one beyond ASCII.
  private struct Pairs {
    private var leads = [Int](repeating: 0, count: 256)
    private var count = 0
    /// Bytes beyond ASCII that are in no pair.
    private var strays = 0
    private var low = 0

    init(_ bytes: UnsafeRawBufferPointer, lead: ClosedRange<UInt8>, _ isTrail: (UInt8) -> Bool) {
      var position = 0
      while position < bytes.count {
        let byte = bytes[position]
        position += 1
        guard byte >= 0x80 else { continue }
        if lead.contains(byte), position < bytes.count, isTrail(bytes[position]) {
          leads[Int(byte)] += 1
          count += 1
          if bytes[position] < 0xA1 { low += 1 }
          position += 1
        } else {
          strays += 1
        }
      }
    }

    /// The share of the bytes beyond ASCII that are in pairs.
    var coverage: Double { Double(2 * count) / Double(max(1, 2 * count + strays)) }
    /// The share of the pairs whose second byte is below 0xA1.
    var lowTrails: Double { Double(low) / Double(max(1, count)) }

    /// The share of the pairs whose first byte is in these ranges.
    func share(of ranges: [ClosedRange<UInt8>]) -> Double {
      let found = ranges.reduce(0) { sum, range in
        sum + leads[Int(range.lowerBound)...Int(range.upperBound)].reduce(0, +)
      }
      return Double(found) / Double(max(1, count))
    }
  }
}
