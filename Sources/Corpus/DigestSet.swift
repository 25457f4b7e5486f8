/// A set of digests, for finding exact duplicates: 106 of each digest's bits are kept.
///
/// Open addressing in 1024 tables that grow by a quarter at a time, so that growing never needs a second copy of the
/// whole. Memory: 12 bytes an entry at a load of 70 to 87 percent, so 14 to 17 bytes a distinct document: 10 GB of
/// documents of 200 bytes are 50 million, about 0.8 GB. The chance that any two of them are confused is below 1e-16.
struct DigestSet {
  private struct Table {
    var low: [UInt64] = []
    var high: [UInt32] = []
    var count = 0
  }
  private var tables = [Table](repeating: Table(), count: 1024)
  private(set) var count = 0

  /// Adds a digest; false when it was there.
  mutating func insert(_ digest: Digest) -> Bool {
    let index = Int(digest.high >> 54)
    // An empty slot is zero in both parts, so no stored digest may be.
    let high = UInt32(truncatingIfNeeded: digest.high)
    let low = digest.low == 0 && high == 0 ? 1 : digest.low
    if tables[index].count * 8 >= tables[index].low.count * 7 { grow(index) }
    let isNew = Self.place(low, high, &tables[index])
    if isNew { count += 1 }
    return isNew
  }

  private static func place(_ low: UInt64, _ high: UInt32, _ table: inout Table) -> Bool {
    let capacity = table.low.count
    var slot = Int(low.multipliedFullWidth(by: UInt64(capacity)).high)
    while table.low[slot] != 0 || table.high[slot] != 0 {
      if table.low[slot] == low && table.high[slot] == high { return false }
      slot += 1
      if slot == capacity { slot = 0 }
    }
    table.low[slot] = low
    table.high[slot] = high
    table.count += 1
    return true
  }

  private mutating func grow(_ index: Int) {
    let old = tables[index]
    tables[index] = Table()
    let capacity = max(16, old.low.count + old.low.count / 4)
    var larger = Table(
      low: [UInt64](repeating: 0, count: capacity), high: [UInt32](repeating: 0, count: capacity), count: 0)
    for slot in old.low.indices where old.low[slot] != 0 || old.high[slot] != 0 {
      _ = Self.place(old.low[slot], old.high[slot], &larger)
    }
    tables[index] = larger
  }
}

/// The first 128 bits of a SHA-256.
struct Digest: Equatable {
  var low: UInt64
  var high: UInt64
}
