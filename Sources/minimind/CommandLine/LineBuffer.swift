/// A text that is being edited, of whole characters as people see them: a flag, or a family of emoji, is one.
package struct LineBuffer {
  package private(set) var characters: [Character] = []
  /// Characters before the cursor.
  package private(set) var cursor = 0
  /// What was cut last, for `paste`.
  private var cut: [Character] = []

  package init(_ text: String = "") { replace(with: text) }

  package var text: String { String(characters) }

  /// Another text, with the cursor at its end.
  package mutating func replace(with text: String) {
    characters = Array(text)
    cursor = characters.count
  }

  /// Puts text at the cursor. What has been typed joins with what is before and after it, as a mark joins its letter.
  package mutating func insert(_ text: String) {
    let after = characters.count - cursor
    let rest = String(characters[cursor...])
    characters = Array(String(characters[..<cursor]) + text + rest)
    cursor = max(0, characters.count - after)
  }

  /// Whether the cursor is at the end of a line whose last character is a backslash.
  package var isBehindBackslash: Bool {
    cursor == lineEnd && characters[..<cursor].last == "\\"
  }

  // MARK: - Moving

  package mutating func moveLeft() { cursor = max(0, cursor - 1) }
  package mutating func moveRight() { cursor = min(characters.count, cursor + 1) }
  package mutating func moveToLineStart() { cursor = lineStart }
  package mutating func moveToLineEnd() { cursor = lineEnd }
  package mutating func moveWordLeft() { cursor = wordStart }
  package mutating func moveWordRight() { cursor = wordEnd }

  /// Moves to the line above or below, to the same place of it.
  ///
  /// - Returns: Whether there is one.
  package mutating func moveLine(up: Bool) -> Bool {
    let column = cursor - lineStart
    if up {
      guard lineStart > 0 else { return false }
      cursor = lineStart - 1
      cursor = min(lineStart + column, cursor)
    } else {
      guard lineEnd < characters.count else { return false }
      cursor = lineEnd + 1
      cursor = min(cursor + column, lineEnd)
    }
    return true
  }

  private var lineStart: Int { (characters[..<cursor].lastIndex(where: \.isNewline) ?? -1) + 1 }
  private var lineEnd: Int { characters[cursor...].firstIndex(where: \.isNewline) ?? characters.count }

  private static func isWord(_ character: Character) -> Bool { character.isLetter || character.isNumber }

  private var wordStart: Int {
    guard let last = characters[..<cursor].lastIndex(where: Self.isWord) else { return 0 }
    return (characters[..<last].lastIndex { !Self.isWord($0) } ?? -1) + 1
  }

  private var wordEnd: Int {
    guard let first = characters[cursor...].firstIndex(where: Self.isWord) else { return characters.count }
    return characters[first...].firstIndex { !Self.isWord($0) } ?? characters.count
  }

  // MARK: - Deleting

  package mutating func deleteBackward() {
    guard cursor > 0 else { return }
    cursor -= 1
    characters.remove(at: cursor)
  }

  package mutating func deleteForward() {
    if cursor < characters.count { characters.remove(at: cursor) }
  }

  package mutating func cutToLineEnd() { cut(cursor..<lineEnd) }
  package mutating func cutToLineStart() { cut(lineStart..<cursor) }
  package mutating func cutWordLeft() { cut(wordStart..<cursor) }
  package mutating func cutWordRight() { cut(cursor..<wordEnd) }

  /// The word before the cursor as shells see it, up to a blank.
  package mutating func cutToBlank() {
    let last = characters[..<cursor].lastIndex { !$0.isWhitespace } ?? 0
    cut(((characters[..<last].lastIndex(where: \.isWhitespace) ?? -1) + 1)..<cursor)
  }

  private mutating func cut(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    cut = Array(characters[range])
    characters.removeSubrange(range)
    cursor = range.lowerBound
  }

  package mutating func paste() { insert(String(cut)) }
}
