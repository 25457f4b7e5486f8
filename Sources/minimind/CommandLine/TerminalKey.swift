/// What a person does at a terminal.
package enum TerminalKey: Equatable {
  /// Typed characters.
  case text(String)
  /// Pasted text, its lines ended by `\n`.
  case paste(String)
  /// A letter with Ctrl, or with Alt.
  case control(Character)
  case alt(Character)
  /// Enter, and Enter with Alt or Shift.
  case enter, newline
  case escape, backspace, delete, up, down, left, right, home, end, wordLeft, wordRight
  /// The terminal says where its cursor is, counted from 1.
  case position(row: Int, column: Int)
  /// A key that has no meaning here.
  case unknown
}

/// Makes keys from the bytes of a terminal, which may come in any pieces.
package struct TerminalKeyReader {
  private var bytes: [UInt8] = []

  package init() {}

  package mutating func append(_ new: some Sequence<UInt8>) { bytes += new }

  /// Whether bytes wait that are no whole key yet.
  package var isInsideKey: Bool { !bytes.isEmpty }

  /// The next key; nil until its bytes are complete.
  ///
  /// - Parameter isLast: nothing more comes at once, so an escape stands for itself.
  package mutating func next(isLast: Bool) -> TerminalKey? {
    guard let first = bytes.first else { return nil }
    switch first {
    case 0x1B: return escape(isLast: isLast)
    case 0x0D, 0x0A: return take(1, .enter)
    case 0x7F, 0x08: return take(1, .backspace)
    case 0..<0x20: return take(1, .control(Character(Unicode.Scalar(first + 0x60))))
    default: return text(isLast: isLast)
    }
  }

  private mutating func take(_ count: Int, _ key: TerminalKey) -> TerminalKey {
    bytes.removeFirst(count)
    return key
  }

  /// As many whole characters as there are. An incomplete one waits for its rest.
  private mutating func text(isLast: Bool) -> TerminalKey? {
    var end = bytes.firstIndex { $0 < 0x20 || $0 == 0x7F } ?? bytes.count
    if end == bytes.count, !isLast {
      // The first byte of a character says how many there are.
      let tail = bytes.suffix(4)
      if let lead = tail.lastIndex(where: { $0 & 0xC0 != 0x80 }), bytes.count - lead < Self.length(bytes[lead]) {
        end = lead
      }
    }
    guard end > 0 else { return nil }
    let text = String(decoding: bytes[..<end], as: UTF8.self)
    bytes.removeFirst(end)
    return .text(text)
  }

  private static func length(_ lead: UInt8) -> Int {
    switch lead {
    case 0xF0...: 4
    case 0xE0...: 3
    case 0xC0...: 2
    default: 1
    }
  }

  private static let pasteEnd = Array("\u{1B}[201~".utf8)

  private mutating func escape(isLast: Bool) -> TerminalKey? {
    guard bytes.count > 1 else { return isLast ? take(1, .escape) : nil }
    switch bytes[1] {
    case UInt8(ascii: "["), UInt8(ascii: "O"): return sequence(isLast: isLast)
    case 0x0D, 0x0A: return take(2, .newline)
    case 0x7F, 0x08: return take(2, .control("w"))
    case 0x20..<0x7F: return take(2, .alt(Character(Unicode.Scalar(bytes[1]))))
    default: return take(1, .escape)
    }
  }

  /// `ESC [ numbers final`, or `ESC O final`.
  private mutating func sequence(isLast: Bool) -> TerminalKey? {
    guard let end = bytes[2...].firstIndex(where: { 0x40..<0x7F ~= $0 }) else {
      return isLast || bytes.count > 32 ? take(bytes.count, .unknown) : nil
    }
    let numbers = String(decoding: bytes[2..<end], as: UTF8.self).split(separator: ";").map { Int($0) ?? 0 }
    // With Ctrl or Alt an arrow goes over a word.
    let isModified = numbers.count > 1 && numbers[1] > 2
    switch (bytes[end], numbers.first) {
    case (UInt8(ascii: "~"), 200): return paste(from: end + 1)
    case (UInt8(ascii: "A"), _): return take(end + 1, .up)
    case (UInt8(ascii: "B"), _): return take(end + 1, .down)
    case (UInt8(ascii: "C"), _): return take(end + 1, isModified ? .wordRight : .right)
    case (UInt8(ascii: "D"), _): return take(end + 1, isModified ? .wordLeft : .left)
    case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), 1), (UInt8(ascii: "~"), 7): return take(end + 1, .home)
    case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), 4), (UInt8(ascii: "~"), 8): return take(end + 1, .end)
    case (UInt8(ascii: "~"), 3): return take(end + 1, .delete)
    case (UInt8(ascii: "u"), 13): return take(end + 1, .newline)
    case (UInt8(ascii: "R"), let row?) where numbers.count == 2:
      return take(end + 1, .position(row: row, column: numbers[1]))
    default: return take(end + 1, .unknown)
    }
  }

  private mutating func paste(from start: Int) -> TerminalKey? {
    guard let end = bytes[start...].firstRange(of: Self.pasteEnd) else { return nil }
    let text = String(decoding: bytes[start..<end.lowerBound], as: UTF8.self)
    bytes.removeFirst(end.upperBound)
    // Control characters would move the cursor, and an escape more than that.
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).joined(separator: "\n")
    return .paste(
      String(
        String.UnicodeScalarView(
          lines.unicodeScalars.compactMap { scalar in
            scalar == "\t" ? " " : scalar != "\n" && scalar.properties.generalCategory == .control ? nil : scalar
          })))
  }
}
