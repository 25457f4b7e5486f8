import Storage

/// Lists and objects that stand in a text, as in the cells of a table: written as JSON, or as Python prints them.
extension RowReader {
  /// The list or object in a field, which may be written in a text that begins as messages do; nil for anything else. Valid
  /// until the next call.
  func structure(_ index: Int) throws(RowProblem) -> RowJSON? {
    if let value = fields.json(index), value.kind != .string {
      return value.kind == .array || value.kind == .object ? value : nil
    }
    guard try isWrittenMessages(index) else { return nil }
    return try writtenValue(index)
  }

  /// The value that the text of a field spells; nil where the field holds no text. Valid until the next call.
  func writtenValue(_ index: Int) throws(RowProblem) -> RowJSON? {
    var value: RowJSON?
    try fields.withText(index) { (text) throws(RowProblem) in
      guard let text else { return }
      value = try? parseCell(Array(text))
      guard value == nil else { return }
      let opening = text.lazy.filter { $0 > 0x20 && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "{") }.first
      do throws(RowProblem) {
        value = try parseCell(Array(try JSON(pythonLiteral: text).text().utf8))
      } catch {
        // The reason is that of the notation in which it begins.
        guard opening == UInt8(ascii: "\"") else { throw RowProblem("\"\(fields.names[index])\": \(error.reason)") }
        value = try parseCell(Array(text))
      }
    }
    return value
  }

  private func parseCell(_ text: [UInt8]) throws(RowProblem) -> RowJSON {
    let padded = text + [UInt8](repeating: 0x20, count: RowJSONParser.padding)
    return try padded.withUnsafeBufferPointer { (buffer) throws(RowProblem) in
      let bytes = UnsafeRawBufferPointer(buffer)
      return try cellParser.parse(UnsafeRawBufferPointer(rebasing: bytes.prefix(text.count)))
    }
  }

  /// Whether the text of a field begins as a message or a list of them: `[{"role"`, or `{'from'`.
  private func isWrittenMessages(_ index: Int) throws(RowProblem) -> Bool {
    var result = false
    try fields.withText(index) { (text) throws(RowProblem) in
      guard var rest = text?.prefix(64).drop(while: { $0 <= 0x20 }) else { return }
      if rest.first == UInt8(ascii: "[") { rest = rest.dropFirst().drop { $0 <= 0x20 } }
      guard rest.first == UInt8(ascii: "{") else { return }
      rest = rest.dropFirst().drop { $0 <= 0x20 }
      guard let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { return }
      let key = rest.dropFirst().prefix { $0 != quote }
      result = ["role", "from", "content", "value"].contains { key.elementsEqual($0.utf8) }
    }
    return result
  }
}
