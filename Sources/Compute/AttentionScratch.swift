import CKernels
import Machine

/// Working memory of `attentionForward` and `attentionBackward`: one for each worker, nothing is allocated afterwards.
///
/// Sizes are counted in units of four bytes: a float, or two bfloat16.
package final class AttentionScratch {
  package let shape: AttentionShape
  package let maximumSequenceLength: Int
  /// Pieces of 16 queries in a tile: with the heads of the group about four vectors, with which the product is fastest.
  let pieces: Int
  /// Queries of each head in a tile.
  var tileQueries: Int { 16 * pieces }
  /// Lanes of a tile, unused ones included.
  let lanes: Int
  /// The head size rounded up to whole vectors.
  let paddedHeadSize: Int

  /// Keys in a block: its scores stay in the first cache between the products and the softmax. A multiple of a tile's
  /// queries, so that the keys at the tile's own places, where some lanes see a key and some do not, lie in one block.
  static let keyBlock = 64

  private let buffer: AlignedBuffer

  /// Queries and the gradient of the output: [head units, lanes].
  let queries: UnsafeMutablePointer<Float>
  let dOutput: UnsafeMutablePointer<Float>
  /// The same, two queries in a unit: [lanes, padded head size] elements, pairs of rows interleaved.
  let queryPairs: UnsafeMutablePointer<Float>
  let dOutputPairs: UnsafeMutablePointer<Float>
  /// Scores of a block, then weights: [keys, lanes].
  let scores: UnsafeMutablePointer<Float>
  let dScores: UnsafeMutablePointer<Float>
  /// Weights and gradients of scores as rows of elements: [keys, lanes].
  let weightRows: UnsafeMutablePointer<Float>
  let dScoreRows: UnsafeMutablePointer<Float>
  /// The output or the gradient of the queries: [head size, lanes].
  let columns: UnsafeMutablePointer<Float>
  /// Rows on the way between a matrix and its transpose: [64, padded head size].
  let rows: UnsafeMutablePointer<Float>
  /// One number a lane: maximum and sum of the softmax; log-sum-exp and delta in the backward pass.
  let maximumOrLogSumExp: UnsafeMutablePointer<Float>
  let sumOrDelta: UnsafeMutablePointer<Float>
  /// Keys or values of the document, transposed block by block: [blocks, head size, key block] elements.
  let transposed: UnsafeMutablePointer<Float>
  /// Gradients of all keys and values of the document: [tokens, padded head size].
  let dKeys: UnsafeMutablePointer<Float>
  let dValues: UnsafeMutablePointer<Float>

  /// - Throws: `OutOfMemoryError`.
  package init(shape: AttentionShape, maximumSequenceLength: Int) throws(OutOfMemoryError) {
    precondition(maximumSequenceLength > 0, "attention over \(maximumSequenceLength) tokens")
    self.shape = shape
    self.maximumSequenceLength = maximumSequenceLength
    pieces = max(1, 4 / shape.groupSize)
    let lanes = 16 * pieces * shape.groupSize
    self.lanes = lanes
    let padded = shape.headSize.roundedUp(to: cacheLineFloats)
    paddedHeadSize = padded
    let block = Self.keyBlock
    let keys = maximumSequenceLength.roundedUp(to: block)
    var plan = ArenaPlan()
    let queries = plan.reserve(rows: padded, columns: lanes)
    let dOutput = plan.reserve(rows: padded, columns: lanes)
    let queryPairs = plan.reserve(rows: lanes, columns: padded)
    let dOutputPairs = plan.reserve(rows: lanes, columns: padded)
    let scores = plan.reserve(rows: block, columns: lanes)
    let dScores = plan.reserve(rows: block, columns: lanes)
    let weightRows = plan.reserve(rows: block, columns: lanes)
    let dScoreRows = plan.reserve(rows: block, columns: lanes)
    let columns = plan.reserve(rows: padded, columns: lanes)
    let rows = plan.reserve(rows: block, columns: padded)
    let first = plan.reserve(rows: 1, columns: lanes)
    let second = plan.reserve(rows: 1, columns: lanes)
    let transposed = plan.reserve(rows: keys, columns: padded)
    let dKeys = plan.reserve(rows: keys, columns: padded)
    let dValues = plan.reserve(rows: keys, columns: padded)
    buffer = try AlignedBuffer(plan)
    self.queries = buffer.floats(queries)
    self.dOutput = buffer.floats(dOutput)
    self.queryPairs = buffer.floats(queryPairs)
    self.dOutputPairs = buffer.floats(dOutputPairs)
    self.scores = buffer.floats(scores)
    self.dScores = buffer.floats(dScores)
    self.weightRows = buffer.floats(weightRows)
    self.dScoreRows = buffer.floats(dScoreRows)
    self.columns = buffer.floats(columns)
    self.rows = buffer.floats(rows)
    maximumOrLogSumExp = buffer.floats(first)
    sumOrDelta = buffer.floats(second)
    self.transposed = buffer.floats(transposed)
    self.dKeys = buffer.floats(dKeys)
    self.dValues = buffer.floats(dValues)
  }
}

