/// A set of digests, for finding duplicates: 76 of each digest's bits are kept.
///
/// Open addressing in 4096 tables that grow by a quarter at a time, so that growing never needs a second copy of the
/// whole. Memory: 8 bytes an entry at a load of 70 to 87.5 percent, so 9.2 to 11.5 bytes an entry and less than a
/// megabyte in addition. Fifty million digests are half a gigabyte, and the chance that any two of them are confused is 2e-8.
package struct DigestSet {
  private var tables = [[UInt64]](repeating: [], count: 4096)
  private var counts = [Int32](repeating: 0, count: 4096)
  package private(set) var count = 0

  /// Bytes of all tables' slots.
  package private(set) var slotBytes = 0

  package init() {}

  /// Adds a digest; false when it was there.
  package mutating func insert(_ digest: Digest) -> Bool {
    let index = Int(digest.high >> 52)
    // An empty slot is zero, so no stored digest may be.
    let value = max(1, digest.low)
    if Int(counts[index]) * 8 >= tables[index].count * 7 { grow(index) }
    guard Self.place(value, &tables[index]) else { return false }
    counts[index] += 1
    count += 1
    return true
  }

  private static func place(_ value: UInt64, _ table: inout [UInt64]) -> Bool {
    var slot = Int(value.multipliedFullWidth(by: UInt64(table.count)).high)
    while table[slot] != 0 {
      if table[slot] == value { return false }
      slot += 1
      if slot == table.count { slot = 0 }
    }
    table[slot] = value
    return true
  }

  private mutating func grow(_ index: Int) {
    let old = tables[index]
    tables[index] = []
    var larger = [UInt64](repeating: 0, count: max(16, old.count + old.count / 4))
    for value in old where value != 0 { _ = Self.place(value, &larger) }
    slotBytes += (larger.count - old.count) * 8
    tables[index] = larger
  }
}

/// The first 128 bits of a SHA-256, or a hash of as many.
package struct Digest: Equatable, Sendable {
  package var low: UInt64
  package var high: UInt64

  package init(low: UInt64, high: UInt64) { (self.low, self.high) = (low, high) }

  /// Which of `count` processes keeps this digest: by bits that `DigestSet` does not use.
  package func owner(among count: Int) -> Int { Int((UInt64(UInt32(truncatingIfNeeded: high)) * UInt64(count)) >> 32) }
}
