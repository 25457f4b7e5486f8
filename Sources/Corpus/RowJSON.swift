import CSimdJSON
import Foundation
import Storage

/// Parses JSON texts one after another, by simdjson. Use one per thread.
package final class RowJSONParser {
  /// Bytes that must be readable after every text given to `parse`.
  package static let padding = Int(MINIMIND_JSON_PADDING)

  private let parser: OpaquePointer
  /// Whether the last text held half a character (a lone surrogate), which has become U+FFFD.
  private(set) var hasLoneSurrogate = false

  package init() {
    guard let parser = minimind_json_parser_create() else { fatalError("there is no memory for a JSON parser") }
    self.parser = parser
  }

  deinit { minimind_json_parser_free(parser) }

  /// The root value of `text`, valid until the next call.
  ///
  /// - Parameter text: must be followed by `padding` readable bytes.
  package func parse(_ text: UnsafeRawBufferPointer) throws(RowProblem) -> RowJSON {
    hasLoneSurrogate = false
    guard !text.isEmpty else { throw RowProblem("the JSON is empty") }
    var root = MinimindJSONValue()
    guard let reason = parse(text, into: &root) else { return RowJSON(value: root) }
    if let repair = JSONRepair(text) {
      hasLoneSurrogate = repair.hasLoneSurrogate
      let padded = repair.bytes + [UInt8](repeating: 0x20, count: Self.padding)
      let second = padded.withUnsafeBytes {
        parse(UnsafeRawBufferPointer(rebasing: $0.dropLast(Self.padding)), into: &root)
      }
      if second == nil { return RowJSON(value: root) }
    }
    throw RowProblem("broken JSON: \(Self.inPlainWords(reason))\(Self.advice(text))")
  }

  /// Why `text` cannot be parsed, in simdjson's words; nil where it can.
  private func parse(_ text: UnsafeRawBufferPointer, into root: inout MinimindJSONValue) -> String? {
    minimind_json_parse(parser, text.baseAddress!.assumingMemoryBound(to: CChar.self), text.count, &root).map {
      String(cString: $0)
    }
  }

  /// What Python prints for a dictionary is no JSON, though it looks like it.
  private static func advice(_ text: UnsafeRawBufferPointer) -> String {
    let visible = text.lazy.filter { $0 > 0x20 }.prefix(2)
    return visible.elementsEqual("{'".utf8) ? " (Python's notation: write rows with json.dumps)" : ""
  }

  /// simdjson's sentences without the advice to programmers and the full stop.
  private static func inPlainWords(_ reason: String) -> String {
    if reason.hasPrefix("TAPE_ERROR") || reason.contains("improper structure") {
      return "braces, brackets, quotes or commas do not match"
    }
    let sentence = reason.split(separator: ":", maxSplits: 1).last.map(String.init) ?? reason
    let trimmed = sentence.drop { $0 == " " }
    return String(trimmed.hasSuffix(".") ? trimmed.dropLast() : trimmed)
  }
}