/// Bringing heads into the order in which products read them, and back.
extension AttentionGroup {
  /// The rows of a tile's queries, or of another matrix of that shape, as columns: [head units, lanes]. Unused lanes are zero.
  func packColumns(
    _ matrix: MatrixView, _ tile: QueryTile, into target: UnsafeMutablePointer<Float>, lanes: Int
  ) {
    for vector in 0..<tile.vectors {
      let source = address(matrix, token: tile.query(vector), column: head(vector) * shape.headSize)
      ckTranspose(
        source, matrix.rowStride * type.byteCount, tile.queryCount(vector), headUnits, target + 16 * vector, lanes)
    }
  }

  /// The same rows with two queries in a unit, if units have two elements: [lane units, padded head size]. Unused
  /// lanes and columns are zero.
  func packPairs(
    _ matrix: MatrixView, _ tile: QueryTile, into target: UnsafeMutablePointer<Float>, width: Int
  ) {
    for vector in 0..<tile.vectors {
      ckInterleaveRows(
        isBFloat16, address(matrix, token: tile.query(vector), column: head(vector) * shape.headSize),
        matrix.rowStride * type.byteCount, tile.queryCount(vector), shape.headSize,
        target + vector * units(16) * width, width, 16)
    }
  }

  /// The keys or values of the document, block by block: [head size, key units], zero in the half-empty last unit.
  func packTransposed(_ matrix: MatrixView, column: Int, scratch: AttentionScratch) {
    let block = AttentionScratch.keyBlock
    let blockUnits = block / unitElements
    for start in stride(from: 0, to: length, by: block) {
      let count = min(block, length - start)
      prefetchKeysAndValues(matrix, token: start + block, count: block)
      ckInterleaveRows(
        isBFloat16, address(matrix, token: start, column: column), matrix.rowStride * type.byteCount, count,
        shape.headSize, scratch.rows, scratch.paddedHeadSize, count)
      ckTranspose(
        scratch.rows, 4 * scratch.paddedHeadSize, units(count), shape.headSize,
        scratch.transposed + start / unitElements * shape.headSize, blockUnits)
    }
  }

  /// Where `packTransposed` has put keys from `start` on, which lie within one block. Rows are `keyBlock` elements apart.
  func transposed(from start: Int, scratch: AttentionScratch) -> UnsafeMutablePointer<Float> {
    let block = start / AttentionScratch.keyBlock * AttentionScratch.keyBlock
    return scratch.transposed + block / unitElements * shape.headSize + (start - block) / unitElements
  }

  /// Writes a tile's columns, [head size, lanes], as rows of the queries that exist.
  func unpackColumns(_ tile: QueryTile, into matrix: MatrixView, scratch: AttentionScratch, factor: Float = 1) {
    for vector in 0..<tile.vectors {
      ckTranspose(
        scratch.columns + 16 * vector, 4 * scratch.lanes, shape.headSize, 16, scratch.rows, scratch.paddedHeadSize)
      write(
        scratch.rows, width: scratch.paddedHeadSize, factor: factor, count: tile.queryCount(vector), into: matrix,
        token: tile.query(vector), column: head(vector) * shape.headSize)
    }
  }

  /// Writes rows of floats, [count, width], times a factor into the matrix.
  func write(
    _ rows: UnsafeMutablePointer<Float>, width: Int, factor: Float, count: Int, into matrix: MatrixView, token: Int,
    column: Int
  ) {
    ckScaleRows(
      isBFloat16, rows, width, factor, count, shape.headSize, address(matrix, token: token, column: column),
      matrix.rowStride * type.byteCount)
  }
}
