import CKernels
import Machine
import Model

/// How the keys and values of one key/value head lie in a page, which holds those of `length` tokens.
///
/// Everything is counted in units of four bytes: a float, or two bfloat16. Keys are [headSize units, length], transposed,
/// so that scores of sixteen tokens come from one vector; values are [length units, padded head size], two tokens in a
/// unit of bfloat16. Values follow the keys.
package struct PageShape: Sendable, Equatable {
  /// Tokens of a page.
  package static let length = 32

  package let headSize: Int
  package let type: ElementType

  package init(headSize: Int, type: ElementType) {
    precondition(headSize > 0 && headSize % 2 == 0, "heads of \(headSize)")
    self.headSize = headSize
    self.type = type
  }

  var isBFloat16: Bool { type == .bfloat16 }
  /// Elements of a unit.
  var unitElements: Int { isBFloat16 ? 2 : 1 }
  /// Units of a key.
  var headUnits: Int { headSize / unitElements }
  var paddedHeadSize: Int { headSize.roundedUp(to: cacheLineFloats) }
  var keyByteCount: Int { 4 * Self.length * headUnits }
  /// Of keys and values.
  package var byteCount: Int { keyByteCount + 4 * Self.length / unitElements * paddedHeadSize }
}

/// The keys and values of one key/value head of a sequence, page by page.
package struct PagedHead {
  let shape: PageShape
  private let base: UnsafeMutableRawPointer
  private let pageStride: Int
  private let pages: UnsafePointer<Int32>
  /// Tokens that the pages have room for.
  let capacity: Int

  /// - Parameters:
  ///   - base: the head's place in page 0.
  ///   - pageStride: bytes from one page to the next.
  ///   - pages: the numbers of the sequence's pages in their order; valid as long as this is in use.
  package init(
    _ shape: PageShape, base: UnsafeMutableRawPointer, pageStride: Int, pages: UnsafePointer<Int32>, pageCount: Int
  ) {
    self.shape = shape
    self.base = base
    self.pageStride = pageStride
    self.pages = pages
    capacity = pageCount * PageShape.length
  }

  /// The keys of the page that the token at `position` lies in.
  func keys(at position: Int) -> UnsafeMutableRawPointer {
    base + Int(pages[position / PageShape.length]) * pageStride
  }

  func values(at position: Int) -> UnsafeMutableRawPointer { keys(at: position) + shape.keyByteCount }

  /// Stores keys and values.
  ///
  /// - Parameters:
  ///   - keys: float32, [tokens, headSize], rotated; rounded to the pages' type.
  ///   - values: float32, [tokens, headSize].
  ///   - position: of the first token.
  package func store(keys: MatrixView, values: MatrixView, at position: Int, scratch: PagedAttentionScratch) {
    precondition(
      keys.rows == values.rows && keys.columns == shape.headSize && values.columns == shape.headSize
        && position + keys.rows <= capacity && scratch.page == shape,
      "keys and values of \(keys.rows) tokens at \(position), room for \(capacity)")
    var row = 0
    while row < keys.rows {
      let start = (position + row) % PageShape.length
      let count = min(keys.rows - row, PageShape.length - start)
      let rows = row..<row + count
      storeKeys(scratch.rounded(keys.rows(rows)), self.keys(at: position + row), start)
      storeValues(scratch.rounded(values.rows(rows)), self.values(at: position + row), start)
      row += count
    }
  }

  /// Keys of one page, from its token `start` on.
  private func storeKeys(_ source: MatrixView, _ target: UnsafeMutableRawPointer, _ start: Int) {
    let sourceStride = source.rowStride * source.type.byteCount
    let first = target + 4 * start
    if start % 16 == 0 && source.rows % 16 == 0 {
      return ckTranspose(source.base, sourceStride, source.rows, shape.headUnits, first, PageShape.length)
    }
    for row in 0..<source.rows {
      let from = source.row(row).assumingMemoryBound(to: UInt32.self)
      let to = (first + 4 * row).assumingMemoryBound(to: UInt32.self)
      for unit in 0..<shape.headUnits { to[unit * PageShape.length] = from[unit] }
    }
  }

  /// Values of one page. A token that shares its unit with one that is still to come puts a zero there: what an earlier
  /// sequence left may be NaN.
  private func storeValues(_ source: MatrixView, _ target: UnsafeMutableRawPointer, _ start: Int) {
    var source = source
    var start = start
    if start % shape.unitElements == 1 {
      let from = source.base.assumingMemoryBound(to: UInt16.self)
      let to = (target + 4 * (start / 2) * shape.paddedHeadSize).assumingMemoryBound(to: UInt16.self)
      for column in 0..<shape.headSize { to[2 * column + 1] = from[column] }
      source = source.rows(1..<source.rows)
      start += 1
    }
    let elements = shape.unitElements
    ckInterleaveRows(
      shape.isBFloat16, source.base, source.rowStride * source.type.byteCount, source.rows, shape.headSize,
      target + 4 * (start / elements) * shape.paddedHeadSize, shape.paddedHeadSize,
      source.rows.roundedUp(to: elements))
  }
}
