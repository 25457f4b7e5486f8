import Foundation
import Tokenization
import Vision

/// Splits rows into their fields by name, whatever the file's format. Use one per thread.
package final class RowReader {
  let names: FieldNames
  private let parser = RowJSONParser()
  /// Of values that are written in texts.
  let cellParser = RowJSONParser()
  private var csv = CSVFields()
  /// Of the row that `readFields` took last.
  var fields = RowFields()
  /// Fields of messages that nothing reads, and other things in the row that were passed over.
  var unusedParts: [(name: String, example: String)] = []
  private var unused = UnusedFields()

  /// Whether tools, calls and results are kept for the chat template; otherwise rows with them are not learned.
  let keepsTools: Bool
  /// Whether reasoning is kept apart for the chat template; otherwise it becomes part of the answer's text.
  let keepsReasoning: Bool
  let keepsDeveloper: Bool
  /// Whether the pictures of the row that was read last stand before its text where that has no place for them.
  var picturesComeFirst: Bool { comesFromArchive || placesPicturesFirst }
  private var comesFromArchive = false
  /// Whether they do so in rows of every format.
  private let placesPicturesFirst: Bool
  /// Whether pictures are read; otherwise they are among what is not used.
  let keepsPictures: Bool

  /// - Parameters:
  ///   - template: what is kept apart; nil for v1's template and for rows without conversations.
  ///   - placesPicturesFirst: whether pictures stand before the first question where no placeholder says where.
  package init(
    names: FieldNames = FieldNames(), template: JinjaChatTemplate? = nil, keepsPictures: Bool = false,
    placesPicturesFirst: Bool = false
  ) {
    self.keepsPictures = keepsPictures
    self.placesPicturesFirst = placesPicturesFirst
    self.names = names
    keepsTools = template?.knowsTools ?? false
    keepsReasoning = template?.knowsReasoning ?? false
    keepsDeveloper = template?.mentions("developer") ?? false
  }

  /// A row with its fields, valid until the reader reads the next.
  package enum Row {
    case json(RowJSON)
    case csv(columns: [String], CSVFields)
    case text(UnsafeRawBufferPointer)
  }

  /// Whether a row is nothing but white space: not a row, then.
  package static func isBlank(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.allSatisfy { $0 <= 0x20 } }

  /// Whether the row that was read last held half a character (a lone surrogate), which has become U+FFFD.
  private(set) var hasLoneSurrogate = false

  package func read(_ record: Record, of block: Block) throws(RowProblem) -> Row {
    let bytes = block.bytes(of: record)
    hasLoneSurrogate = false
    switch block.file.format {
    case .json, .jsonLines, .parquet, .tar:
      guard isValidUTF8(bytes) else { throw notUTF8(block.file.format.isBinary ? "row" : "line", block.file) }
      let value = try parser.parse(bytes)
      hasLoneSurrogate = parser.hasLoneSurrogate
      return .json(value)
    case .csv:
      guard isValidUTF8(bytes) else { throw notUTF8("row", block.file) }
      try csv.parse(bytes, separator: block.file.separator)
      guard csv.count == block.columns.count else {
        throw RowProblem(
          "the row has \(csv.count) fields, the header has \(block.columns.count) (\(block.columns.inQuotes))")
      }
      return .csv(columns: block.columns, csv)
    case .text, .wholeFile, .markdown:
      guard isValidUTF8(bytes) else {
        throw notUTF8(block.file.format == .text ? "line" : "file", block.file)
      }
      return .text(block.file.format == .markdown ? withoutFrontMatter(bytes) : bytes)
    }
  }

  /// Reads a row into `fields`; nil for JSON and CSV, and a row of plain text as it is.
  @discardableResult
  func readFields(
    _ record: Record, of block: Block, asIn goodRow: String
  ) throws(RowProblem) -> UnsafeRawBufferPointer? {
    unusedParts.removeAll(keepingCapacity: true)
    comesFromArchive = block.file.format == .tar
    switch try read(record, of: block) {
    case .text(let bytes): return bytes
    case .json(let value):
      guard value.kind == .object else {
        throw RowProblem("the row is \(value.kind.inWords), an object is expected, as in: \(goodRow)")
      }
      try fields.take(value)
    case .csv(let columns, let csv): fields.take(csv, columns: columns)
    }
    return nil
  }

  /// Calls `body` with the document's text of a row: the field `text` of JSON and CSV, or another name of it, and all of a plain
  /// text row.
  func withText(
    of record: Record, in block: Block, _ body: (UnsafeRawBufferPointer) throws(RowProblem) -> Void
  ) throws(RowProblem) {
    if let text = try readFields(record, of: block, asIn: Self.goodTextRow) {
      fields.removeAll()
      return try body(text)
    }
    var found: Int?
    for name in names.text where found == nil { found = fields.value(of: name) }
    for name in names.text where found == nil { found = fields.index(of: name) }
    guard let found else {
      let expected = "\"\(names.text[0])\""
      guard block.file.format == .csv else {
        throw RowProblem("there is no key \(expected) but \(fields.names.inQuotes). A good row: \(Self.goodTextRow)")
      }
      throw RowProblem(
        "there is no column \(expected) but \(fields.names.inQuotes). The first line must name it; --text-key takes "
          + "another column for it")
    }
    fields.use(found)
    try fields.withText(found) { (bytes) throws(RowProblem) in
      guard let bytes else {
        let name = fields.names[found]
        let kind = fields.json(found)?.kind.inWords ?? "nothing"
        throw RowProblem("\"\(name)\" is \(kind), a string is expected. A good row: \(Self.goodTextRow)")
      }
      try body(bytes)
    }
  }

  static let goodTextRow = #"{"text": "Once upon a time…"}"#

  /// The pictures of a row beside its text or messages: files, in a text in which commas separate several; `data:` URLs, as bytes
  /// in Parquet become; objects with `bytes` or `path`, as `datasets` writes them; or a list of these.
  func rowPictures() throws(RowProblem) -> [PictureSource] {
    guard keepsPictures else { return [] }
    for name in FieldNames.pictures {
      guard let index = fields.value(of: name), !fields.isEmpty(index) else { continue }
      fields.use(index)
      guard let value = fields.json(index), value.kind != .string else {
        let text = try fields.text(index)
        if DataURL.isOne(text) { return [.inline(text)] }
        return text.split(separator: ",").map { .file($0.trimmingCharacters(in: .whitespaces)) }
      }
      guard value.kind == .array else { return [try Self.picture(value, name)] }
      var pictures: [PictureSource] = []
      try value.forEachElement { (element) throws(RowProblem) in pictures.append(try Self.picture(element, name)) }
      return pictures
    }
    return []
  }

  private static func picture(_ value: RowJSON, _ name: FieldName) throws(RowProblem) -> PictureSource {
    let isObject = value.kind == .object
    let inner = isObject ? value["bytes"].flatMap { $0.kind == .null ? nil : $0 } ?? value["path"] : value
    guard let text = inner?.string else {
      throw RowProblem("\"\(name)\" holds \(value.kind.inWords), files or data: URLs are expected")
    }
    return DataURL.isOne(text) ? .inline(text) : .file(text)
  }

  // MARK: - What is not used

  /// Counts what nothing has read of the row that was read last.
  func noteUnused(_ record: Record, of block: Block) {
    func example(_ text: String) -> Tally<String>.Example {
      Tally.Example(file: block.file.path, line: record.line, text: text)
    }
    for index in 0..<fields.count where !fields.isUsed(index) && !fields.isEmpty(index) {
      fields.withName(index) { unused.add($0, example(fields.example(index))) }
    }
    for part in unusedParts {
      var name = part.name
      name.withUTF8 { unused.add(UnsafeRawBufferPointer($0), example(part.example)) }
    }
    unused.endRow()
  }

  /// Moves what was counted to `tally`.
  func moveUnused(to tally: inout Tally<String>) { unused.move(to: &tally) }
}

