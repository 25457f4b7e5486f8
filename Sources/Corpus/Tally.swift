/// Counts of what rows have in common, each with the first row of its kind.
///
/// Of very many kinds those are kept whose keys come first in their order. Such a key is never left out of any part, so the
/// counts are the same in whatever order parts are added, and memory is bounded whatever the rows hold.
struct Tally<Key: Hashable & Comparable & Codable & Sendable>: Codable, Sendable, Equatable {
  /// Where a row is, and what is to be shown of it.
  struct Example: Codable, Sendable, Equatable {
    var file: String
    var line: Int
    var text: String
    /// The block of the input that it is in.
    var block = 0
  }

  struct Entry: Codable, Sendable, Equatable {
    var count: Int
    var first: Example
  }

  private static var mostKeys: Int { 256 }

  private(set) var entries: [Key: Entry] = [:]
  /// Of all keys, those that are not kept as well.
  private(set) var count = 0

  mutating func add(_ key: Key, count: Int = 1, _ example: @autoclosure () -> Example) {
    self.count += count
    if (entries[key]?.count += count) != nil { return }
    entries[key] = Entry(count: count, first: example())
    trim(to: 2 * Self.mostKeys)
  }

  /// Adds those of other blocks.
  mutating func add(_ other: Tally) {
    count += other.count
    for (key, entry) in other.entries {
      guard let known = entries[key] else {
        entries[key] = entry
        continue
      }
      let isEarlier = (entry.first.block, entry.first.line) < (known.first.block, known.first.line)
      entries[key] = Entry(count: known.count + entry.count, first: isEarlier ? entry.first : known.first)
    }
    trim(to: Self.mostKeys)
  }

  private mutating func trim(to limit: Int) {
    guard entries.count > limit else { return }
    for key in entries.keys.sorted().dropFirst(Self.mostKeys) { entries[key] = nil }
  }

  /// Corrects the lines of rows that were counted from the start of their block.
  mutating func place(inBlock block: Int, afterLines lines: Int) {
    for key in entries.keys {
      entries[key]!.first.block = block
      entries[key]!.first.line += lines
    }
  }

  /// The commonest first; equally common ones in the order of their first rows.
  var sorted: [(key: Key, entry: Entry)] {
    var kept = self
    kept.trim(to: Self.mostKeys)
    return kept.entries.sorted {
      ($1.value.count, $0.value.first.block, $0.value.first.line, $0.key)
        < ($0.value.count, $1.value.first.block, $1.value.first.line, $1.key)
    }.map { (key: $0.key, entry: $0.value) }
  }
}
