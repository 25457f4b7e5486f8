import CDecoding

/// A character encoding that the C library's iconv converts to UTF-8.
package struct TextEncoding: Sendable, Equatable, Codable, CustomStringConvertible {
  package static let utf8 = TextEncoding(known: "UTF-8")

  /// As people call it.
  package let description: String

  private init(known name: String) { description = name }

  /// - Returns: nil for an encoding that the C library does not know.
  package init?(_ name: String) {
    let upper = name.uppercased()
    guard !["UTF-8", "UTF8", "ASCII", "US-ASCII"].contains(upper) else {
      self = .utf8
      return
    }
    self.init(known: upper)
    guard !name.isEmpty, !name.contains("/"), let decoder = minimind_decoder_text(iconvName) else { return nil }
    minimind_decoder_free(decoder)
  }

  package var isUTF8: Bool { self == .utf8 }

  /// The superset of an encoding that files labelled with its name really use, as in browsers (WHATWG's Encoding Standard).
  var iconvName: String {
    switch description {
    case "GBK", "GB2312", "GB18030", "CP936", "EUC-CN": "GB18030"
    case "SHIFT_JIS", "SHIFT-JIS", "SJIS", "CP932", "WINDOWS-31J": "CP932"
    case "EUC-KR", "CP949", "UHC": "CP949"
    case "BIG5", "BIG-5", "CP950": "BIG5-HKSCS"
    case "LATIN1", "LATIN-1", "ISO-8859-1", "CP1252", "WINDOWS-1252": "CP1252"
    default: description
    }
  }

  /// Whether a text of ASCII characters has the same bytes in it.
  private var extendsASCII: Bool {
    !["UTF-16", "UTF16", "UTF-32", "UTF32", "UCS-", "UNICODE"].contains { description.hasPrefix($0) }
  }

  /// What a file is in that begins with `head`.
  ///
  /// A file whose beginning is UTF-8, beyond ASCII, is UTF-8 whatever is asked for: hardly any text of another encoding is valid
  /// UTF-8, and in a directory of many files some are.
  ///
  /// - Parameters:
  ///   - wanted: the encoding asked for; nil to judge by the bytes.
  ///   - isWhole: whether `head` is all of the file.
  /// - Returns: nil where that is not clear.
  static func of(_ head: UnsafeRawBufferPointer, wanted: TextEncoding?, isWhole: Bool) -> TextEncoding? {
    if head.starts(with: [0xEF, 0xBB, 0xBF]) { return .utf8 }
    if head.starts(with: [0xFF, 0xFE, 0, 0]) || head.starts(with: [0, 0, 0xFE, 0xFF]) {
      return TextEncoding("UTF-32")
    }
    if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) { return TextEncoding("UTF-16") }
    if let wide = EncodingGuess.wideEncoding(head) { return wanted.map { $0.extendsASCII ? wide : $0 } ?? wide }
    let guess = EncodingGuess(head, isWhole: isWhole)
    if let wanted {
      if guess.isUTF8 && (!guess.isASCII || !wanted.extendsASCII) { return .utf8 }
      return wanted
    }
    return guess.isUTF8 ? .utf8 : guess.encoding
  }
}