private func notUTF8(_ what: String, _ file: InputFile) -> RowProblem {
  guard !file.format.isBinary else { return RowProblem("the \(what) has a text that is not valid UTF-8") }
  guard file.encoding.isUTF8 else { return RowProblem("the \(what) is not valid \(file.encoding)") }
  return RowProblem(
    "the \(what) is not valid UTF-8 (another encoding can be named, as in: --encoding gb18030)")
}

/// Markdown without the settings at its beginning, between two lines of `---` (YAML) or `+++` (TOML).
func withoutFrontMatter(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
  var lines = text[...]
  func nextLine() -> UnsafeRawBufferPointer.SubSequence {
    let line = lines.prefix { $0 != .newline }
    lines = lines.dropFirst(line.count + 1)
    return line.last == .carriageReturn ? line.dropLast() : line
  }
  let mark = nextLine()
  guard mark.elementsEqual("---".utf8) || mark.elementsEqual("+++".utf8) else { return text }
  while !lines.isEmpty {
    let line = nextLine()
    if line.elementsEqual(mark) || mark.first == UInt8(ascii: "-") && line.elementsEqual("...".utf8) {
      return UnsafeRawBufferPointer(rebasing: lines.drop { $0 == .newline || $0 == .carriageReturn })
    }
  }
  return text
}

extension RowJSON.Kind {
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

extension [String] {
  /// Names in quotes, at most eight of them: `"q", "a"`.
  var inQuotes: String {
    guard !isEmpty else { return "no key at all" }
    let shown = prefix(8).map { "\"\($0.prefix(40))\"" }.joined(separator: ", ")
    return count > 8 ? shown + " and \(count - 8) more" : shown
  }
}
