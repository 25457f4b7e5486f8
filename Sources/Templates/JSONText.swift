/// `json.dumps`, which the filter `tojson` of `transformers` is.
struct JSONText {
  var keepsUnicode = true
  /// The white space of one level; nil writes everything into one line.
  var indentation: String?
  var itemSeparator: TemplateText
  var keySeparator: TemplateText
  var sortsKeys = false
  private var result = TemplateText()

  init(_ arguments: TemplateCallArguments, _ renderer: TemplateRenderer) throws {
    let given = try arguments.bound(
      to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "the filter 'tojson'", renderer)
    keepsUnicode = !(given[0]?.isTrue ?? false)
    sortsKeys = given[3]?.isTrue ?? false
    switch given[1] {
    case nil, .some(.none): break
    case .string(let text)?: indentation = text.string
    case .some(let value):
      guard let width = value.index, width < 1000 else { throw renderer.failure("'indent' is no small whole number") }
      indentation = String(repeating: " ", count: max(0, width))
    }
    (itemSeparator, keySeparator) = (indentation == nil ? ", " : ",", ": ")
    if let separators = given[2], separators.isTrue {
      let parts = try renderer.items(of: separators)
      guard parts.count == 2, let item = parts[0].text, let key = parts[1].text else {
        throw renderer.failure("'separators' are not two texts")
      }
      (itemSeparator, keySeparator) = (item, key)
    }
  }

  mutating func text(of value: TemplateValue, _ renderer: TemplateRenderer) throws -> TemplateText {
    let measure = value.measure
    try renderer.write(measure.size + measure.size / 4 * (indentation?.utf8.count ?? 0))
    try append(value, level: 0, renderer)
    return result
  }

  private mutating func append(_ value: TemplateValue, level: Int, _ renderer: TemplateRenderer) throws {
    switch value {
    case .none: result.append("null")
    case .bool(let value): result.append(value ? "true" : "false")
    case .integer(let value): result.append(String(value))
    case .float(let value): result.append(Self.number(value))
    case .string(let text): append(quoted: text)
    case .list(let list), .tuple(let list):
      try appendItems("[", list.values, "]", level: level, renderer) { text, item throws in
        try text.append(item, level: level + 1, renderer)
      }
    case .dictionary(let dictionary):
      var members = dictionary.members
      if sortsKeys { try TemplateFilter.sort(&members, renderer) { $0.0 } }
      try appendItems("{", members, "}", level: level, renderer) { text, member throws in
        text.append(quoted: try Self.key(member.0, renderer))
        text.result.append(text.keySeparator)
        try text.append(member.1, level: level + 1, renderer)
      }
    case .undefined(let reason): throw renderer.failure("an undefined value cannot be written as JSON: \(reason)")
    default: throw renderer.failure("a \(value.typeName) cannot be written as JSON")
    }
  }

  private mutating func appendItems<Item>(
    _ open: String, _ items: [Item], _ close: String, level: Int, _ renderer: TemplateRenderer,
    _ append: (inout JSONText, Item) throws -> Void
  ) throws {
    result.append(open)
    for (index, item) in items.enumerated() {
      try renderer.step()
      if index > 0 { result.append(itemSeparator) }
      if let indentation, indentation.utf8.count * (level + 1) < 100_000 {
        result.append("\n" + String(repeating: indentation, count: level + 1))
      }
      try append(&self, item)
    }
    if let indentation, !items.isEmpty { result.append("\n" + String(repeating: indentation, count: level)) }
    result.append(close)
  }

  private static func key(_ key: TemplateValue, _ renderer: TemplateRenderer) throws -> TemplateText {
    switch key {
    case .string(let text): return text
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return TemplateText(String(value))
    case .float(let value): return TemplateText(Self.number(value))
    default: throw renderer.failure("a \(key.typeName) cannot be a key of JSON")
    }
  }

  private static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return pythonText(value)
  }

  private mutating func append(quoted text: TemplateText) {
    result.append("\"")
    var plain = text
    plain.isSafe = false
    result.append(plain.map { scalar, _ in Self.escape(scalar, keepsUnicode: keepsUnicode) })
    result.append("\"")
  }

  private static func escape(_ scalar: Unicode.Scalar, keepsUnicode: Bool) -> String? {
    switch scalar {
    case "\"": return "\\\""
    case "\\": return "\\\\"
    case "\n": return "\\n"
    case "\r": return "\\r"
    case "\t": return "\\t"
    case "\u{8}": return "\\b"
    case "\u{C}": return "\\f"
    default:
      if scalar.value < 0x20 { return scalar.escaped("u", digits: 4) }
      if keepsUnicode || scalar.value < 0x7F { return nil }
      if scalar.value == 0x7F { return nil }
      return UTF16.encode(scalar)!.map { unit in
        let digits = String(unit, radix: 16)
        return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      }.joined()
    }
  }

  /// `text` in quotes, for a message.
  static func quoted(_ text: String) -> String { TemplateText(text).quoted.string }
}
