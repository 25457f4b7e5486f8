import CKernels
import VectorMath

/// Packed grouped-query attention of one document and one key/value head: output = softmax(queries·keysᵀ / √headSize)·values,
/// each query over the keys up to its own, or over all of them if the shape is not causal.
///
/// The online softmax of Milakov & Gimelshein 2018 (arXiv 1805.02867), by blocks of keys as in Dao et al. 2022 (arXiv
/// 2205.14135): no more than a tile of scores exists at a time, and tiles beyond the diagonal are never computed.
///
/// - Parameters:
///   - queriesKeysValues: [tokens, (headCount + 2·keyValueHeadCount)·headSize], queries and keys rotated; read.
///   - documents: the row at which each document begins, and at last the end: [documents + 1].
///   - output: [tokens, headCount·headSize] of the same type; the document's rows and the group's columns overwritten.
///   - logSumExp: [tokens, headCount], overwritten in the same places: log Σ e^score of each query, which the backward
///     pass needs.
package func attentionForward(
  queriesKeysValues: MatrixView, shape: AttentionShape, documents: UnsafeBufferPointer<Int32>, keyValueHead: Int,
  document: Int, output: MatrixView, logSumExp: UnsafeMutablePointer<Float>,
  scratch: AttentionScratch
) {
  precondition(
    queriesKeysValues.columns == shape.fusedWidth && output.columns == shape.outputWidth
      && output.type == queriesKeysValues.type,
    "attention of \(shape) from \(queriesKeysValues.columns) columns to \(output.columns)")
  let group = AttentionGroup(
    shape, queriesKeysValues.type, documents: documents, keyValueHead: keyValueHead, document: document,
    rows: min(queriesKeysValues.rows, output.rows), scratch: scratch)
  group.prefetchKeysAndValues(queriesKeysValues, token: 0, count: AttentionScratch.keyBlock)
  group.prefetchQueries(queriesKeysValues, token: 0, count: scratch.tileQueries)
  group.packTransposed(queriesKeysValues, column: group.valueColumn, scratch: scratch)
  for first in stride(from: 0, to: group.length, by: scratch.tileQueries) {
    let tile = QueryTile(group, first: first, maximumPieces: scratch.pieces)
    group.packColumns(queriesKeysValues, tile, into: scratch.queries, lanes: scratch.lanes)
    group.prefetchQueries(queriesKeysValues, token: first + scratch.tileQueries, count: scratch.tileQueries)
    group.prefetchQueries(output, token: first, count: scratch.tileQueries, forWriting: true)
    for key in stride(from: 0, to: tile.keyEnd, by: AttentionScratch.keyBlock) {
      tile.attend(key..<min(key + AttentionScratch.keyBlock, tile.keyEnd), queriesKeysValues, scratch: scratch)
    }
    tile.finish(logSumExp, scratch: scratch)
    group.unpackColumns(tile, into: output, scratch: scratch)
  }
}

extension QueryTile {
  /// The scores of a block of keys, [keys, lanes], unscaled. A key beyond a query gets -1e30, and so does a row that
  /// makes the keys an even number: their weights come out as zero.
  func computeScores(_ block: Range<Int>, _ queriesKeysValues: MatrixView, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    forEachStep(of: block) { keys, firstVector in
      ckTileProduct(
        group.isBFloat16, keys.count, group.headUnits, vectors - firstVector,
        group.address(queriesKeysValues, token: keys.lowerBound, column: group.keyColumn),
        queriesKeysValues.rowStride * group.type.byteCount, scratch.queries + 16 * firstVector, lanes,
        scratch.scores + (keys.lowerBound - block.lowerBound) * lanes + 16 * firstVector, lanes, false)
    }
    for vector in 0..<vectors {
      let scores = scratch.scores + 16 * vector
      let query = query(vector)
      let masked = group.shape.isCausal ? query..<max(query, keyEnd(vector, in: block)) : query..<query
      for key in masked {
        ckStoreFloats(SIMD16(repeating: -1e30), scores + (key - block.lowerBound) * lanes, key - query)
      }
      if block.count % 2 == 1 { Float.store(SIMD16(repeating: -1e30), to: scores + block.count * lanes, 16) }
    }
  }

