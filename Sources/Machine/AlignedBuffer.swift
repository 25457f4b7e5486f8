import Foundation

/// Owns a block of zeroed memory at a multiple of 4096 bytes, freed with the object.
package final class AlignedBuffer {
  /// Valid while this object lives.
  package let base: UnsafeMutableRawPointer
  package let byteCount: Int

  /// - Throws: `OutOfMemoryError` when the system does not give that much.
  package init(byteCount: Int) throws(OutOfMemoryError) {
    precondition(byteCount > 0, "a buffer of \(byteCount) bytes")
    // Anonymous pages come zeroed, and a size that cannot be had is an error rather than a trap.
    let pages = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let pages, pages != MAP_FAILED else { throw OutOfMemoryError(byteCount: byteCount) }
    #if os(Linux)
      // Large pages save most of the address translations of a pass over all weights; only a hint.
      madvise(pages, byteCount, MADV_HUGEPAGE)
    #endif
    base = pages
    self.byteCount = byteCount
  }

  deinit { munmap(base, byteCount) }
}
