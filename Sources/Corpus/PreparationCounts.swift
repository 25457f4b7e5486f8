/// What became of the rows of a preparation, or of a part of it.
struct PreparationCounts: Codable {
  var rowsRead = 0
  var rowsKept = 0
  /// By `DropReason` and `RowChange`.
  var dropped: [String: Int] = [:]
  var changed: [String: Int] = [:]
  var broken = BrokenRows()

  mutating func drop(_ reason: DropReason) { dropped[reason.rawValue, default: 0] += 1 }
  mutating func change(_ change: RowChange) { changed[change.rawValue, default: 0] += 1 }

  /// Adds those of the part that follows.
  mutating func add(_ next: PreparationCounts) {
    rowsRead += next.rowsRead
    rowsKept += next.rowsKept
    dropped.merge(next.dropped, uniquingKeysWith: +)
    changed.merge(next.changed, uniquingKeysWith: +)
    broken.add(next.broken)
  }
}