  /// Adds the values of a block of keys, weighted, to the output so far: [head size, lanes].
  fileprivate func attend(_ block: Range<Int>, _ queriesKeysValues: MatrixView, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    computeScores(block, queriesKeysValues, scratch: scratch)
    for vector in 0..<vectors {
      let correction = weigh(vector, block, scratch: scratch)
      if block.lowerBound > 0 { scale(vector, by: correction, scratch: scratch) }
    }
    forEachStep(of: block) { keys, firstVector in
      ckTileProduct(
        group.isBFloat16, group.shape.headSize, group.units(keys.count), vectors - firstVector,
        group.transposed(from: keys.lowerBound, scratch: scratch), 4 * AttentionScratch.keyBlock / group.unitElements,
        scratch.scores + (keys.lowerBound - block.lowerBound) / group.unitElements * lanes + 16 * firstVector, lanes,
        scratch.columns + 16 * firstVector, lanes, keys.lowerBound > 0)
    }
  }

  /// Turns a vector's scores into weights e^(scale·(score - maximum)), keys in pairs if units are pairs, in place.
  ///
  /// - Returns: the factor that brings what was summed before to the new maximum.
  private func weigh(_ vector: Int, _ block: Range<Int>, scratch: AttentionScratch) -> SIMD16<Float> {
    let lanes = scratch.lanes
    let scores = scratch.scores + 16 * vector
    let maximum = scratch.maximumOrLogSumExp + 16 * vector
    let sum = scratch.sumOrDelta + 16 * vector
    let keys = keyEnd(vector, in: block) - block.lowerBound
    let isFirst = block.lowerBound == 0
    // Two maxima and two sums: the processor works on one while the other waits.
    var largest = isFirst ? Float.load(scores, 16) : Float.load(maximum, 16)
    var largest1 = largest
    for key in stride(from: 0, to: keys, by: 2) {
      largest = ckMaximum(largest, Float.load(scores + key * lanes, 16))
      largest1 = ckMaximum(largest1, Float.load(scores + (key + 1) * lanes, 16))
    }
    largest = ckMaximum(largest, largest1)
    let factor = SIMD16<Float>(repeating: group.powerScale)
    let offset = largest * -factor
    var total = SIMD16<Float>.zero
    var total1 = SIMD16<Float>.zero
    for key in stride(from: 0, to: keys, by: 2) {
      let weight = powerOfTwo(offset.addingProduct(Float.load(scores + key * lanes, 16), factor))
      let weight1 = powerOfTwo(offset.addingProduct(Float.load(scores + (key + 1) * lanes, 16), factor))
      total += weight
      total1 += weight1
      if group.isBFloat16 {
        storeUnits(
          ckInterleave(ckBFloat16FromFloats(weight), ckBFloat16FromFloats(weight1)), to: scores + key / 2 * lanes)
      } else {
        Float.store(weight, to: scores + key * lanes, 16)
        Float.store(weight1, to: scores + (key + 1) * lanes, 16)
      }
    }
    total += total1
    var correction = SIMD16<Float>.zero
    if !isFirst {
      correction = powerOfTwo((Float.load(maximum, 16) - largest) * factor)
      total.addProduct(Float.load(sum, 16), correction)
    }
    Float.store(largest, to: maximum, 16)
    Float.store(total, to: sum, 16)
    return correction
  }

  /// Multiplies each lane of a vector's output by a factor.
  private func scale(_ vector: Int, by factor: SIMD16<Float>, scratch: AttentionScratch) {
    for row in 0..<group.shape.headSize {
      let address = scratch.columns + row * scratch.lanes + 16 * vector
      Float.store(Float.load(address, 16) * factor, to: address, 16)
    }
  }

  /// Divides the output by the sums of the weights and writes the log-sum-exp of each query.
  fileprivate func finish(_ logSumExp: UnsafeMutablePointer<Float>, scratch: AttentionScratch) {
    for vector in 0..<vectors {
      let sum = Float.load(scratch.sumOrDelta + 16 * vector, 16)
      scale(vector, by: 1 / sum, scratch: scratch)
      let maximum = Float.load(scratch.maximumOrLogSumExp + 16 * vector, 16)
      let result = logarithm(sum).addingProduct(maximum, SIMD16(repeating: group.scale))
      let target = logSumExp + statistic(vector)
      for lane in 0..<queryCount(vector) { target[lane * group.shape.headCount] = result[lane] }
    }
  }

  /// The place of a vector's first query in [tokens, headCount]; the others follow `headCount` apart.
  func statistic(_ vector: Int) -> Int {
    (group.firstToken + query(vector)) * group.shape.headCount + group.head(vector)
  }
}

/// Writes sixteen units.
@inline(__always)
func storeUnits(_ units: SIMD16<UInt32>, to target: UnsafeMutablePointer<Float>) {
  Float.store(unsafeBitCast(units, to: SIMD16<Float>.self), to: target, 16)
}
