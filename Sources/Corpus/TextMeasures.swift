/// Characters of valid UTF-8, counted as Python's `len` does: Unicode scalars.
package func characterCount(_ text: UnsafeRawBufferPointer) -> Int {
  var count = 0
  for byte in text where byte & 0xC0 != 0x80 { count += 1 }
  return count
}

package func characterCount(_ text: String) -> Int {
  var text = text
  return text.withUTF8 { characterCount(UnsafeRawBufferPointer($0)) }
}

/// The share of CJK ideographs (U+4E00 to U+9FFF, what v1 counts) among the characters of `text`; 0 for no text.
package func cjkShare(_ text: String) -> Double {
  var ideographs = 0
  var total = 0
  for scalar in text.unicodeScalars {
    total += 1
    if (0x4E00...0x9FFF).contains(scalar.value) { ideographs += 1 }
  }
  return total == 0 ? 0 : Double(ideographs) / Double(total)
}

/// Cuts a text into pieces of at most `maximumCharacters`, where possible after a line, a sentence or a word.
///
/// The pieces together are the whole text. A cut falls into the second half of a piece, so pieces stay long.
package func splitText(_ text: UnsafeRawBufferPointer, maximumCharacters: Int) -> [Range<Int>] {
  precondition(maximumCharacters > 0, "pieces of \(maximumCharacters) characters")
  var pieces: [Range<Int>] = []
  var start = 0
  while start < text.count {
    var position = start
    var characters = 0
    // The best cut so far of each kind: line, sentence, word.
    var cuts = [0, 0, 0]
    while position < text.count && characters < maximumCharacters {
      let byte = text[position]
      let length = utf8Length(byte)
      let end = min(position + length, text.count)
      characters += 1
      if characters * 2 >= maximumCharacters {
        if byte == .newline {
          cuts[0] = end
        } else if isSentenceEnd(text, position) {
          cuts[1] = end
        } else if byte == 0x20 {
          cuts[2] = end
        }
      }
      position = end
    }
    let end = position == text.count ? position : cuts.first { $0 > 0 } ?? position
    pieces.append(start..<end)
    start = end
  }
  return pieces
}

private func utf8Length(_ first: UInt8) -> Int { first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4 }

/// A full stop, question or exclamation mark: 。！？, or .!? before a space.
private func isSentenceEnd(_ text: UnsafeRawBufferPointer, _ position: Int) -> Bool {
  let rest = text[position...]
  if rest.starts(with: [0xE3, 0x80, 0x82]) || rest.starts(with: [0xEF, 0xBC, 0x81])
    || rest.starts(with: [0xEF, 0xBC, 0x9F])
  {
    return true
  }
  let byte = text[position]
  return (byte == 0x2E || byte == 0x21 || byte == 0x3F) && position + 1 < text.count && text[position + 1] == 0x20
}
