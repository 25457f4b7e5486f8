/// Counts of pairs of neighbouring tokens, each pair numbered in the order of its first appearance.
struct PairCounts {
  private(set) var keys: [UInt64] = []
  var counts: [Int] = []
  /// Pairs with places that are not yet in the heap, and those places: see `PlaceLists`.
  var withNewPlaces: [Int] = []
  fileprivate var newPlaces: [UInt32] = []

  /// Open addressing: the key and a pair's number; `freeKey` where free; never more than half full.
  private var slots = [Slot](repeating: Slot(key: freeKey, pair: 0), count: 1 << 12)
  private struct Slot {
    var key: UInt64
    var pair: UInt32
  }
  private static let freeKey = UInt64.max

  static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }
  static func left(_ key: UInt64) -> Int32 { Int32(truncatingIfNeeded: key >> 32) }
  static func right(_ key: UInt64) -> Int32 { Int32(truncatingIfNeeded: key) }

  /// The number of the pair, which is new with a count of 0 when it was never seen.
  @inline(__always)
  mutating func index(of key: UInt64) -> Int {
    let mask = slots.count - 1
    var slot = Self.home(key) & mask
    while slots[slot].key != Self.freeKey {
      if slots[slot].key == key { return Int(slots[slot].pair) }
      slot = (slot + 1) & mask
    }
    return insert(key, at: slot)
  }

  private mutating func insert(_ key: UInt64, at slot: Int) -> Int {
    let pair = keys.count
    keys.append(key)
    counts.append(0)
    newPlaces.append(PlaceLists.end)
    slots[slot] = Slot(key: key, pair: UInt32(pair))
    if keys.count * 2 > slots.count {
      let mask = 2 * slots.count - 1
      slots = [Slot](repeating: Slot(key: Self.freeKey, pair: 0), count: mask + 1)
      for (pair, key) in keys.enumerated() {
        var slot = Self.home(key) & mask
        while slots[slot].key != Self.freeKey { slot = (slot + 1) & mask }
        slots[slot] = Slot(key: key, pair: UInt32(pair))
      }
    }
    return pair
  }

  @inline(__always)
  private static func home(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32)
  }

  mutating func takeNewPlaces(of pair: Int) -> UInt32 {
    defer { newPlaces[pair] = PlaceLists.end }
    return newPlaces[pair]
  }
}

/// Linked lists of the words in which a pair occurs; links that are no longer needed are used again.
struct PlaceLists {
  static let end = UInt32.max
  private struct Link {
    var word: UInt32
    var next: UInt32
  }
  private var links: [Link] = []
  private var firstFree = end

  /// Notes a word for a pair, once: calls for one word follow one another.
  @inline(__always)
  mutating func add(_ word: UInt32, to pair: Int, of pairs: inout PairCounts) {
    let head = pairs.newPlaces[pair]
    if head == Self.end {
      pairs.withNewPlaces.append(pair)
    } else if links[Int(head)].word == word {
      return
    }
    if firstFree == Self.end {
      precondition(links.count < Int(UInt32.max), "more than 2^32 places of pairs")
      pairs.newPlaces[pair] = UInt32(links.count)
      links.append(Link(word: word, next: head))
    } else {
      pairs.newPlaces[pair] = firstFree
      let following = links[Int(firstFree)].next
      links[Int(firstFree)] = Link(word: word, next: head)
      firstFree = following
    }
  }

  func word(at place: UInt32) -> UInt32 { links[Int(place)].word }

  /// Frees the first link of a list and returns the next.
  mutating func removeFirst(_ place: UInt32) -> UInt32 {
    let next = links[Int(place)].next
    links[Int(place)].next = firstFree
    firstFree = place
    return next
  }

  mutating func free(_ list: UInt32) {
    var place = list
    while place != Self.end { place = removeFirst(place) }
  }
}

/// A candidate merge. The one with the highest count comes first, on a tie the one with the lowest pair of ids.
struct MergeCandidate: Comparable {
  let count: Int
  /// The two ids, left before right.
  let key: UInt64
  /// The pair's number in `PairCounts`.
  let pair: Int
  let places: UInt32

  static func < (left: MergeCandidate, right: MergeCandidate) -> Bool {
    left.count != right.count ? left.count > right.count : left.key < right.key
  }
}
