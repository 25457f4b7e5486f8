/// A JSON value whose objects keep the order of their members.
///
/// Reading is strict (RFC 8259; a repeated key is an error, as readers would disagree about it) and
/// safe on hostile text: nesting is limited and every failure is thrown with its place.
public enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([Member])

  public struct Member: Sendable, Equatable {
    public var key: String
    public var value: JSON
    public init(_ key: String, _ value: JSON) {
      self.key = key
      self.value = value
    }
  }

  /// The value of the member `key`; nil when this is not an object or has no such member.
  public subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key == key }?.value
  }

  /// The whole number that this value is exactly, if it is one.
  public var integerValue: Int? {
    switch self {
    case .integer(let value): value
    case .number(let value): Int(exactly: value)
    default: nil
    }
  }

  public var doubleValue: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  public var arrayValue: [JSON]? {
    if case .array(let values) = self { values } else { nil }
  }

  public var isNull: Bool { self == .null }
}

extension JSON {
  /// The text of this value, two spaces an indentation level; arrays of plain values stay on one line.
  public func text(indentation: Int = 0) -> String {
    let margin = String(repeating: "  ", count: indentation + 1)
    let close = String(repeating: "  ", count: indentation)
    switch self {
    case .object(let members) where !members.isEmpty:
      let lines = members.map { margin + Self.quoted($0.key) + ": " + $0.value.text(indentation: indentation + 1) }
      return "{\n" + lines.joined(separator: ",\n") + "\n" + close + "}"
    case .array(let values) where values.contains(where: \.isContainer):
      let lines = values.map { margin + $0.text(indentation: indentation + 1) }
      return "[\n" + lines.joined(separator: ",\n") + "\n" + close + "]"
    default: return compactText
    }
  }

  /// The text of this value without any white space.
  public var compactText: String {
    var text = ""
    appendCompactText(to: &text)
    return text
  }

  /// One growing text for all parts, since an answer with log-probabilities can have tens of megabytes.
  private func appendCompactText(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    // JSON has no word for these; null is what JavaScript writes.
    case .number(let value): text += value.isFinite ? "\(value)" : "null"
    case .string(let value): Self.appendQuoted(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.appendCompactText(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { text += "," }
        Self.appendQuoted(member.key, to: &text)
        text += ":"
        member.value.appendCompactText(to: &text)
      }
      text += "}"
    }
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  /// `text` as a JSON string, escaped as Hugging Face's and Python's writers do: only what must be.
  public static func quoted(_ text: String) -> String {
    var result = ""
    appendQuoted(text, to: &result)
    return result
  }

  private static func appendQuoted(_ text: String, to result: inout String) {
    result += "\""
    var start = text.startIndex
    for index in text.utf8.indices {
      let byte = text.utf8[index]
      guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
      result += text[start..<index]
      start = text.utf8.index(after: index)
      switch byte {
      case UInt8(ascii: "\n"): result += "\\n"
      case UInt8(ascii: "\r"): result += "\\r"
      case UInt8(ascii: "\t"): result += "\\t"
      case 0x08: result += "\\b"
      case 0x0C: result += "\\f"
      case ..<0x20: result += (byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16)
      default: result += "\\" + String(Unicode.Scalar(byte))
      }
    }
    result += text[start...]
    result += "\""
  }
}
