import Storage

extension JSON {
  /// The value that Python prints as `text` (`repr`): strings with every escape except `\N{…}`, numbers, True, False and None; lists and
  /// tuples; dictionaries whose keys are strings. Nothing is evaluated.
  ///
  /// - Throws: `RowProblem` that names the byte where it goes wrong.
  package init(pythonLiteral text: UnsafeRawBufferPointer) throws(RowProblem) {
    var parser = PythonLiteralParser(text)
    self = try parser.parseAll()
  }

  package init(pythonLiteral text: String) throws(RowProblem) {
    let bytes = Array(text.utf8)
    self = try bytes.withUnsafeBufferPointer { (buffer) throws(RowProblem) in
      try JSON(pythonLiteral: UnsafeRawBufferPointer(buffer))
    }
  }
}

private struct PythonLiteralParser {
  private let text: UnsafeRawBufferPointer
  private var position = 0
  /// Deeper nesting is refused, so that hostile input cannot exhaust the stack.
  private static let maximumDepth = 32

  init(_ text: UnsafeRawBufferPointer) { self.text = text }

  mutating func parseAll() throws(RowProblem) -> JSON {
    let value = try parseValue(depth: 0)
    skipSpace()
    guard position == text.count else { throw problem("text after the end of the list") }
    return value
  }

  private func problem(_ what: String) -> RowProblem {
    RowProblem("\(what) at byte \(position + 1) of the Python literal")
  }

  private var next: UInt8? { position < text.count ? text[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || (0x09...0x0D).contains(byte) { position += 1 }
  }

  private mutating func parseValue(depth: Int) throws(RowProblem) -> JSON {
    guard depth < Self.maximumDepth else { throw problem("more than \(Self.maximumDepth) lists in lists") }
    skipSpace()
    switch next {
    case UInt8(ascii: "["): return try parseList(until: UInt8(ascii: "]"), depth: depth)
    case UInt8(ascii: "("): return try parseList(until: UInt8(ascii: ")"), depth: depth)
    case UInt8(ascii: "{"): return try parseDictionary(depth: depth)
    case nil: throw problem("a missing value")
    default: break
    }
    guard var bytes = try parseString() else { return try parseWord() }
    // Python joins strings that are side by side.
    while true {
      skipSpace()
      guard let more = try parseString() else { break }
      bytes += more
    }
    return .string(String(decoding: bytes, as: UTF8.self))
  }

  private mutating func parseList(until end: UInt8, depth: Int) throws(RowProblem) -> JSON {
    position += 1
    var elements: [JSON] = []
    var sawComma = false
    while true {
      skipSpace()
      if next == end { break }
      elements.append(try parseValue(depth: depth + 1))
      skipSpace()
      if next == UInt8(ascii: ",") {
        position += 1
        sawComma = true
      } else if next != end {
        throw problem("a comma or a closing bracket is missing")
      }
    }
    position += 1
    // ('a') is a string in brackets, ('a',) is a tuple.
    if end == UInt8(ascii: ")") && elements.count == 1 && !sawComma { return elements[0] }
    return .array(elements)
  }

  private mutating func parseDictionary(depth: Int) throws(RowProblem) -> JSON {
    position += 1
    var members: [JSON.Member] = []
    while true {
      skipSpace()
      if next == UInt8(ascii: "}") { break }
      guard case .string(let key) = try parseValue(depth: depth + 1) else { throw problem("a key that is no string") }
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw problem("a colon is missing") }
      position += 1
      members.append(JSON.Member(key, try parseValue(depth: depth + 1)))
      skipSpace()
      if next == UInt8(ascii: ",") {
        position += 1
      } else if next != UInt8(ascii: "}") {
        throw problem("a comma or a closing brace is missing")
      }
    }
    position += 1
    return .object(members)
  }

