import CKernels
import VectorMath

/// The gradient of `attentionForward` for one document and one key/value head (docs/notation.md; Dao et al. 2022,
/// arXiv 2205.14135, section 3): scores are computed again block by block, weights are e^(score - logSumExp).
///
/// - Parameters:
///   - dOutput: [tokens, headCount·headSize]; read.
///   - output: what `attentionForward` made; read.
///   - queriesKeysValues: [tokens, (headCount + 2·keyValueHeadCount)·headSize]; read.
///   - logSumExp: [tokens, headCount], as `attentionForward` left it.
///   - dQueriesKeysValues: like `queriesKeysValues`; in the document's rows, the columns of the group's queries and of
///     its key/value head are overwritten. Gradients of keys and values are the sums over the group's query heads.
///     All matrices have the same element type; sums are Float.
package func attentionBackward(
  dOutput: MatrixView, output: MatrixView, queriesKeysValues: MatrixView, logSumExp: UnsafePointer<Float>,
  shape: AttentionShape, documents: UnsafeBufferPointer<Int32>, keyValueHead: Int, document: Int,
  dQueriesKeysValues: MatrixView, scratch: AttentionScratch
) {
  precondition(
    queriesKeysValues.columns == shape.fusedWidth && dQueriesKeysValues.columns == shape.fusedWidth
      && output.columns == shape.outputWidth && dOutput.columns == shape.outputWidth,
    "attention of \(shape) with \(queriesKeysValues.columns) and \(output.columns) columns")
  let type = queriesKeysValues.type
  precondition(
    dOutput.type == type && output.type == type && dQueriesKeysValues.type == type, "attention of several types")
  let group = AttentionGroup(
    shape, type, documents: documents, keyValueHead: keyValueHead, document: document,
    rows: min(queriesKeysValues.rows, dQueriesKeysValues.rows, output.rows, dOutput.rows), scratch: scratch)
  let padded = scratch.paddedHeadSize
  group.prefetchKeysAndValues(queriesKeysValues, token: 0, count: AttentionScratch.keyBlock)
  group.prefetchQueries(queriesKeysValues, token: 0, count: scratch.tileQueries)
  group.prefetchQueries(dOutput, token: 0, count: scratch.tileQueries)
  group.prefetchQueries(output, token: 0, count: scratch.tileQueries)
  group.packTransposed(queriesKeysValues, column: group.keyColumn, scratch: scratch)
  scratch.dKeys.update(repeating: 0, count: group.length * padded)
  scratch.dValues.update(repeating: 0, count: group.length * padded)
  for first in stride(from: 0, to: group.length, by: scratch.tileQueries) {
    let tile = QueryTile(group, first: first, maximumPieces: scratch.pieces)
    tile.prepareBackward(
      dOutput: dOutput, output: output, queriesKeysValues: queriesKeysValues, logSumExp: logSumExp, scratch: scratch)
    let next = first + scratch.tileQueries
    group.prefetchQueries(queriesKeysValues, token: next, count: scratch.tileQueries)
    group.prefetchQueries(dOutput, token: next, count: scratch.tileQueries)
    group.prefetchQueries(output, token: next, count: scratch.tileQueries)
    group.prefetchQueries(dQueriesKeysValues, token: first, count: scratch.tileQueries, forWriting: true)
    group.prefetchKeysAndValues(dQueriesKeysValues, token: first, count: scratch.tileQueries, forWriting: true)
    for start in stride(from: 0, to: tile.keyEnd, by: AttentionScratch.keyBlock) {
      tile.backward(
        start..<min(start + AttentionScratch.keyBlock, tile.keyEnd), queriesKeysValues, scratch: scratch)
    }
    group.unpackColumns(tile, into: dQueriesKeysValues, scratch: scratch, factor: group.scale)
  }
  group.write(
    scratch.dKeys, width: padded, factor: group.scale, count: group.length, into: dQueriesKeysValues, token: 0,
    column: group.keyColumn)
  group.write(
    scratch.dValues, width: padded, factor: 1, count: group.length, into: dQueriesKeysValues, token: 0,
    column: group.valueColumn)
}

