/// The fields of one row by name, and which of them have been used. Reusing one value allocates nothing a row after warm-up.
struct RowFields {
  private enum Format { case json, csv }

  private var format = Format.json
  private var keys: [UnsafeRawBufferPointer] = []
  private var values: [RowJSON] = []
  private var csv = CSVFields()
  private var columns: [String] = []
  private var isUsed: [Bool] = []

  /// Takes the members of a JSON object, which stay valid until its parser reads again.
  mutating func take(_ object: RowJSON) throws(RowProblem) {
    format = .json
    keys.removeAll(keepingCapacity: true)
    values.removeAll(keepingCapacity: true)
    isUsed.removeAll(keepingCapacity: true)
    try object.forEachMember { (key, value) throws(RowProblem) in
      keys.append(key)
      values.append(value)
      isUsed.append(false)
    }
  }

  mutating func take(_ fields: CSVFields, columns: [String]) {
    format = .csv
    csv = fields
    self.columns = columns
    isUsed.removeAll(keepingCapacity: true)
    isUsed.append(contentsOf: repeatElement(false, count: columns.count))
  }

  mutating func removeAll() { isUsed.removeAll(keepingCapacity: true) }

  var count: Int { isUsed.count }

  var names: [String] {
    format == .csv ? columns : keys.map { String(decoding: $0, as: UTF8.self) }
  }

  func withName<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    guard format == .csv else { return body(keys[index]) }
    var name = columns[index]
    return name.withUTF8 { body(UnsafeRawBufferPointer($0)) }
  }

  /// The field called `name`: of several the last, as in Python; of those that differ in case only, the first.
  func index(of name: FieldName) -> Int? {
    var exact: Int?
    var similar: Int?
    for index in 0..<count {
      switch withName(index, name.likeness) {
      case .none: break
      case .exact: exact = index
      case .exceptForCase: similar = similar ?? index
      }
    }
    return exact ?? similar
  }

  /// The field called `name` if it says anything: null is no value, as joined data sets have it, and neither is an empty field
  /// of CSV.
  func value(of name: FieldName) -> Int? {
    guard let index = index(of: name) else { return nil }
    switch format {
    case .json: return values[index].kind == .null ? nil : index
    case .csv: return csv.withField(index) { $0.isEmpty } ? nil : index
    }
  }

  /// The value of a JSON row's field; nil in CSV.
  func json(_ index: Int) -> RowJSON? { format == .json ? values[index] : nil }

  /// Whether a field holds a text of white space only, or nothing.
  func isBlank(_ index: Int) -> Bool {
    switch format {
    case .json: values[index].utf8.map(RowReader.isBlank) ?? values[index].isEmpty
    case .csv: csv.withField(index, RowReader.isBlank)
    }
  }

  func isEmpty(_ index: Int) -> Bool {
    switch format {
    case .json: values[index].isEmpty
    case .csv: csv.withField(index) { $0.isEmpty }
    }
  }

  mutating func use(_ index: Int) { isUsed[index] = true }
  func isUsed(_ index: Int) -> Bool { isUsed[index] }

  /// Calls `body` with the UTF-8 bytes of a field, or with nil where it is no text.
  func withText(
    _ index: Int, _ body: (UnsafeRawBufferPointer?) throws(RowProblem) -> Void
  ) throws(RowProblem) {
    switch format {
    case .json: try body(values[index].utf8)
    case .csv: try csv.withField(index) { (bytes) throws(RowProblem) in try body(bytes) }
    }
  }

  /// The text of a field, which counts as used.
  ///
  /// - Throws: `RowProblem` where it holds something else.
  mutating func text(_ index: Int) throws(RowProblem) -> String {
    isUsed[index] = true
    guard format == .json else { return csv.string(index) }
    guard let text = values[index].string else {
      throw RowProblem("\"\(names[index])\" holds \(values[index].kind.inWords), a text is expected")
    }
    return text
  }

  /// The text of the first of these fields that says anything.
  mutating func text(_ names: FieldName...) throws(RowProblem) -> String? { try text(names) }

  mutating func text(_ names: [FieldName]) throws(RowProblem) -> String? {
    for name in names {
      if let index = value(of: name) { return try text(index) }
    }
    return nil
  }

  /// A field in a few words, as an example.
  func example(_ index: Int) -> String {
    format == .json ? values[index].example : csv.withField(index, shortText)
  }
}

extension RowJSON {
  /// The value in a few words, as an example.
  var example: String {
    if let utf8 { return shortText(utf8) }
    if let boolean { return boolean ? "true" : "false" }
    return kind.inWords
  }
}

/// The beginning of a text on one line, in quotes.
func shortText(_ bytes: UnsafeRawBufferPointer) -> String {
  let text = String(decoding: bytes.prefix(200), as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(
    separator: " ")
  let shown = text.unicodeScalars.filter { $0.properties.generalCategory != .control }.prefix(40)
  return "\"" + String(String.UnicodeScalarView(shown)) + (shown.count < text.unicodeScalars.count ? "…" : "") + "\""
}
