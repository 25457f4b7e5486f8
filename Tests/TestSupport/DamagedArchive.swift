/// Where the central directory's entry `index` begins in a zip archive without a comment; nil when there is none.
package func offset(ofCentralEntry index: Int, in archive: [UInt8]) -> Int? {
  func number(_ offset: Int, _ count: Int) -> Int {
    (0..<count).reduce(0) { $0 | Int(archive[offset + $1]) << (8 * $1) }
  }
  guard archive.count >= 22 else { return nil }
  var offset = number(archive.count - 22 + 16, 4)
  for _ in 0..<index { offset += 46 + number(offset + 28, 2) + number(offset + 30, 2) + number(offset + 32, 2) }
  return offset
}

/// A copy of a zip archive, whose first entry is stored, with some bytes of that entry changed and its checksum right.
package func withDamagedPickle(_ archive: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
  var result = archive
  guard let central = offset(ofCentralEntry: 0, in: archive) else { return result }
  let nameCount = Int(archive[26]) | Int(archive[27]) << 8
  let extraCount = Int(archive[28]) | Int(archive[29]) << 8
  let count = (0..<4).reduce(0) { $0 | Int(archive[central + 24 + $1]) << (8 * $1) }
  let content = 30 + nameCount + extraCount..<30 + nameCount + extraCount + count
  for _ in 0..<Int.random(in: 1...4, using: &generator) {
    result[Int.random(in: content, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
  }
  let checksum = crc32(result[content])
  for i in 0..<4 {
    result[14 + i] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(i)))
    result[central + 16 + i] = result[14 + i]
  }
  return result
}

/// The checksum of zip archives.
private func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
  ~bytes.reduce(~0) { sum, byte in
    (0..<8).reduce(sum ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
  }
}