extension QueryTile {
  /// Packs queries and output gradients both ways, and sets for each lane the log-sum-exp (times log₂ e, negated) and
  /// delta, the dot product of output and its gradient (negated). Unused lanes are zero throughout.
  fileprivate func prepareBackward(
    dOutput: MatrixView, output: MatrixView, queriesKeysValues: MatrixView, logSumExp: UnsafePointer<Float>,
    scratch: AttentionScratch
  ) {
    let lanes = scratch.lanes
    // The output is needed for delta only; the gradient of the queries comes later to the same place.
    let outputs = scratch.columns
    group.packColumns(queriesKeysValues, self, into: scratch.queries, lanes: lanes)
    group.packColumns(dOutput, self, into: scratch.dOutput, lanes: lanes)
    group.packColumns(output, self, into: outputs, lanes: lanes)
    group.packPairs(queriesKeysValues, self, into: scratch.queryPairs, width: scratch.paddedHeadSize)
    group.packPairs(dOutput, self, into: scratch.dOutputPairs, width: scratch.paddedHeadSize)
    for vector in 0..<vectors {
      var delta = SIMD16<Float>.zero
      for row in 0..<group.headUnits {
        let left = Float.load(scratch.dOutput + row * lanes + 16 * vector, 16)
        let right = Float.load(outputs + row * lanes + 16 * vector, 16)
        if group.isBFloat16 {
          // The upper halves as they are: the lower half of the unit is cut off. The lower halves moved up.
          delta.addProduct(upperHalf(left), upperHalf(right))
          delta.addProduct(lowerHalf(left), lowerHalf(right))
        } else {
          delta.addProduct(left, right)
        }
      }
      Float.store(-delta, to: scratch.sumOrDelta + 16 * vector, 16)
      var sums = SIMD16<Float>.zero
      let source = logSumExp + statistic(vector)
      for lane in 0..<queryCount(vector) { sums[lane] = source[lane * group.shape.headCount] }
      Float.store(sums * -1.44269504, to: scratch.maximumOrLogSumExp + 16 * vector, 16)
    }
  }

  /// Adds what a block of keys contributes to the gradients of the tile's queries and of the block's keys and values.
  fileprivate func backward(_ block: Range<Int>, _ queriesKeysValues: MatrixView, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    let padded = scratch.paddedHeadSize
    let type = group.isBFloat16
    computeScores(block, queriesKeysValues, scratch: scratch)
    forEachStep(of: block) { keys, firstVector in
      ckTileProduct(
        type, keys.count, group.headUnits, vectors - firstVector,
        group.address(queriesKeysValues, token: keys.lowerBound, column: group.valueColumn),
        queriesKeysValues.rowStride * group.type.byteCount, scratch.dOutput + 16 * firstVector, lanes,
        scratch.dScores + (keys.lowerBound - block.lowerBound) * lanes + 16 * firstVector, lanes, false)
    }
    for vector in 0..<vectors {
      differentiate(vector, block, scratch: scratch)
    }
    forEachStep(of: block) { keys, firstVector in
      let row = keys.lowerBound - block.lowerBound
      let firstUnit = group.units(16 * firstVector)
      let depth = group.units(16 * (vectors - firstVector))
      let rowUnits = group.units(lanes)
      ckTileProduct(
        type, keys.count, depth, padded / 16, scratch.weightRows + row * rowUnits + firstUnit, 4 * rowUnits,
        scratch.dOutputPairs + firstUnit * padded, padded, scratch.dValues + keys.lowerBound * padded, padded, true)
      ckTileProduct(
        type, keys.count, depth, padded / 16, scratch.dScoreRows + row * rowUnits + firstUnit, 4 * rowUnits,
        scratch.queryPairs + firstUnit * padded, padded, scratch.dKeys + keys.lowerBound * padded, padded, true)
      ckTileProduct(
        type, group.shape.headSize, group.units(keys.count), vectors - firstVector,
        group.transposed(from: keys.lowerBound, scratch: scratch), 4 * AttentionScratch.keyBlock / group.unitElements,
        scratch.dScores + row / group.unitElements * lanes + 16 * firstVector, lanes,
        scratch.columns + 16 * firstVector, lanes, keys.lowerBound > 0)
    }
  }

