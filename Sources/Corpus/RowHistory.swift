extension RowReader {
  /// The earlier turns in `history`; none when it is absent, null or blank.
  func history() throws(RowProblem) -> [(question: String, answer: String)] {
    guard let index = fields.value(of: FieldNames.history) else { return [] }
    fields.use(index)
    if fields.isBlank(index) { return [] }
    let value = try writtenValue(index) ?? fields.json(index)
    guard let value, value.kind != .null else { return [] }
    guard value.kind == .array else {
      throw RowProblem("\"history\" holds \(value.kind.inWords), a list of [question, answer] pairs is expected")
    }
    var turns: [(question: String, answer: String)] = []
    try value.forEachElement { (pair) throws(RowProblem) in
      var texts: [String] = []
      try pair.forEachElement { (text) throws(RowProblem) in
        guard let text = text.string else { throw Self.brokenPair(turns.count) }
        texts.append(text)
      }
      guard texts.count == 2 else { throw Self.brokenPair(turns.count) }
      turns.append((texts[0], texts[1]))
    }
    return turns
  }

  private static func brokenPair(_ index: Int) -> RowProblem {
    RowProblem("element \(index + 1) of \"history\" is no pair of texts, [question, answer] is expected")
  }
}
