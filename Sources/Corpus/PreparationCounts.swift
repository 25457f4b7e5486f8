/// What became of the rows of a preparation, or of a part of it.
struct PreparationCounts: Codable {
  var rowsRead = 0
  var rowsKept = 0
  /// By `DropReason` and `RowChange`.
  var dropped: [String: Int] = [:]
  var changed: [String: Int] = [:]
  var broken = BrokenRows()
  /// Fields of rows that are kept which nothing reads, by name.
  var unused = Tally<String>()
  /// Of all documents, the upper half.
  var smallestDigest = UInt64.max

  mutating func drop(_ reason: DropReason) { dropped[reason.rawValue, default: 0] += 1 }
  mutating func change(_ change: RowChange) { changed[change.rawValue, default: 0] += 1 }

  /// Corrects the lines of rows that were counted from the start of their block.
  mutating func place(inBlock block: Int, afterLines lines: Int) {
    broken.place(inBlock: block, afterLines: lines)
    unused.place(inBlock: block, afterLines: lines)
  }

  /// Adds those of the part that follows.
  mutating func add(_ next: PreparationCounts) {
    rowsRead += next.rowsRead
    rowsKept += next.rowsKept
    dropped.merge(next.dropped, uniquingKeysWith: +)
    changed.merge(next.changed, uniquingKeysWith: +)
    broken.add(next.broken)
    unused.add(next.unused)
    smallestDigest = min(smallestDigest, next.smallestDigest)
  }
}
