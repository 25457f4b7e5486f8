import Model

/// A weight of a file whose format names and arranges weights in its own way, and what it is in this program.
struct ForeignWeight {
  /// The name in the file.
  var name: String
  /// The shape in the file: that of the one entry, or [entries, rows, columns] of several.
  var shape: [Int]
  /// The weights of this program that lie in it one after the other.
  var entries: [ParameterEntry]
  /// Whether its rows are in the order of adjacent pairs; see `RotaryRows`.
  var hasAdjacentPairs = false

  /// Elements of the weight.
  var count: Int { entries.reduce(0) { $0 + $1.count } }
}

extension ForeignWeight {
  /// - Parameter adjacentPairs: whether the format has the rows that rotary embedding turns in that order.
  init(_ name: String, _ entry: ParameterEntry, adjacentPairs: Bool) {
    self.init(
      name: name, shape: entry.shape, entries: [entry], hasAdjacentPairs: adjacentPairs && entry.role.isRotated)
  }
}

extension Parameters {
  /// Calls `body` with the values of a weight as its file has them. The memory is valid within the call only.
  func withValues<Result>(
    of weight: ForeignWeight, _ body: (UnsafeBufferPointer<Float>) throws -> Result
  ) rethrows -> Result {
    if weight.entries.count == 1 && !weight.hasAdjacentPairs {
      return try withExtendedLifetime(self) {
        try body(UnsafeBufferPointer(start: values + weight.entries[0].offset, count: weight.entries[0].count))
      }
    }
    var copy = weight.entries.flatMap { entry in
      withExtendedLifetime(self) { Array(UnsafeBufferPointer(start: values + entry.offset, count: entry.count)) }
    }
    return try copy.withUnsafeMutableBufferPointer { copy in
      if weight.hasAdjacentPairs {
        RotaryRows.interleave(
          copy.baseAddress!, rows: weight.shape[0], columns: weight.shape.count > 1 ? weight.shape[1] : 1,
          headSize: configuration.headSize)
      }
      return try body(UnsafeBufferPointer(copy))
    }
  }
}
