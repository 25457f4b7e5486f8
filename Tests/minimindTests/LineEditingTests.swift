import Foundation
import Testing
import minimind

@Suite("Lines that are edited")
struct LineEditingTests {
  @Test("what is deleted and moved over are whole characters")
  func wholeCharacters() {
    var buffer = LineBuffer("a👨‍👩‍👧🇯🇵e\u{301}")
    #expect(buffer.characters.count == 4)
    buffer.deleteBackward()
    buffer.moveLeft()
    buffer.deleteBackward()
    #expect(buffer.text == "a🇯🇵" && buffer.cursor == 1)
    // What is typed joins what is before it, and the cursor stays behind it.
    buffer = LineBuffer("xe")
    buffer.insert("\u{301}")
    #expect(buffer.characters.count == 2 && buffer.cursor == 2)
    buffer.moveLeft()
    buffer.insert("👨\u{200D}")
    buffer.insert("👧")
    #expect(buffer.text == "x👨‍👧e\u{301}" && buffer.characters.count == 3 && buffer.cursor == 2)
  }

  @Test("words and lines")
  func wordsAndLines() {
    var buffer = LineBuffer("one, two\nthree four")
    #expect(buffer.moveLine(up: true) && buffer.cursor == 8 && !buffer.moveLine(up: true))
    buffer.moveWordLeft()
    #expect(buffer.cursor == 5)
    buffer.cutToLineEnd()
    #expect(buffer.text == "one, \nthree four")
    #expect(buffer.moveLine(up: false) && buffer.cursor == 11 && !buffer.moveLine(up: false))
    buffer.moveToLineStart()
    buffer.moveWordRight()
    buffer.paste()
    #expect(buffer.text == "one, \nthreetwo four")
    buffer.cutToBlank()
    buffer.moveToLineEnd()
    buffer.cutWordLeft()
    #expect(buffer.text == "one, \n ")
    for _ in 0..<20 { buffer.deleteForward() }
    for _ in 0..<20 { buffer.deleteBackward() }
    #expect(buffer.text == "" && buffer.cursor == 0)
    buffer.cutToBlank()
    buffer.cutWordLeft()
    buffer.cutWordRight()
    buffer.moveWordLeft()
    buffer.moveWordRight()
    #expect(buffer.text == "")
  }

  private func keys(_ text: String, inPieces: Bool) -> [TerminalKey] {
    var reader = TerminalKeyReader()
    var keys: [TerminalKey] = []
    for piece in inPieces ? text.utf8.map({ [$0] }) : [Array(text.utf8)] {
      reader.append(piece)
      while let key = reader.next(isLast: false) { keys.append(key) }
    }
    while let key = reader.next(isLast: true) { keys.append(key) }
    return keys
  }

  @Test("keys, however their bytes come", arguments: [false, true])
  func keysOfBytes(inPieces: Bool) {
    let cases: [(String, [TerminalKey])] = [
      ("\u{1B}[A\u{1B}OB\u{1B}[1;5C\u{1B}[3~", [.up, .down, .wordRight, .delete]),
      ("\r\n\u{7F}", [.enter, .enter, .backspace]),
      ("\u{1}\u{1B}b\u{1B}\r", [.control("a"), .alt("b"), .newline]), ("\u{1B}[12;7R", [.position(row: 12, column: 7)]),
      ("\u{1B}[200~a\r\nb\tc\u{1B}x\u{1B}[201~", [.paste("a\nb cx")]), ("\u{1B}[99x", [.unknown]),
      ("\u{1B}", [.escape]),
      ("\u{1B}[", [.unknown]),
    ]
    for (text, expected) in cases { #expect(keys(text, inPieces: inPieces) == expected) }
    let typed = keys("你a🎉", inPieces: inPieces).map { if case .text(let text) = $0 { text } else { "?" } }
    #expect(typed.joined() == "你a🎉")
  }

  @Test("any bytes become keys or wait, without a trap")
  func anyBytes() {
    var generator = SystemRandomNumberGenerator()
    let likely: [UInt8] = [0x1B, 0x5B, 0x4F, 0x7E, 0x32, 0x30, 0x31, 0x3B, 0xE4, 0xF0, 0x80, 0xFF, 0x0D, 0x41]
    for _ in 0..<5000 {
      var reader = TerminalKeyReader()
      reader.append((0..<12).map { _ in likely.randomElement(using: &generator)! })
      var count = 0
      while reader.next(isLast: true) != nil { count += 1 }
      #expect(count <= 12)
    }
  }

  @Test(
    "the place after a text",
    arguments: [
      ("> ab", 10, 0, 4), ("> 12345678", 10, 0, 10), ("> 123456789", 10, 1, 1), ("> 1234567你", 10, 1, 2),
      ("> a\nb", 10, 1, 1), ("> 👨‍👩‍👧🇯🇵", 10, 0, 6), ("你", 1, 0, 1),
    ])
  func places(text: String, width: Int, row: Int, column: Int) {
    #expect(LineScreen.place(after: text, width: width) == LineScreen.Place(row: row, column: column))
  }

  @Test("a window that changes lets nothing above be drawn over")
  func resizing() {
    var screen = LineScreen(width: 10)
    _ = screen.draw(prompt: "> ", before: "123456789012", after: "")
    #expect(screen.cursor == LineScreen.Place(row: 1, column: 4))
    screen.resize(to: 20)
    #expect(screen.cursor.row == 0)
    // The terminal has left the rows as they were.
    screen.found(column: 5)
    #expect(screen.cursor.row == 1)
    screen = LineScreen(width: 20)
    _ = screen.draw(prompt: "> ", before: "123456789012", after: "")
    screen.resize(to: 10)
    #expect(screen.cursor.row == 0)
    // It has wrapped the line.
    screen.found(column: 5)
    #expect(screen.cursor.row == 1)
  }

  @Test("the history keeps lines of several lines, and reads that of libedit")
  func history() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("minimind-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("history").path
    try "_HiStOrY_V2_\nwhat\\040is\\040this\na\\\\b\n".write(toFile: path, atomically: true, encoding: .utf8)
    var history = LineHistory(path: path, limit: 3)
    #expect(history.lines == ["what is this", "a\\b"])
    history.add("one\ntwo \\012 你")
    history.add("one\ntwo \\012 你")
    history.add("last")
    #expect(history.lines == ["a\\b", "one\ntwo \\012 你", "last"])
    #expect(LineHistory(path: path, limit: 3).lines == history.lines)
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
  }
}
