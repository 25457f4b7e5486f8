/// How often each distinct word occurs. Memory grows with the distinct words: their bytes once, and about
/// 40 bytes each.
struct WordCounts {
  struct Entry {
    /// Where the word's bytes begin in `bytes`.
    let start: Int
    let length: UInt32
    let hash: UInt32
    var count: Int
  }

  private(set) var entries: [Entry] = []
  private(set) var bytes: [UInt8] = []
  /// Open addressing: an index into `entries` plus one, 0 where free; never more than half full.
  private var slots = [UInt32](repeating: 0, count: 1 << 12)

  /// Counts a word.
  ///
  /// - Parameter length: from 1 to 2^32 - 1 bytes.
  mutating func add(_ word: UnsafePointer<UInt8>, length: Int, count: Int = 1) {
    let hash = Self.hash(word, length)
    let mask = slots.count - 1
    var slot = Int(hash) & mask
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if entries[index].hash == hash, Int(entries[index].length) == length, matches(entries[index].start, word, length)
      {
        entries[index].count += count
        return
      }
      slot = (slot + 1) & mask
    }
    entries.append(Entry(start: bytes.count, length: UInt32(length), hash: hash, count: count))
    bytes.append(contentsOf: UnsafeBufferPointer(start: word, count: length))
    slots[slot] = UInt32(entries.count)
    if entries.count * 2 > slots.count { grow() }
  }

  /// Adds all counts of `other`.
  mutating func merge(_ other: WordCounts) {
    other.bytes.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return }
      for entry in other.entries { add(base + entry.start, length: Int(entry.length), count: entry.count) }
    }
  }

  private func matches(_ start: Int, _ word: UnsafePointer<UInt8>, _ length: Int) -> Bool {
    bytes.withUnsafeBufferPointer { bytes in
      for i in 0..<length where bytes[start + i] != word[i] { return false }
      return true
    }
  }

  private mutating func grow() {
    precondition(entries.count < 1 << 30, "more than a thousand million distinct words")
    slots = [UInt32](repeating: 0, count: 2 * slots.count)
    let mask = slots.count - 1
    for (index, entry) in entries.enumerated() {
      var slot = Int(entry.hash) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = UInt32(index + 1)
    }
  }

  @inline(__always)
  private static func hash(_ word: UnsafePointer<UInt8>, _ length: Int) -> UInt32 {
    var hash = UInt64(truncatingIfNeeded: length) &* 0x9E37_79B9_7F4A_7C15
    var position = 0
    while position + 8 <= length {
      let part = UnsafeRawPointer(word + position).loadUnaligned(as: UInt64.self)
      hash = (hash ^ part) &* 0xC2B2_AE3D_27D4_EB4F
      hash ^= hash >> 29
      position += 8
    }
    var rest: UInt64 = 0
    while position < length {
      rest = rest << 8 | UInt64(word[position])
      position += 1
    }
    hash = (hash ^ rest) &* 0xC2B2_AE3D_27D4_EB4F
    return UInt32(truncatingIfNeeded: hash >> 32)
  }
}
