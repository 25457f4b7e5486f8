import Compute
import Machine
import Model

/// The memory of keys and values: for each page, [layers, key/value heads], each as `PageShape` says.
///
/// The whole block is reserved as address space; the system gives memory as pages are first written.
final class CPUKeyValuePages: KeyValuePages {
  private let configuration: ModelConfiguration
  private let page: PageShape
  private let pageByteCount: Int
  private let buffer: AlignedBuffer

  /// - Throws: `OutOfMemoryError`.
  init(_ configuration: ModelConfiguration, type: ElementType, count: Int) throws(OutOfMemoryError) {
    self.configuration = configuration
    page = PageShape(headSize: configuration.headSize, type: type)
    pageByteCount = Self.byteCount(configuration, type: type)
    buffer = try AlignedBuffer(byteCount: count * pageByteCount)
  }

  /// Bytes of the keys and values of one page.
  static func byteCount(_ configuration: ModelConfiguration, type: ElementType) -> Int {
    configuration.layerCount * configuration.keyValueHeadCount
      * PageShape(headSize: configuration.headSize, type: type).byteCount
  }

  /// The keys and values of a head of a sequence.
  func head(_ head: Int, layer: Int, of cache: KeyValueCache) -> PagedHead {
    precondition(head < configuration.keyValueHeadCount && layer < configuration.layerCount, "head \(head) of \(layer)")
    let offset = (layer * configuration.keyValueHeadCount + head) * page.byteCount
    return PagedHead(
      page, base: buffer.base + offset, pageStride: pageByteCount, pages: cache.pageTable, pageCount: cache.pageCount)
  }
}
