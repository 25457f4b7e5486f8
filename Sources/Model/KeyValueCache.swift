/// The tokens of one sequence that a model has read, and the pages that hold their keys and values: what later tokens
/// need of earlier ones.
package final class KeyValueCache {
  package let pool: KeyValuePool
  /// The most tokens that fit.
  package let capacity: Int
  /// The tokens whose keys and values are in the cache.
  package private(set) var tokens: [Int32] = []
  /// The rows of the sequence, read or to be read, that do not come from the embedding table; in the order of positions.
  package let embedded: [EmbeddedSpan]
  /// [pages of the capacity] the numbers of the pages, of which `pageCount` are there.
  private let pages: UnsafeMutablePointer<Int32>
  package private(set) var pageCount = 0

  /// An empty cache.
  ///
  /// - Parameters:
  ///   - capacity: the most tokens of the sequence.
  ///   - embedded: spans that do not overlap, in the order of positions.
  package init(_ pool: KeyValuePool, capacity: Int, embedded: [EmbeddedSpan] = []) {
    precondition(capacity > 0, "a cache for \(capacity) tokens")
    precondition(
      zip(embedded, embedded.dropFirst()).allSatisfy { $0.rows.upperBound <= $1.rows.lowerBound }
        && embedded.first?.rows.lowerBound ?? 0 >= 0 && embedded.last?.rows.upperBound ?? 0 <= capacity,
      "embedded rows that overlap or do not fit")
    self.pool = pool
    self.capacity = capacity
    self.embedded = embedded
    pages = .allocate(capacity: pool.pages(capacity))
  }

  deinit {
    releasePages(from: 0)
    pages.deallocate()
  }

  package var count: Int { tokens.count }
  /// Tokens that can still be added.
  package var room: Int { capacity - count }

  /// The numbers of the pages in their order, `pageCount` of them; valid while this object lives and until pages are
  /// reserved or released.
  package var pageTable: UnsafePointer<Int32> { UnsafePointer(pages) }

  /// The number of a page.
  package func page(_ index: Int) -> Int32 {
    precondition(index < pageCount, "page \(index) of \(pageCount)")
    return pages[index]
  }

  /// Begins with a page that another sequence has filled with the next rows.
  package func share(page: Int32, tokens shared: some Collection<Int32>) {
    precondition(count % pool.pageTokens == 0 && shared.count == pool.pageTokens && room >= shared.count)
    pool.hold(page)
    pages[pageCount] = page
    pageCount += 1
    tokens.append(contentsOf: shared)
  }

  /// Pages that are missing for `more` tokens.
  package func missingPages(for more: Int) -> Int { pool.pages(count + more) - pageCount }

  /// Allocates the pages for `more` tokens.
  ///
  /// - Precondition: the pool has as many free pages as are missing.
  package func reserve(_ more: Int) {
    precondition(more <= room, "\(more) more tokens, room for \(room)")
    for _ in 0..<missingPages(for: more) {
      pages[pageCount] = pool.allocate()
      pageCount += 1
    }
  }

  /// Adds tokens whose keys and values the engine has written at `count...`.
  package func append(_ more: some Collection<Int32>) { tokens.append(contentsOf: more) }

  /// Forgets all tokens after the first `count`.
  package func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "a cache of \(self.count) tokens cut to \(count)")
    tokens.removeLast(self.count - count)
    releasePages(from: pool.pages(count))
  }

  /// The last page goes first, so that the first one is the next to be taken.
  private func releasePages(from first: Int) {
    while pageCount > first {
      pageCount -= 1
      pool.release(pages[pageCount])
    }
  }
}
