import Compute

/// Full pages of sequences that have been, kept for sequences that begin with the same tokens.
///
/// A page is known by its tokens and by the page before it, all the way to the beginning. The pages that were used
/// longest ago go first, of a sequence the last ones.
struct PrefixCache {
  private struct Key: Hashable {
    /// The number of the entry before; 0 at the beginning. Numbers are never used again, so what followed an entry that
    /// is gone cannot be found any more, and goes in its time.
    var parent: Int
    var tokens: [Int32]
  }

  private struct Entry {
    var number: Int
    var page: Int32
    var lastUse: Int
  }

  private let pool: KeyValuePool
  /// The most pages that are kept.
  private let limit: Int
  private var entries: [Key: Entry] = [:]
  private var lastNumber = 0
  private var clock = 0

  init(_ pool: KeyValuePool, limit: Int) {
    self.pool = pool
    self.limit = limit
  }

  /// Pages that no sequence uses at the moment.
  var unusedCount: Int { entries.values.reduce(0) { $0 + (pool.holderCount($1.page) == 1 ? 1 : 0) } }

  /// Gives an empty cache the pages that are known of the beginning of `tokens`, though never all tokens: the last one
  /// has to be read for its logits.
  mutating func restore(_ tokens: [Int32], to cache: KeyValueCache) {
    var parent = 0
    while cache.count + PageShape.length < tokens.count {
      let next = tokens[cache.count..<cache.count + PageShape.length]
      let key = Key(parent: parent, tokens: Array(next))
      guard let entry = entries[key] else { break }
      cache.share(page: entry.page, tokens: next)
      parent = entry.number
    }
    touch(cache.tokens, pages: cache.count / PageShape.length)
  }

  /// Keeps the full pages of a sequence.
  mutating func keep(_ cache: KeyValueCache) {
    var parent = 0
    let pages = cache.count / PageShape.length
    for page in 0..<pages {
      let key = key(cache.tokens, page, parent)
      if let entry = entries[key] {
        parent = entry.number
      } else {
        lastNumber += 1
        pool.hold(cache.page(page))
        entries[key] = Entry(number: lastNumber, page: cache.page(page), lastUse: 0)
        parent = lastNumber
      }
    }
    touch(cache.tokens, pages: pages)
    // Some more than have to go, since all are looked through for it.
    if entries.count > limit { drop(entries.count - limit + limit / 8) }
  }

  /// Gives back unused pages until the pool has `count` free ones, or none is left to give.
  mutating func makeRoom(_ count: Int) { drop(count - pool.freeCount) }

  /// Forgets everything.
  mutating func removeAll() {
    for entry in entries.values { pool.release(entry.page) }
    entries = [:]
  }

  private func key(_ tokens: [Int32], _ page: Int, _ parent: Int) -> Key {
    Key(parent: parent, tokens: Array(tokens[page * PageShape.length..<(page + 1) * PageShape.length]))
  }

  /// Marks the first pages of a sequence as used now, earlier ones as later: they are worth more.
  private mutating func touch(_ tokens: [Int32], pages: Int) {
    clock += pages
    var parent = 0
    for page in 0..<pages {
      let key = key(tokens, page, parent)
      guard let entry = entries[key] else { return }
      entries[key]?.lastUse = clock - page
      parent = entry.number
    }
  }

  /// Gives back the `count` pages that were used longest ago, of those that no sequence uses.
  private mutating func drop(_ count: Int) {
    guard count > 0 else { return }
    let unused = entries.filter { pool.holderCount($0.value.page) == 1 }.sorted { $0.value.lastUse < $1.value.lastUse }
    for (key, entry) in unused.prefix(count) {
      pool.release(entry.page)
      entries[key] = nil
    }
  }
}
