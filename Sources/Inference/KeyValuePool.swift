import Compute
import Machine
import Model

/// The memory of keys and values: pages of some tokens each, for every layer, that sequences take and give back.
///
/// A page may belong to several sequences that begin alike. The whole pool is reserved as address space; the system
/// gives memory as pages are first written, and those that came back are taken again first.
package final class KeyValuePool {
  let configuration: ModelConfiguration
  let page: PageShape
  package let pageCount: Int
  /// Holders of each page.
  private var holders: [Int32]
  /// Pages that nobody holds, the next one last.
  private var free: [Int32]
  private let buffer: AlignedBuffer
  private let pageByteCount: Int

  /// - Parameter tokens: whose keys and values fit, rounded up to whole pages.
  /// - Throws: `OutOfMemoryError`.
  package init(_ configuration: ModelConfiguration, type: ElementType, tokens: Int) throws(OutOfMemoryError) {
    precondition(tokens > 0, "a pool for \(tokens) tokens")
    self.configuration = configuration
    page = PageShape(headSize: configuration.headSize, type: type)
    pageCount = Self.pages(tokens)
    pageByteCount = Self.byteCount(configuration, page)
    holders = [Int32](repeating: 0, count: pageCount)
    free = (0..<Int32(pageCount)).reversed()
    buffer = try AlignedBuffer(byteCount: pageCount * pageByteCount)
  }

  /// Pages that so many tokens take.
  package static func pages(_ tokens: Int) -> Int { (tokens + PageShape.length - 1) / PageShape.length }

  /// Bytes of the keys and values of so many tokens, in whole pages.
  package static func byteCount(_ configuration: ModelConfiguration, type: ElementType, tokens: Int) -> Int {
    pages(tokens) * byteCount(configuration, PageShape(headSize: configuration.headSize, type: type))
  }

  private static func byteCount(_ configuration: ModelConfiguration, _ page: PageShape) -> Int {
    configuration.layerCount * configuration.keyValueHeadCount * page.byteCount
  }

  package var freeCount: Int { free.count }

  /// A page for one holder.
  ///
  /// - Precondition: there is a free one.
  func take() -> Int32 {
    let page = free.removeLast()
    holders[Int(page)] = 1
    return page
  }

  /// One more holder of a page.
  func hold(_ page: Int32) { holders[Int(page)] += 1 }

  /// One holder less.
  func release(_ page: Int32) {
    holders[Int(page)] -= 1
    if holders[Int(page)] == 0 { free.append(page) }
  }

  func holderCount(_ page: Int32) -> Int { Int(holders[Int(page)]) }

  /// The keys and values of a head of a sequence. A page is [layers, heads], each as `PageShape` says.
  func head(_ head: Int, layer: Int, pages: UnsafePointer<Int32>, count: Int) -> PagedHead {
    precondition(head < configuration.keyValueHeadCount && layer < configuration.layerCount, "head \(head) of \(layer)")
    let place = (layer * configuration.keyValueHeadCount + head) * page.byteCount
    return PagedHead(page, base: buffer.base + place, pageStride: pageByteCount, pages: pages, pageCount: count)
  }
}
