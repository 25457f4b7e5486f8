import Model

/// Full pages of earlier sequences, kept for sequences that begin with the same rows.
///
/// A page is known by what its rows took in, and by the page before it, all the way to the beginning. The least recently
/// used pages are evicted first, of a sequence its last ones.
struct PrefixCache {
  private struct Key: Hashable {
    /// The number of the entry before; 0 at the beginning. Numbers are never used again, so the entries that followed an
    /// evicted one become unreachable, and are evicted later like any other.
    var parent: Int
    var tokens: [Int32]
    /// The rows that do not come from the embedding table; of them the tokens say nothing.
    var embedded: [EmbeddedRows]
  }

  /// Consecutive rows of a page that come from a span: two that have the same digest and number have the same values.
  private struct EmbeddedRows: Hashable {
    var rowsOfPage: Range<Int>
    var firstRowOfSpan: Int
    var digest: String
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

  /// Gives an empty cache the pages that are kept of the beginning of `tokens`, though never all tokens: the last one
  /// has to be read for its logits.
  mutating func restore(_ tokens: [Int32], to cache: KeyValueCache) {
    var parent = 0
    while cache.count + pool.pageTokens < tokens.count {
      let rows = cache.count..<cache.count + pool.pageTokens
      guard let entry = entries[key(tokens[rows], cache.embedded, parent)] else { break }
      cache.share(page: entry.page, tokens: tokens[rows])
      parent = entry.number
    }
    touch(cache, pages: cache.count / pool.pageTokens)
  }

  /// Keeps the full pages of a sequence.
  mutating func keep(_ cache: KeyValueCache) {
    var parent = 0
    let pages = cache.count / pool.pageTokens
    for page in 0..<pages {
      let key = key(cache, page, parent)
      if let entry = entries[key] {
        parent = entry.number
      } else {
        lastNumber += 1
        pool.hold(cache.page(page))
        entries[key] = Entry(number: lastNumber, page: cache.page(page), lastUse: 0)
        parent = lastNumber
      }
    }
    touch(cache, pages: pages)
    // Some more than necessary, since all entries are looked through for it.
    if entries.count > limit { evict(entries.count - limit + limit / 8) }
  }

  /// Releases unused pages until the pool has `count` free ones, or none is left to release.
  ///
  /// Beyond half of the pool they also go before memory is touched that never was, so that only answers that are being
  /// written make it grow. Pages kept beside answers that large would be evicted before anything asks for them again.
  mutating func makeRoom(_ count: Int) {
    let growth = max(0, max(limit, pool.pageCount / 2) - pool.touchedCount)
    let untouched = pool.pageCount - pool.touchedCount
    let missing = count - (pool.freeCount - untouched + min(growth, untouched))
    // Some more than necessary, as above.
    if missing > 0 { evict(missing + limit / 8) }
  }

  private func key(_ cache: KeyValueCache, _ page: Int, _ parent: Int) -> Key {
    key(cache.tokens[page * pool.pageTokens..<(page + 1) * pool.pageTokens], cache.embedded, parent)
  }

  /// - Parameter tokens: of a page; their indices are positions in the sequence.
  private func key(_ tokens: ArraySlice<Int32>, _ spans: [EmbeddedSpan], _ parent: Int) -> Key {
    var key = Key(parent: parent, tokens: Array(tokens), embedded: [])
    for span in spans {
      let positions = span.rows.clamped(to: tokens.indices)
      guard !positions.isEmpty else { continue }
      key.embedded.append(
        EmbeddedRows(
          rowsOfPage: positions.lowerBound - tokens.startIndex..<positions.upperBound - tokens.startIndex,
          firstRowOfSpan: positions.lowerBound - span.rows.lowerBound, digest: span.digest))
      // The placeholders are not read, so they tell no pages apart.
      for position in positions { key.tokens[position - tokens.startIndex] = 0 }
    }
    return key
  }

  /// Marks the first pages of a sequence as used now, earlier ones as later: they are worth more.
  private mutating func touch(_ cache: KeyValueCache, pages: Int) {
    clock += pages
    var parent = 0
    for page in 0..<pages {
      let key = key(cache, page, parent)
      guard let entry = entries[key] else { return }
      entries[key]?.lastUse = clock - page
      parent = entry.number
    }
  }

  /// Releases the `count` least recently used pages, of those that no sequence uses.
  private mutating func evict(_ count: Int) {
    guard count > 0 else { return }
    let unused = entries.filter { pool.holderCount($0.value.page) == 1 }.sorted { $0.value.lastUse < $1.value.lastUse }
    for (key, entry) in unused.prefix(count) {
      pool.release(entry.page)
      entries[key] = nil
    }
  }
}