  /// Weights a = e^(scale·score - logSumExp) and unscaled score gradients a·(da - delta) of one vector, from scores
  /// and da in `scores` and `dScores`: both as rows of elements, and the latter as pairs of keys in place too.
  private func differentiate(_ vector: Int, _ block: Range<Int>, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    let factor = SIMD16<Float>(repeating: group.powerScale)
    let offset = Float.load(scratch.maximumOrLogSumExp + 16 * vector, 16)
    let delta = Float.load(scratch.sumOrDelta + 16 * vector, 16)
    let scores = scratch.scores + 16 * vector
    let dScores = scratch.dScores + 16 * vector
    if block.count % 2 == 1 { Float.store(.zero, to: dScores + block.count * lanes, 16) }
    for key in stride(from: 0, to: keyEnd(vector, in: block) - block.lowerBound, by: 2) {
      let (row, row1) = (key * lanes, (key + 1) * lanes)
      let weight = powerOfTwo(offset.addingProduct(Float.load(scores + row, 16), factor))
      let weight1 = powerOfTwo(offset.addingProduct(Float.load(scores + row1, 16), factor))
      let dScore = weight * (Float.load(dScores + row, 16) + delta)
      let dScore1 = weight1 * (Float.load(dScores + row1, 16) + delta)
      if group.isBFloat16 {
        let (half, half1) = (ckBFloat16FromFloats(dScore), ckBFloat16FromFloats(dScore1))
        storeHalves(ckBFloat16FromFloats(weight), to: scratch.weightRows, row + 16 * vector)
        storeHalves(ckBFloat16FromFloats(weight1), to: scratch.weightRows, row1 + 16 * vector)
        storeHalves(half, to: scratch.dScoreRows, row + 16 * vector)
        storeHalves(half1, to: scratch.dScoreRows, row1 + 16 * vector)
        storeUnits(ckInterleave(half, half1), to: dScores + row / 2)
      } else {
        Float.store(weight, to: scratch.weightRows + row + 16 * vector, 16)
        Float.store(weight1, to: scratch.weightRows + row1 + 16 * vector, 16)
        Float.store(dScore, to: scratch.dScoreRows + row + 16 * vector, 16)
        Float.store(dScore1, to: scratch.dScoreRows + row1 + 16 * vector, 16)
        Float.store(dScore, to: dScores + row, 16)
        Float.store(dScore1, to: dScores + row1, 16)
      }
    }
  }
}

/// Writes sixteen elements of two bytes at an index.
@inline(__always)
private func storeHalves(_ value: SIMD16<UInt16>, to base: UnsafeMutablePointer<Float>, _ index: Int) {
  ckStoreHalves(value, UnsafeMutableRawPointer(base) + 2 * index, 16)
}

/// The second bfloat16 of each unit.
@inline(__always)
private func upperHalf(_ units: SIMD16<Float>) -> SIMD16<Float> {
  unsafeBitCast(unsafeBitCast(units, to: SIMD16<UInt32>.self) & 0xFFFF_0000, to: SIMD16<Float>.self)
}

/// The first bfloat16 of each unit.
@inline(__always)
private func lowerHalf(_ units: SIMD16<Float>) -> SIMD16<Float> {
  unsafeBitCast(unsafeBitCast(units, to: SIMD16<UInt32>.self) &<< 16, to: SIMD16<Float>.self)
}