/// A value inside the text that a `RowJSONParser` parsed last.
package struct RowJSON {
  fileprivate let value: MinimindJSONValue

  package enum Kind: String { case null, boolean, number, string, array, object }

  package var kind: Kind {
    switch minimind_json_kind(value) {
    case MINIMIND_JSON_BOOLEAN: .boolean
    case MINIMIND_JSON_NUMBER: .number
    case MINIMIND_JSON_STRING: .string
    case MINIMIND_JSON_ARRAY: .array
    case MINIMIND_JSON_OBJECT: .object
    default: .null
    }
  }

  /// The UTF-8 bytes of a string, or nil for any other value.
  package var utf8: UnsafeRawBufferPointer? {
    var count = 0
    guard let base = minimind_json_string(value, &count) else { return nil }
    return UnsafeRawBufferPointer(start: base, count: count)
  }

  /// Whether a value says nothing: null, "", [] or {}.
  var isEmpty: Bool {
    switch kind {
    case .null: return true
    case .string: return utf8?.isEmpty ?? true
    case .array, .object:
      var cursor = minimind_json_children(value)
      var child = MinimindJSONValue()
      var key: UnsafePointer<CChar>?
      var keyCount = 0
      return minimind_json_next(&cursor, &child, &key, &keyCount) == 0
    case .boolean, .number: return false
    }
  }

  /// True or false; nil for any other value.
  var boolean: Bool? {
    let value = minimind_json_boolean(value)
    return value < 0 ? nil : value == 1
  }

  /// A number; nil for any other value.
  var number: Double? {
    var number = 0.0
    return minimind_json_number(value, &number) == 1 ? number : nil
  }

  /// The value with all that is in it.
  package var json: JSON {
    switch kind {
    case .null: return .null
    case .boolean: return .bool(boolean ?? false)
    case .number:
      var integer: Int64 = 0
      return minimind_json_integer(value, &integer) == 1 ? .integer(Int(integer)) : .number(number ?? 0)
    case .string: return .string(string ?? "")
    case .array:
      var values: [JSON] = []
      try? forEachElement { (element) throws(RowProblem) in values.append(element.json) }
      return .array(values)
    case .object:
      var members: [JSON.Member] = []
      try? forEachMember { (key, member) throws(RowProblem) in
        members.append(.init(String(decoding: key, as: UTF8.self), member.json))
      }
      return .object(members)
    }
  }

  package var string: String? { utf8.map { String(decoding: $0, as: UTF8.self) } }

  /// Calls `body` with each element of an array; does nothing for any other value.
  package func forEachElement(_ body: (RowJSON) throws(RowProblem) -> Void) throws(RowProblem) {
    guard kind == .array else { return }
    try forEachChild { (_, child) throws(RowProblem) in try body(child) }
  }

  /// Calls `body` with each key (UTF-8) and value of an object; does nothing for any other value.
  package func forEachMember(
    _ body: (_ key: UnsafeRawBufferPointer, RowJSON) throws(RowProblem) -> Void
  ) throws(RowProblem) {
    guard kind == .object else { return }
    try forEachChild(body)
  }

  private func forEachChild(
    _ body: (UnsafeRawBufferPointer, RowJSON) throws(RowProblem) -> Void
  ) throws(RowProblem) {
    var cursor = minimind_json_children(value)
    var child = MinimindJSONValue()
    var key: UnsafePointer<CChar>?
    var keyCount = 0
    while minimind_json_next(&cursor, &child, &key, &keyCount) == 1 {
      try body(UnsafeRawBufferPointer(start: key, count: keyCount), RowJSON(value: child))
    }
  }

  /// The value of `key`, the last one if it is there twice; nil if it is absent or this is no object.
  package subscript(key: StaticString) -> RowJSON? {
    guard kind == .object else { return nil }
    var cursor = minimind_json_children(value)
    var child = MinimindJSONValue()
    var name: UnsafePointer<CChar>?
    var nameCount = 0
    var found: RowJSON?
    while minimind_json_next(&cursor, &child, &name, &nameCount) == 1 {
      if UnsafeRawBufferPointer(start: name, count: nameCount).hasSameBytes(as: key) { found = RowJSON(value: child) }
    }
    return found
  }

  /// The keys of an object in the order of the text.
  package var keys: [String] {
    var keys: [String] = []
    try? forEachMember { (key, _) throws(RowProblem) in keys.append(String(decoding: key, as: UTF8.self)) }
    return keys
  }
}

extension UnsafeRawBufferPointer {
  func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
    count == other.count && (isEmpty || memcmp(baseAddress!, other.baseAddress!, count) == 0)
  }

  func hasSameBytes(as text: StaticString) -> Bool {
    hasSameBytes(as: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
}

/// Whether `bytes` are valid UTF-8.
package func isValidUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
  guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
  return minimind_is_utf8(base.assumingMemoryBound(to: CChar.self), bytes.count) == 1
}