  /// None, True, False, or a number.
  private mutating func parseWord() throws(RowProblem) -> JSON {
    for (word, value) in [("None", JSON.null), ("True", .bool(true)), ("False", .bool(false))]
    where text[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    let digits = String(decoding: text[position...].prefix { "+-.0123456789eE_".utf8.contains($0) }, as: UTF8.self)
    let value = Int(digits).map { JSON.integer($0) } ?? Double(digits).map { .number($0) }
    guard let value else { throw problem("something that is no string, number, list or dictionary") }
    position += digits.utf8.count
    return value
  }

  /// A string in any of Python's quotes, or nil when there is none here.
  private mutating func parseString() throws(RowProblem) -> [UInt8]? {
    var start = position
    var isRaw = false
    while start < text.count, start < position + 1, "rRuU".utf8.contains(text[start]) {
      isRaw = isRaw || text[start] | 0x20 == UInt8(ascii: "r")
      start += 1
    }
    guard start < text.count, text[start] == 0x27 || text[start] == 0x22 else { return nil }
    let mark = text[start]
    let isTriple = start + 2 < text.count && text[start + 1] == mark && text[start + 2] == mark
    position = start + (isTriple ? 3 : 1)
    var bytes: [UInt8] = []
    while let byte = next {
      if byte == mark && (!isTriple || text[position...].starts(with: [mark, mark, mark])) {
        position += isTriple ? 3 : 1
        return bytes
      }
      position += 1
      if byte != UInt8(ascii: "\\") {
        bytes.append(byte)
      } else if isRaw {
        bytes.append(byte)
        guard let escaped = next else { break }
        bytes.append(escaped)
        position += 1
      } else {
        try parseEscape(into: &bytes)
      }
    }
    throw problem("a string that is not closed")
  }

  /// What follows a backslash.
  private mutating func parseEscape(into bytes: inout [UInt8]) throws(RowProblem) {
    guard let byte = next else { throw problem("a string that is not closed") }
    position += 1
    switch byte {
    case .newline: break  // a line goes on
    case .carriageReturn: if next == .newline { position += 1 }
    case UInt8(ascii: "\\"), 0x27, 0x22: bytes.append(byte)
    case UInt8(ascii: "a"): bytes.append(7)
    case UInt8(ascii: "b"): bytes.append(8)
    case UInt8(ascii: "f"): bytes.append(12)
    case UInt8(ascii: "n"): bytes.append(10)
    case UInt8(ascii: "r"): bytes.append(13)
    case UInt8(ascii: "t"): bytes.append(9)
    case UInt8(ascii: "v"): bytes.append(11)
    case UInt8(ascii: "x"): try append(try parseHexadecimal(2), to: &bytes)
    case UInt8(ascii: "u"): try append(try parseUTF16(), to: &bytes)
    case UInt8(ascii: "U"): try append(try parseHexadecimal(8), to: &bytes)
    case UInt8(ascii: "N"): throw problem("an escape \\N{…}, which is not supported; write the character itself")
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      var value = UInt32(byte - UInt8(ascii: "0"))
      for _ in 0..<2 {
        guard let digit = next, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) else { break }
        value = value * 8 + UInt32(digit - UInt8(ascii: "0"))
        position += 1
      }
      try append(value, to: &bytes)
    default: bytes += [UInt8(ascii: "\\"), byte]  // an escape that Python does not know stays as it is
    }
  }

  private mutating func parseHexadecimal(_ count: Int) throws(RowProblem) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<count {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw problem("an escape with too few hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  /// Four hexadecimal digits; two surrogates in a row are one character, as JSON writers put it.
  private mutating func parseUTF16() throws(RowProblem) -> UInt32 {
    let first = try parseHexadecimal(4)
    guard (0xD800...0xDBFF).contains(first), text[position...].starts(with: "\\u".utf8) else { return first }
    position += 2
    let second = try parseHexadecimal(4)
    guard (0xDC00...0xDFFF).contains(second) else { throw problem("half a character (a lone surrogate)") }
    return 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
  }

  private func append(_ value: UInt32, to bytes: inout [UInt8]) throws(RowProblem) {
    guard let scalar = Unicode.Scalar(value) else { throw problem("half a character (a lone surrogate)") }
    bytes.append(contentsOf: UTF8.encode(scalar)!)
  }
}
