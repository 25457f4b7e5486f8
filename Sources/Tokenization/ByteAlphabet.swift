/// GPT-2's way to write any byte as one visible character, so that tokens can be written in JSON.
///
/// Printable Latin-1 bytes stand for themselves; the other 68 become U+0100, U+0101, … in ascending order.
/// Source: `bytes_to_unicode` in github.com/openai/gpt-2, src/encoder.py.
enum ByteAlphabet {
  /// The character of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0...255).map { (byte: UInt32) in
      if isVisible(byte) { return Unicode.Scalar(UInt8(byte)) }
      defer { next += 1 }
      return Unicode.Scalar(next)!
    }
  }()

  /// The byte of each character below U+0144, -1 where there is none.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  /// All bytes in the order of their characters: the order in which Hugging Face's trainer numbers them.
  static let bytesInVocabularyOrder: [UInt8] = (0...255).sorted { scalars[Int($0)] < scalars[Int($1)] }

  private static func isVisible(_ byte: UInt32) -> Bool {
    (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
  }

  /// The bytes that `token` spells, or nil when a character is not in the alphabet.
  static func bytes(of token: String) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(token.utf8.count)
    for scalar in token.unicodeScalars {
      guard scalar.value < bytes.count, bytes[Int(scalar.value)] >= 0 else { return nil }
      result.append(UInt8(bytes[Int(scalar.value)]))
    }
    return result
  }

  /// The byte that `<0x4A>` stands for, SentencePiece's way to write a byte of a character that has no token.
  ///
  /// - Parameter anyCase: whether `<0x4a>` is one, too.
  static func byte(ofFallback token: String, anyCase: Bool = false) -> UInt8? {
    let text = Array(token.utf8)
    guard text.count == 6, text.starts(with: [0x3C, 0x30, 0x78]), text[5] == 0x3E else { return nil }
    var value: UInt8 = 0
    for digit in text[3..<5] {
      switch digit {
      case 0x30...0x39: value = value << 4 | (digit - 0x30)
      case 0x41...0x46: value = value << 4 | (digit - 0x41 + 10)
      case 0x61...0x66 where anyCase: value = value << 4 | (digit - 0x61 + 10)
      default: return nil
      }
    }
    return value
  }

  /// The characters that spell `bytes`.
  static func spelling(of bytes: some Sequence<UInt8>) -> String {
    var result = String.UnicodeScalarView()
    for byte in bytes { result.append(scalars[Int(byte)]) }
    return String(result)
  }
}
