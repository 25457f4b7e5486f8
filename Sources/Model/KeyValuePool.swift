import Machine

/// Pages of keys and values, a fixed number of tokens each, that sequences allocate and release.
///
/// A page may belong to several sequences that begin alike. The bookkeeping is here; the memory is the engine's. Pages
/// that were released are allocated again first, so that memory that was never touched stays so.
package final class KeyValuePool {
  /// The keys and values, in the layout of the engine that made them.
  package let memory: any KeyValuePages
  /// Tokens of a page.
  package let pageTokens: Int
  package let pageCount: Int
  private let limits: StepLimits
  /// Holders of each page.
  private var holders: [Int32]
  /// Pages without a holder, the next one to be taken last.
  private var free: [Int32]

  /// - Parameter tokens: whose keys and values fit, rounded up to whole pages.
  /// - Throws: `OutOfMemoryError`.
  package init(_ engine: some InferenceEngine, tokens: Int) throws(OutOfMemoryError) {
    precondition(tokens > 0, "a pool for \(tokens) tokens")
    limits = engine.limits
    pageTokens = limits.pageTokens
    pageCount = limits.pages(tokens)
    holders = [Int32](repeating: 0, count: pageCount)
    free = (0..<Int32(pageCount)).reversed()
    memory = try engine.makePages(pageCount)
  }

  /// The number of pages that `tokens` tokens take.
  package func pages(_ tokens: Int) -> Int { limits.pages(tokens) }

  package var freeCount: Int { free.count }

  /// Pages that have been allocated at some time, whose memory the system has given.
  package private(set) var touchedCount = 0

  /// A page for one holder.
  ///
  /// - Precondition: there is a free one.
  package func allocate() -> Int32 {
    let page = free.removeLast()
    holders[Int(page)] = 1
    touchedCount = max(touchedCount, Int(page) + 1)
    return page
  }

  /// One more holder of a page.
  package func hold(_ page: Int32) { holders[Int(page)] += 1 }

  /// One holder less.
  package func release(_ page: Int32) {
    holders[Int(page)] -= 1
    if holders[Int(page)] == 0 { free.append(page) }
  }

  package func holderCount(_ page: Int32) -> Int { Int(holders[Int(page)]) }
}
