import Compute

/// The tokens of one sequence that a model has read, and the pages that hold their keys and values: what later tokens
/// need of earlier ones.
package final class KeyValueCache {
  package let pool: KeyValuePool
  /// The most tokens that fit.
  package let capacity: Int
  /// The tokens whose keys and values are in the cache.
  package private(set) var tokens: [Int32] = []
  /// [pages of the capacity] the numbers of the pages, of which `pageCount` are there.
  private let pages: UnsafeMutablePointer<Int32>
  private(set) var pageCount = 0

  /// An empty cache.
  package init(_ pool: KeyValuePool, capacity: Int) {
    precondition(capacity > 0, "a cache for \(capacity) tokens")
    self.pool = pool
    self.capacity = capacity
    pages = .allocate(capacity: KeyValuePool.pages(capacity))
  }

  deinit {
    releasePages(from: 0)
    pages.deallocate()
  }

  package var count: Int { tokens.count }
  /// Tokens that can still be added.
  package var room: Int { capacity - count }

  /// The number of a page.
  func page(_ index: Int) -> Int32 {
    precondition(index < pageCount, "page \(index) of \(pageCount)")
    return pages[index]
  }

  /// Begins with a page that another sequence has filled with the next tokens.
  func share(page: Int32, tokens shared: some Collection<Int32>) {
    precondition(count % PageShape.length == 0 && shared.count == PageShape.length && room >= shared.count)
    pool.hold(page)
    pages[pageCount] = page
    pageCount += 1
    tokens.append(contentsOf: shared)
  }

  /// Pages that are missing for `more` tokens.
  func missingPages(for more: Int) -> Int { KeyValuePool.pages(count + more) - pageCount }

  /// Takes the pages for `more` tokens.
  ///
  /// - Precondition: the pool has as many free pages as are missing.
  func reserve(_ more: Int) {
    precondition(more <= room, "\(more) more tokens, room for \(room)")
    for _ in 0..<missingPages(for: more) {
      pages[pageCount] = pool.take()
      pageCount += 1
    }
  }

  /// Takes note of tokens whose keys and values have been written at `count...`.
  func append(_ more: some Collection<Int32>) { tokens.append(contentsOf: more) }

  /// Forgets all tokens behind the first `count`.
  package func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "a cache of \(self.count) tokens cut to \(count)")
    tokens.removeLast(self.count - count)
    releasePages(from: KeyValuePool.pages(count))
  }

  /// The last page goes first, so that the first one is the next to be taken.
  private func releasePages(from first: Int) {
    while pageCount > first {
      pageCount -= 1
      pool.release(pages[pageCount])
    }
  }

  func head(_ head: Int, layer: Int) -> PagedHead {
    pool.head(head, layer: layer, pages: pages, count: pageCount)
  }
}
