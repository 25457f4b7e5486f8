/// GPT-2's split pattern, by hand, over well-formed UTF-8:
///
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
///
/// A word is: an English contraction; or an optional space and a run of letters, of numbers, or of what is
/// neither these nor space; or a run of spaces, less its last one where something follows that run.
/// (The last space is given back because the lookahead `(?!\S)` makes the expression step back by one.)
///
/// Sendable: the pointer is to a table that never changes and is never freed.
struct WordScanner: @unchecked Sendable {
  private let table = UnicodeClassTable.shared
  private let leadByteClass = UnicodeClassTable.shared.leadByteClass

  /// The end of the word that starts at `start`.
  ///
  /// - Parameters:
  ///   - text: well-formed UTF-8; must have `end` bytes.
  ///   - start: offset of the word's first byte, below `end`.
  @inline(__always)
  func endOfWord(_ text: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Int {
    let first = text[start]
    if first == 0x27, let contraction = endOfContraction(text, from: start, to: end) { return contraction }
    var position = start
    if first == 0x20 {
      position += 1
      if position == end { return end }
    }
    var length = 1
    switch classify(text, position, &length) {
    case UnicodeClass.letter: return endOfLetters(text, from: position + length, to: end)
    case UnicodeClass.number: return endOfRun(of: UnicodeClass.number, text, from: position + length, to: end)
    case UnicodeClass.other: return endOfRun(of: UnicodeClass.other, text, from: position + length, to: end)
    default: return endOfSpaces(text, from: start, to: end)
    }
  }

  /// The class of the character at `position`, and its length in bytes.
  @inline(__always)
  private func classify(_ text: UnsafePointer<UInt8>, _ position: Int, _ length: inout Int) -> UInt8 {
    let lead = leadByteClass[Int(text[position])]
    if lead <= UnicodeClass.space {
      length = 1
      return lead
    }
    if lead == UnicodeClassTable.ideographLead {
      length = 3
      return UnicodeClass.letter
    }
    return classifyDecoding(text, position, &length)
  }

  private func classifyDecoding(_ text: UnsafePointer<UInt8>, _ position: Int, _ length: inout Int) -> UInt8 {
    let first = UInt32(text[position])
    func next(_ i: Int) -> UInt32 { UInt32(text[position + i] & 0x3F) }
    if first < 0xE0 {
      length = 2
      return table.classOf((first & 0x1F) << 6 | next(1))
    }
    if first < 0xF0 {
      length = 3
      return table.classOf((first & 0x0F) << 12 | next(1) << 6 | next(2))
    }
    length = 4
    return table.classOf((first & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3))
  }

  @inline(__always)
  private func endOfLetters(_ text: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Int {
    var position = start
    while position < end {
      let lead = leadByteClass[Int(text[position])]
      if lead == UnicodeClass.letter {
        position += 1
      } else if lead == UnicodeClassTable.ideographLead {
        position += 3
      } else {
        var length = 1
        guard lead == UnicodeClassTable.undecided, classifyDecoding(text, position, &length) == UnicodeClass.letter
        else { return position }
        position += length
      }
    }
    return position
  }

  private func endOfRun(of wanted: UInt8, _ text: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Int {
    var position = start
    var length = 1
    while position < end, classify(text, position, &length) == wanted { position += length }
    return position
  }

  private func endOfSpaces(_ text: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Int {
    var position = start
    var last = start
    var length = 1
    while position < end, classify(text, position, &length) == UnicodeClass.space {
      last = position
      position += length
    }
    return position == end || last == start ? position : last
  }

  private func endOfContraction(_ text: UnsafePointer<UInt8>, from start: Int, to end: Int) -> Int? {
    guard start + 1 < end else { return nil }
    let first = text[start + 1]
    switch first {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
    default: break
    }
    guard start + 2 < end else { return nil }
    switch (first, text[start + 2]) {
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return start + 3
    default: return nil
    }
  }
}
