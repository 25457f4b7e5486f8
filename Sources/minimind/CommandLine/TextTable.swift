/// Columns of a terminal that `text` takes: East Asian wide characters and emoji take two, marks none.
package func displayWidth(_ text: String) -> Int {
  text.reduce(0) { total, character in
    guard let scalar = character.unicodeScalars.first else { return total }
    return total + scalarWidth(scalar)
  }
}

private func scalarWidth(_ scalar: Unicode.Scalar) -> Int {
  switch scalar.properties.generalCategory {
  case .nonspacingMark, .enclosingMark, .format, .control: return 0
  default: break
  }
  switch scalar.value {
  // Hangul Jamo, CJK and its punctuation, kana, Hangul syllables, compatibility and full-width forms.
  case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF,
    0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD:
    return 2
  default: return scalar.properties.isEmojiPresentation ? 2 : 1
  }
}

extension String {
  /// The text with spaces after it (or before it) up to `width` columns.
  package func padded(to width: Int, alignedRight: Bool = false) -> String {
    let spaces = String(repeating: " ", count: max(0, width - displayWidth(self)))
    return alignedRight ? spaces + self : self + spaces
  }
}

/// `text` cut to at most `width` columns, never inside a character.
package func truncated(_ text: String, to width: Int) -> String {
  var result = ""
  var used = 0
  for character in text {
    used += displayWidth(String(character))
    if used > width { break }
    result.append(character)
  }
  return result
}

/// Lines of at most `width` columns, cut between words; a longer word has a line of its own.
package func wrapped(_ text: String, to width: Int) -> [String] {
  var lines = [""]
  for word in text.split(separator: " ") {
    if lines[lines.count - 1].isEmpty {
      lines[lines.count - 1] = String(word)
    } else if displayWidth(lines[lines.count - 1]) + 1 + displayWidth(String(word)) <= width {
      lines[lines.count - 1] += " " + word
    } else {
      lines.append(String(word))
    }
  }
  return lines
}

/// Rows of texts in aligned columns, under a header and a rule.
package struct TextTable {
  package enum Alignment: Sendable { case left, right }
  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  package init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

  /// - Precondition: one text for each column.
  package mutating func add(_ row: [String]) {
    precondition(row.count == columns.count, "a row of \(row.count) texts in a table of \(columns.count) columns")
    rows.append(row)
  }

  /// The table, each line ended by a newline.
  package func render() -> String {
    let widths = columns.indices.map { column in
      ([columns[column].title] + rows.map { $0[column] }).map(displayWidth).max() ?? 0
    }
    func line(_ texts: [String]) -> String {
      let cells = columns.indices.map {
        texts[$0].padded(to: widths[$0], alignedRight: columns[$0].alignment == .right)
      }
      return trimmingTrailingSpaces(cells.joined(separator: "  ")) + "\n"
    }
    let rule = widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ") + "\n"
    return line(columns.map(\.title)) + rule + rows.map(line).joined()
  }
}

/// Names and values in two columns, one pair a line, each line ended by a newline.
package func renderPairs(_ pairs: [(name: String, value: String)], indent: String = "  ") -> String {
  let width = pairs.map { displayWidth($0.name) }.max() ?? 0
  return pairs.map { "\(indent)\($0.name.padded(to: width))  \($0.value)\n" }.joined()
}

private func trimmingTrailingSpaces(_ line: String) -> String {
  var line = line
  while line.last == " " { line.removeLast() }
  return line
}
