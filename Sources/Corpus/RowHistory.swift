extension RowReader {
  /// The earlier turns in `history`; none when it is absent, null or blank.
  func history() throws(RowProblem) -> [(question: String, answer: String)] {
    guard let index = fields.value(of: "history") else { return [] }
    fields.use(index)
    guard let value = fields.json(index), value.kind != .string else {
      let text = try fields.text(index)
      return text.utf8.allSatisfy { $0 <= 0x20 } ? [] : try pairs(try PythonLiteral(text))
    }
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

  private func pairs(_ literal: PythonLiteral) throws(RowProblem) -> [(question: String, answer: String)] {
    guard case .list(let elements) = literal else {
      if literal == .none { return [] }
      throw RowProblem("\"history\" is one text, a list of [question, answer] pairs is expected")
    }
    var turns: [(question: String, answer: String)] = []
    for element in elements {
      guard case .list(let pair) = element, pair.count == 2, case .string(let question) = pair[0],
        case .string(let answer) = pair[1]
      else {
        throw Self.brokenPair(turns.count)
      }
      turns.append((question, answer))
    }
    return turns
  }

  private static func brokenPair(_ index: Int) -> RowProblem {
    RowProblem("element \(index + 1) of \"history\" is no pair of texts, [question, answer] is expected")
  }
}
