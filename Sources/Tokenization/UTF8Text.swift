/// Finding and mending ill-formed UTF-8.
///
/// Text reaches the tokenizer as bytes. Each *maximal subpart* of an ill-formed sequence (Unicode standard,
/// section 3.9, "U+FFFD Substitution of Maximal Subparts") is read as one U+FFFD, exactly as Python's
/// `bytes.decode(errors="replace")` and Rust's `from_utf8_lossy` do.
enum UTF8Text {
  enum Sequence {
    /// A character of that many bytes.
    case character(Int)
    /// That many bytes, at least one, that can begin no character.
    case illFormed(Int)
    /// The text ends inside a character that is well formed so far.
    case truncated(Int)
  }

  /// What starts at `position`, which must be below `end`.
  @inline(__always)
  static func sequence(_ text: UnsafePointer<UInt8>, at position: Int, to end: Int) -> Sequence {
    let first = text[position]
    if first < 0x80 { return .character(1) }
    let length: Int
    // The second byte is what excludes overlong forms, surrogates and code points past U+10FFFF.
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch first {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    case 0xF1...0xF3: length = 4
    default: return .illFormed(1)
    }
    for i in 1..<length {
      if position + i == end { return .truncated(i) }
      let byte = text[position + i]
      guard i == 1 ? second.contains(byte) : byte & 0xC0 == 0x80 else { return .illFormed(i) }
    }
    return .character(length)
  }

  /// The character at `position`, where one must begin in well-formed text.
  static func scalar(in text: UnsafeBufferPointer<UInt8>, at position: Int) -> Unicode.Scalar {
    let first = UInt32(text[position])
    let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    var value = length == 1 ? first : first & (0x7F >> UInt32(length))
    for i in 1..<max(1, length) { value = value << 6 | UInt32(text[position + i] & 0x3F) }
    return Unicode.Scalar(value) ?? "\u{FFFD}"
  }

  /// The character that ends before `end`, in well-formed text; `end` is above 0.
  static func scalar(in text: UnsafeBufferPointer<UInt8>, before end: Int) -> Unicode.Scalar {
    var start = end - 1
    while text[start] & 0xC0 == 0x80 { start -= 1 }
    return scalar(in: text, at: start)
  }

  /// Whether all of `text` is well formed.
  static func isWellFormed(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let base = text.baseAddress else { return true }
    var position = 0
    let end = text.count
    while position < end {
      if base[position] < 0x80 {
        // Eight ASCII bytes at a time.
        while position + 8 <= end,
          UnsafeRawPointer(base + position).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0
        { position += 8 }
        while position < end, base[position] < 0x80 { position += 1 }
        continue
      }
      guard case .character(let length) = sequence(base, at: position, to: end) else { return false }
      position += length
    }
    return true
  }

  /// Appends `text` to `output` with each ill-formed part replaced by U+FFFD.
  ///
  /// - Returns: how many bytes were read: all of them, or fewer when `keepsTruncated` is true and the text
  ///   ends inside a character.
  @discardableResult
  static func appendMended(
    _ text: UnsafeBufferPointer<UInt8>, to output: inout [UInt8], keepsTruncated: Bool = false
  ) -> Int {
    guard let base = text.baseAddress else { return 0 }
    var position = 0
    while position < text.count {
      switch sequence(base, at: position, to: text.count) {
      case .character(let length):
        output.append(contentsOf: UnsafeBufferPointer(start: base + position, count: length))
        position += length
      case .truncated(let length):
        if keepsTruncated { return position }
        output.append(contentsOf: [0xEF, 0xBF, 0xBD])
        position += length
      case .illFormed(let length):
        output.append(contentsOf: [0xEF, 0xBF, 0xBD])
        position += length
      }
    }
    return position
  }
}
