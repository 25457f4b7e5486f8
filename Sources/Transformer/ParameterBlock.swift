import Foundation

/// Named values in fp32 that training changes together, in one block of memory: all weights of a model, or those of an
/// adapter.
package final class ParameterBlock {
  package let table: ParameterTable
  /// `table.totalCount` values, 64-byte aligned. The gaps between entries are zero. Valid while this object lives.
  package let values: UnsafeMutablePointer<Float>
  private let byteCount: Int

  /// All values zero.
  ///
  /// - Throws: `ConfigurationError.outOfMemory`.
  package init(zeroed table: ParameterTable) throws(ConfigurationError) {
    self.table = table
    byteCount = table.totalCount * MemoryLayout<Float>.stride
    // Anonymous pages come zeroed and page-aligned, and a size that cannot be had is an error rather than a trap.
    let pages = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let pages, pages != MAP_FAILED else { throw .outOfMemory(byteCount: byteCount) }
    values = pages.bindMemory(to: Float.self, capacity: table.totalCount)
  }

  deinit { munmap(values, byteCount) }
}
