import Foundation
import Storage

/// What an answer comes to: the number, the marked text or the JSON in it.
package enum FinalAnswer {
  /// What is after the last `####`, to the end of its line, or in the last `\boxed{}`; nil where there is neither. Of both
  /// the later one counts.
  package static func marked(in text: String) -> String? {
    let hash = text.ranges(of: "####").last
    let box = text.ranges(of: "\\boxed{").last
    if let box, box.lowerBound > hash?.lowerBound ?? text.startIndex || hash == nil {
      var depth = 1
      for index in text[box.upperBound...].indices {
        if text[index] == "{" { depth += 1 }
        if text[index] == "}" { depth -= 1 }
        if depth == 0 { return String(text[box.upperBound..<index]) }
      }
    }
    return hash.map { String(text[$0.upperBound...].prefix { !$0.isNewline }) }
  }

  /// The number that is marked, or else the last one: digits, perhaps with commas between thousands, a decimal point, and
  /// a sign that follows no digit, letter or closing bracket.
  package static func number(in text: String) -> Double? {
    lastNumber(in: marked(in: text) ?? text)
  }

  private static func lastNumber(in text: String) -> Double? {
    let scalars = Array(text.unicodeScalars)
    func isDigit(_ index: Int) -> Bool { scalars.indices.contains(index) && ("0"..."9").contains(scalars[index]) }
    guard let end = scalars.lastIndex(where: { ("0"..."9").contains($0) }).map({ $0 + 1 }) else { return nil }
    var start = end - 1
    while true {
      if isDigit(start - 1) {
        start -= 1
      } else if start >= 2, isDigit(start - 2), scalars[start - 1] == "." {
        // A second point is none of a number: 1.2.3 ends with 2.3's 3.
        guard !scalars[start..<end].contains(".") else { break }
        start -= 1
      } else if start >= 2, isDigit(start - 2), scalars[start - 1] == ",",
        isDigit(start + 1), isDigit(start + 2), !isDigit(start + 3)
      {
        start -= 1
      } else {
        break
      }
    }
    // A comma that begins, as in "3,12,45", separates numbers: groups of thousands have three digits all.
    let body = String(String.UnicodeScalarView(scalars[start..<end])).replacing(",", with: "")
    guard var value = Double(body) else { return nil }
    if start > 0, scalars[start - 1] == "-" || scalars[start - 1] == "\u{2212}" {
      let before = start >= 2 ? Character(scalars[start - 2]) : " "
      if !before.isLetter && !before.isNumber && before != ")" { value = -value }
    }
    return value
  }

  /// Without space at the ends, punctuation after it, differences of case, and space that is wider than one.
  package static func normalized(_ text: String) -> String {
    var words = text.split(whereSeparator: \.isWhitespace).joined(separator: " ").lowercased()
    while let last = words.last, ".。!！".contains(last) { words.removeLast() }
    return words
  }

  /// The JSON that an answer is, or that it has in a block of code.
  package static func json(in text: String) -> JSON? {
    var inner = text[...]
    if let fence = inner.firstRange(of: "```") {
      inner = inner[fence.upperBound...]
      if inner.hasPrefix("json") { inner = inner.dropFirst(4) }
      if let end = inner.firstRange(of: "```") { inner = inner[..<end.lowerBound] }
    }
    return try? JSON(parsing: String(inner))
  }
}
