import CKernels
import Machine
import Model
import VectorMath

/// Working memory of `pagedAttention`: one for each worker, nothing is allocated afterwards.
package final class PagedAttentionScratch {
  let page: PageShape
  let groupSize: Int
  /// Tokens whose queries are answered together.
  static let tokens = 32
  /// Keys in a block, a multiple of a page: its scores stay in the second cache, most often in the first.
  static let keyBlock = 256

  /// [tokens · group, headSize] queries in the pages' type.
  let queries: MatrixView
  /// [tokens · group, keyBlock] scores, then weights in the pages' type at the beginning of each row.
  let scores: UnsafeMutablePointer<Float>
  /// [tokens · group, padded head size]
  let sums: UnsafeMutablePointer<Float>
  /// [tokens · group] the largest score and the sum of weights so far.
  let maxima: UnsafeMutablePointer<Float>
  let totals: UnsafeMutablePointer<Float>
  private let rows: MatrixView
  private let buffer: AlignedBuffer

  /// - Parameter groupSize: query heads that share a key/value head.
  /// - Throws: `OutOfMemoryError`.
  package init(_ page: PageShape, groupSize: Int) throws(OutOfMemoryError) {
    precondition(groupSize > 0, "groups of \(groupSize) heads")
    self.page = page
    self.groupSize = groupSize
    let count = Self.tokens * groupSize
    var plan = ArenaPlan()
    let queries = plan.reserve(rows: count, columns: page.headSize, page.type)
    let scores = plan.reserve(rows: count, columns: Self.keyBlock)
    let sums = plan.reserve(rows: count, columns: page.paddedHeadSize)
    let statistics = plan.reserve(rows: 2, columns: count)
    let rows = plan.reserve(rows: PageShape.length, columns: page.headSize, page.type)
    buffer = try AlignedBuffer(plan)
    self.queries = buffer.view(queries)
    self.scores = buffer.floats(scores)
    self.sums = buffer.floats(sums)
    maxima = buffer.floats(statistics)
    totals = maxima + count
    self.rows = buffer.view(rows)
  }

  /// Rows in the pages' type; valid until the next call.
  func rounded(_ source: MatrixView) -> MatrixView {
    let target = rows.rows(0..<source.rows)
    convert(source, to: target)
    return target
  }
}

/// Causal attention of the query heads that share a key/value head, over the pages of a sequence:
/// output = softmax(queries·keysᵀ / √headSize)·values, each query over the keys up to its own.
///
/// The online softmax of Milakov & Gimelshein 2018 (arXiv 1805.02867) over blocks of keys. Blocks begin at fixed
/// positions, and a query's arithmetic is its own: its bits do not depend on which queries are computed with it.
///
/// - Parameters:
///   - queries: float32, [tokens, groupSize·headSize], rotated.
///   - position: of the first token; the keys and values of all tokens are stored.
///   - output: float32, [tokens, groupSize·headSize], overwritten; may be `queries`.
package func pagedAttention(
  queries: MatrixView, position: Int, pages: PagedHead, output: MatrixView, scratch: PagedAttentionScratch
) {
  let width = scratch.groupSize * scratch.page.headSize
  precondition(
    queries.columns == width && output.columns == width && output.rows == queries.rows
      && position + queries.rows <= pages.capacity && scratch.page == pages.shape,
    "attention of [\(queries.rows), \(queries.columns)] at \(position), pages for \(pages.capacity)")
  for first in stride(from: 0, to: queries.rows, by: PagedAttentionScratch.tokens) {
    let rows = first..<min(first + PagedAttentionScratch.tokens, queries.rows)
    let tile = PagedTile(position: position + first, tokens: rows.count, pages: pages, scratch: scratch)
    tile.attend(queries.rows(rows), output.rows(rows))
  }
}

/// Some consecutive queries of a sequence, of all heads that share a key/value head: row t·group + g is head g of token t.
private struct PagedTile {
  let position: Int
  let tokens: Int
  let pages: PagedHead
  let scratch: PagedAttentionScratch

  private var group: Int { scratch.groupSize }
  private var shape: PageShape { scratch.page }
  private var rows: Int { tokens * group }
  private var width: Int { shape.paddedHeadSize }

  func attend(_ queries: MatrixView, _ output: MatrixView) {
    for row in 0..<rows {
      convert(head(queries, row), to: scratch.queries.rows(row..<row + 1))
    }
    let end = position + tokens
    for block in stride(from: 0, to: end, by: PagedAttentionScratch.keyBlock) {
      attend(block..<min(end, block + PagedAttentionScratch.keyBlock))
    }
    for row in 0..<rows {
      ckScaleRows(
        false, scratch.sums + row * width, width, 1 / scratch.totals[row], 1, shape.headSize, head(output, row).base, 0)
    }
  }

