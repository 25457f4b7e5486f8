/// Takes rows apart: the fields of a row by name, whatever the file's format. Use one per thread.
package final class RowReader {
  private let parser = JSONParser()
  private var fields = CSVFields()

  package init() {}

  /// A row with its fields, valid until the reader reads the next.
  package enum Row {
    case json(JSONValue)
    case csv(columns: [String], CSVFields)
    case text(UnsafeRawBufferPointer)
  }

  /// Whether a row is nothing but white space: not a row, then.
  package static func isBlank(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.allSatisfy { $0 <= 0x20 } }

  package func read(_ record: Record, of block: Block) throws(RowProblem) -> Row {
    let bytes = block.bytes(of: record)
    switch block.file.format {
    case .json, .jsonLines:
      guard isValidUTF8(bytes) else { throw notUTF8("line") }
      return .json(try parser.parse(bytes))
    case .csv:
      guard isValidUTF8(bytes) else { throw notUTF8("row") }
      try fields.parse(bytes)
      guard fields.count == block.columns.count else {
        throw RowProblem(
          "the row has \(fields.count) fields, the header has \(block.columns.count) (\(list(block.columns)))")
      }
      return .csv(columns: block.columns, fields)
    case .text, .wholeFile:
      guard isValidUTF8(bytes) else { throw notUTF8(block.file.format == .text ? "line" : "file") }
      return .text(bytes)
    }
  }

  /// Calls `body` with the document's text of a row: the `text` of JSON and CSV, all of a plain text row.
  func withText(
    of record: Record, in block: Block, _ body: (UnsafeRawBufferPointer) throws(RowProblem) -> Void
  ) throws(RowProblem) {
    switch try read(record, of: block) {
    case .text(let bytes): try body(bytes)
    case .json(let value):
      guard value.kind == .object else {
        throw RowProblem("the row is \(value.kind.inWords), an object is expected, as in: \(Self.goodTextRow)")
      }
      guard let text = value["text"] else {
        throw RowProblem("there is no key \"text\" but \(list(value.keys)). A good row: \(Self.goodTextRow)")
      }
      guard let bytes = text.utf8 else {
        throw RowProblem("\"text\" is \(text.kind.inWords), a string is expected. A good row: \(Self.goodTextRow)")
      }
      try body(bytes)
    case .csv(let columns, let fields):
      guard let column = columns.firstIndex(of: "text") else {
        throw RowProblem(
          "there is no column \"text\" but \(list(columns)). A good file starts with a line that holds: text")
      }
      try fields.withField(column) { (bytes) throws(RowProblem) in try body(bytes) }
    }
  }

  static let goodTextRow = #"{"text": "Once upon a time…"}"#
}

private func notUTF8(_ what: String) -> RowProblem {
  RowProblem("the \(what) is not valid UTF-8 (another encoding can be converted: iconv -f GBK -t UTF-8 FILE)")
}

extension JSONValue.Kind {
  var inWords: String {
    switch self {
    case .null: "null"
    case .boolean: "true or false"
    case .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

/// Names in quotes, at most eight of them: `"q", "a"`.
func list(_ names: [String]) -> String {
  guard !names.isEmpty else { return "no key at all" }
  let shown = names.prefix(8).map { "\"\($0.prefix(40))\"" }.joined(separator: ", ")
  return names.count > 8 ? shown + " and \(names.count - 8) more" : shown
}
