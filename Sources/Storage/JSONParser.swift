/// Where and why a text is not JSON.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes before the fault.
  public var offset: Int
  /// The line of the fault, from 1.
  public var line: Int
  public var reason: String
  public var description: String { "not valid JSON at byte \(offset): \(reason)" }
}

extension JSON {
  /// Parses UTF-8 text that holds one JSON value.
  public init(parsing bytes: UnsafeRawBufferPointer) throws(JSONError) {
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }

  public init(parsing text: String) throws(JSONError) {
    let bytes = Array(text.utf8)
    let result: Result<JSON, JSONError> = bytes.withUnsafeBytes { buffer in
      do throws(JSONError) { return .success(try JSON(parsing: buffer)) } catch { return .failure(error) }
    }
    self = try result.get()
  }
}

/// A recursive-descent reader of RFC 8259.
private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  var offset = 0
  var depth = 0
  /// No file of models and tokenizers nests deeper; without a limit a file of brackets would overflow the stack.
  static let maximumDepth = 64

  init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  mutating func document() throws(JSONError) -> JSON {
    let value = try self.value()
    skipSpace()
    guard offset == bytes.count else { throw failure("text after the end of the value") }
    return value
  }

  private func failure(_ reason: String) -> JSONError {
    JSONError(offset: offset, line: 1 + bytes[..<offset].count { $0 == UInt8(ascii: "\n") }, reason: reason)
  }

  private var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
  }

  private mutating func value() throws(JSONError) -> JSON {
    skipSpace()
    switch current {
    case nil: throw failure(bytes.isEmpty ? "there is nothing to read" : "the text ends early")
    case UInt8(ascii: "{"): return try nested { parser throws(JSONError) in try parser.object() }
    case UInt8(ascii: "["): return try nested { parser throws(JSONError) in try parser.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  private mutating func nested(_ body: (inout JSONParser) throws(JSONError) -> JSON) throws(JSONError) -> JSON {
    guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
    depth += 1
    defer { depth -= 1 }
    offset += 1
    return try body(&self)
  }

  private mutating func word(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
    let count = text.utf8CodeUnitCount
    guard bytes.count - offset >= count,
      (0..<count).allSatisfy({ bytes[offset + $0] == text.utf8Start[$0] })
    else { throw failure("an unknown word") }
    offset += count
    return value
  }

  private mutating func array() throws(JSONError) -> JSON {
    var values: [JSON] = []
    skipSpace()
    if current == UInt8(ascii: "]") {
      offset += 1
      return .array(values)
    }
    while true {
      values.append(try value())
      skipSpace()
      switch current {
      case UInt8(ascii: ","): offset += 1
      case UInt8(ascii: "]"):
        offset += 1
        return .array(values)
      default: throw failure("expected ',' or ']'")
      }
    }
  }

  private mutating func object() throws(JSONError) -> JSON {
    var members: [JSON.Member] = []
    // By bytes: Swift's own string equality treats different encodings of "é" as equal; a vocabulary can have both.
    var keys: Set<[UInt8]> = []
    skipSpace()
    if current == UInt8(ascii: "}") {
      offset += 1
      return .object(members)
    }
    while true {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw failure("expected a key in quotes") }
      let key = try string()
      guard keys.insert(Array(key.utf8)).inserted else { throw failure("the key \(shown(key)) appears twice") }
      skipSpace()
      guard current == UInt8(ascii: ":") else { throw failure("expected ':' after the key \(shown(key))") }
      offset += 1
      members.append(JSON.Member(key, try value()))
      skipSpace()
      switch current {
      case UInt8(ascii: ","): offset += 1
      case UInt8(ascii: "}"):
        offset += 1
        return .object(members)
      default: throw failure("expected ',' or '}'")
      }
    }
  }

  private func shown(_ key: String) -> String { JSON.quoted(String(key.prefix(80))) }

  private mutating func number() throws(JSONError) -> JSON {
    let start = offset
    var isInteger = true
    if current == UInt8(ascii: "-") { offset += 1 }
    let firstDigit = offset
    skipDigits()
    guard offset > firstDigit else { throw failure("expected a value") }
    guard bytes[firstDigit] != UInt8(ascii: "0") || offset == firstDigit + 1 else {
      throw failure("a number with a leading zero")
    }
    if current == UInt8(ascii: ".") {
      isInteger = false
      offset += 1
      let fraction = offset
      skipDigits()
      guard offset > fraction else { throw failure("expected a digit after the decimal point") }
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      isInteger = false
      offset += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { offset += 1 }
      let exponent = offset
      skipDigits()
      guard offset > exponent else { throw failure("expected a digit in the exponent") }
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    if isInteger, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { throw failure("a number out of range") }
    return .number(value)
  }

  private mutating func skipDigits() {
    while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { offset += 1 }
  }

  private mutating func string() throws(JSONError) -> String {
    offset += 1
    var units: [UInt8] = []
    while true {
      guard let byte = current else { throw failure("a string without its closing quote") }
      switch byte {
      case UInt8(ascii: "\""):
        offset += 1
        guard let text = String(validating: units, as: UTF8.self) else { throw failure("a string that is not UTF-8") }
        return text
      case UInt8(ascii: "\\"):
        offset += 1
        try escape(into: &units)
      case 0..<0x20: throw failure("a control character inside a string")
      default:
        let start = offset
        while let byte = current, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { offset += 1 }
        units.append(contentsOf: bytes[start..<offset])
      }
    }
  }

  private mutating func escape(into units: inout [UInt8]) throws(JSONError) {
    guard let byte = current else { throw failure("a string without its closing quote") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
    case UInt8(ascii: "b"): units.append(0x08)
    case UInt8(ascii: "f"): units.append(0x0C)
    case UInt8(ascii: "n"): units.append(0x0A)
    case UInt8(ascii: "r"): units.append(0x0D)
    case UInt8(ascii: "t"): units.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimalUnit()
      if (0xD800..<0xDC00).contains(code), offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "\\"),
        bytes[offset + 1] == UInt8(ascii: "u")
      {
        offset += 2
        let low = try hexadecimalUnit()
        guard (0xDC00..<0xE000).contains(low) else { throw failure("half of a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair") }
      units.append(contentsOf: UTF8.encode(scalar)!)
    default: throw failure("an unknown escape in a string")
    }
  }

  private mutating func hexadecimalUnit() throws(JSONError) -> UInt32 {
    guard bytes.count - offset >= 4 else { throw failure("the text ends early") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[offset])).hexDigitValue else {
        throw failure("expected four hexadecimal digits after \\u")
      }
      code = code << 4 | UInt32(digit)
      offset += 1
    }
    return code
  }
}