  /// The place of a row in [tokens, groupSize·headSize].
  private func head(_ matrix: MatrixView, _ row: Int) -> MatrixView {
    let start = row % group * shape.headSize
    return matrix.rows(row / group..<row / group + 1).columns(start..<start + shape.headSize)
  }

  private func attend(_ block: Range<Int>) {
    let rowBytes = 4 * PagedAttentionScratch.keyBlock
    forEachPage(of: block) { keys, firstRow in
      ckTileProduct(
        shape.isBFloat16, rows - firstRow, shape.headUnits, PageShape.length / 16, scratch.queries.row(firstRow),
        shape.headSize * shape.type.byteCount, pages.keys(at: keys.lowerBound), PageShape.length,
        scratch.scores + firstRow * PagedAttentionScratch.keyBlock + keys.lowerBound - block.lowerBound,
        PagedAttentionScratch.keyBlock, false)
    }
    let firstRow = max(0, block.lowerBound - position) * group
    for row in firstRow..<rows { weigh(row, block) }
    forEachPage(of: block) { keys, firstRow in
      let units = (keys.count + shape.unitElements - 1) / shape.unitElements
      let place = firstRow * rowBytes + (keys.lowerBound - block.lowerBound) * shape.type.byteCount
      ckTileProduct(
        shape.isBFloat16, rows - firstRow, units, width / 16, UnsafeRawPointer(scratch.scores) + place, rowBytes,
        pages.values(at: keys.lowerBound), width, scratch.sums + firstRow * width, width, keys.lowerBound > 0)
    }
  }

  /// Calls `body` with the keys of each page, and the first row that reaches them.
  @inline(__always)
  private func forEachPage(of block: Range<Int>, _ body: (_ keys: Range<Int>, _ firstRow: Int) -> Void) {
    for start in stride(from: block.lowerBound, to: block.upperBound, by: PageShape.length) {
      body(start..<min(start + PageShape.length, block.upperBound), max(0, start - position) * group)
    }
  }

  /// Turns a row's scores into weights e^((score - largest)/√headSize), zero for keys after the query, and brings what
  /// was summed before to the new largest score.
  private func weigh(_ row: Int, _ block: Range<Int>) {
    let scores = scratch.scores + row * PagedAttentionScratch.keyBlock
    let reached = min(block.count, position + row / group + 1 - block.lowerBound)
    let isFirst = block.lowerBound == 0
    var lanes = SIMD16<Float>(repeating: -1e37)
    @inline(__always) func findLargest(_ start: Int, _ count: Int) {
      lanes = ckMaximum(ckLoadFloatsOr(scores + start, count, -1e37), lanes)
    }
    forEachSixteen(reached, findLargest)
    let largest = isFirst ? ckLargest(lanes) : max(scratch.maxima[row], ckLargest(lanes))
    // e^(x/√headSize) = 2^(factor·x).
    let factor = SIMD16<Float>(repeating: 1.44269504 / Float(shape.headSize).squareRoot())
    var sum = SIMD16<Float>.zero
    let target = UnsafeMutableRawPointer(scores)
    @inline(__always) func step(_ start: Int, _ count: Int) {
      // After the query a score so low that its weight is 0; `powerOfTwo` of -∞ would be NaN.
      let score = ckLoadFloatsOr(scores + start, count, -1e37)
      let weight = powerOfTwo((score - largest) * factor)
      sum += weight
      store(weight, target, start)
    }
    forEachSixteen(reached, step)
    let padded = (block.count + PageShape.length - 1) / PageShape.length * PageShape.length
    for start in stride(from: reached.roundedUp(to: cacheLineFloats), to: padded, by: 16) {
      store(.zero, target, start)
    }
    scratch.totals[row] = ckSum(sum) + (isFirst ? 0 : rescale(row, from: scratch.maxima[row], to: largest, factor))
    scratch.maxima[row] = largest
  }

  /// Sixteen weights in the pages' type.
  @inline(__always)
  private func store(_ weights: SIMD16<Float>, _ target: UnsafeMutableRawPointer, _ start: Int) {
    if shape.isBFloat16 {
      BFloat16.store(weights, to: target.assumingMemoryBound(to: BFloat16.self) + start, 16)
    } else {
      Float.store(weights, to: target.assumingMemoryBound(to: Float.self) + start, 16)
    }
  }

  /// Multiplies what a row has summed with e^((old - new)/√headSize).
  ///
  /// - Returns: the sum of weights so far, at the new largest score.
  private func rescale(_ row: Int, from old: Float, to new: Float, _ factor: SIMD16<Float>) -> Float {
    if old == new { return scratch.totals[row] }
    let correction = powerOfTwo(SIMD16(repeating: old - new) * factor)
    let sums = scratch.sums + row * width
    for column in stride(from: 0, to: width, by: 16) {
      Float.store(Float.load(sums + column, 16) * correction, to: sums + column, 16)
    }
    return scratch.totals[row] * correction[0]
  }
}
