import CKernels

/// Packed causal grouped-query attention of one document and one key/value head:
/// output = softmax(queries·keysᵀ / √headSize)·values, each query over the keys up to its own.
///
/// The online softmax of Milakov & Gimelshein 2018 (arXiv 1805.02867), by blocks of keys as in Dao et al. 2022 (arXiv
/// 2205.14135): no more than a tile of scores exists at a time, and tiles beyond the diagonal are never computed.
///
/// - Parameters:
///   - queriesKeysValues: [tokens, (headCount + 2·keyValueHeadCount)·headSize], queries and keys rotated; read.
///   - documents: the row at which each document begins, and at last the end: [documents + 1].
///   - output: [tokens, headCount·headSize] of the same type; the document's rows and the group's columns overwritten.
///   - logSumExp: [tokens, headCount], overwritten in the same places: log Σ e^score of each query, which the way back needs.
package func attentionForward(
  queriesKeysValues: MatrixView, shape: AttentionShape, documents: UnsafeBufferPointer<Int32>, keyValueHead: Int,
  document: Int, output: MatrixView, logSumExp: UnsafeMutablePointer<Float>, scratch: AttentionScratch
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
    for start in stride(from: 0, to: tile.keyEnd, by: AttentionScratch.keyBlock) {
      tile.attend(
        start..<min(start + AttentionScratch.keyBlock, tile.keyEnd), queriesKeysValues, scratch: scratch)
    }
    tile.finish(logSumExp, scratch: scratch)
    group.unpackColumns(tile, into: output, scratch: scratch)
  }
}

extension QueryTile {
  /// The scores of a block of keys, [keys, lanes], unscaled. Keys beyond a query get -1e30 where its vector reaches them.
  func computeScores(_ block: Range<Int>, _ queriesKeysValues: MatrixView, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    forEachStep(of: block) { keys, firstVector in
      ckTileProduct(
        group.isBFloat16, keys.count, group.headUnits, vectors - firstVector,
        group.address(queriesKeysValues, token: keys.lowerBound, column: group.keyColumn),
        queriesKeysValues.rowStride * group.type.byteCount, scratch.queries + 16 * firstVector, lanes,
        scratch.scores + (keys.lowerBound - block.lowerBound) * lanes + 16 * firstVector, lanes, false)
    }
    guard block.upperBound > first else { return }
    for vector in 0..<vectors {
      let query = query(vector)
      for key in query..<max(query, keyEnd(vector, in: block)) {
        ckStoreFloats(
          SIMD16(repeating: -1e30), scratch.scores + (key - block.lowerBound) * lanes + 16 * vector, key - query)
      }
    }
  }

  /// Adds the values of a block of keys, weighted, to the output so far: [head size, lanes].
  fileprivate func attend(_ block: Range<Int>, _ queriesKeysValues: MatrixView, scratch: AttentionScratch) {
    let lanes = scratch.lanes
    computeScores(block, queriesKeysValues, scratch: scratch)
    for vector in 0..<vectors {
      let correction = weigh(
        scratch.scores + 16 * vector, keys: keyEnd(vector, in: block) - block.lowerBound,
        maximum: scratch.first + 16 * vector, sum: scratch.second + 16 * vector, isFirst: block.lowerBound == 0,
        lanes: lanes)
      if block.lowerBound > 0 {
        let column = scratch.columns + 16 * vector
        for row in 0..<group.shape.headSize {
          Float.store(Float.load(column + row * lanes, 16) * correction, to: column + row * lanes, 16)
        }
      }
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
  private func weigh(
    _ scores: UnsafeMutablePointer<Float>, keys: Int, maximum: UnsafeMutablePointer<Float>,
    sum: UnsafeMutablePointer<Float>, isFirst: Bool, lanes: Int
  ) -> SIMD16<Float> {
    // Independent maxima and sums let the processor overlap them.
    var largest = isFirst ? Float.load(scores, 16) : Float.load(maximum, 16)
    var largest1 = largest
    var key = 0
    while key + 1 < keys {
      largest = ckMaximum(largest, Float.load(scores + key * lanes, 16))
      largest1 = ckMaximum(largest1, Float.load(scores + (key + 1) * lanes, 16))
      key += 2
    }
    if key < keys { largest = ckMaximum(largest, Float.load(scores + key * lanes, 16)) }
    largest = ckMaximum(largest, largest1)
    let factor = SIMD16<Float>(repeating: group.powerScale)
    let offset = largest * -factor
    var sum0 = SIMD16<Float>.zero
    var sum1 = SIMD16<Float>.zero
    key = 0
    while key + 1 < keys {
      let weight0 = powerOfTwo(offset.addingProduct(Float.load(scores + key * lanes, 16), factor))
      let weight1 = powerOfTwo(offset.addingProduct(Float.load(scores + (key + 1) * lanes, 16), factor))
      sum0 += weight0
      sum1 += weight1
      if group.isBFloat16 {
        storePairs(weight0, weight1, scores + key / 2 * lanes)
      } else {
        Float.store(weight0, to: scores + key * lanes, 16)
        Float.store(weight1, to: scores + (key + 1) * lanes, 16)
      }
      key += 2
    }
    if key < keys {
      let weight = powerOfTwo(offset.addingProduct(Float.load(scores + key * lanes, 16), factor))
      sum0 += weight
      if group.isBFloat16 {
        storePairs(weight, .zero, scores + key / 2 * lanes)
      } else {
        Float.store(weight, to: scores + key * lanes, 16)
      }
    }
    let correction =
      isFirst ? .zero : powerOfTwo(Float.load(maximum, 16).addingProduct(largest, SIMD16(repeating: -1)) * factor)
    Float.store(largest, to: maximum, 16)
    Float.store(isFirst ? sum0 + sum1 : (sum0 + sum1).addingProduct(Float.load(sum, 16), correction), to: sum, 16)
    return correction
  }

  /// Divides the columns by their sums and writes the log-sum-exp of each query.
  fileprivate func finish(_ logSumExp: UnsafeMutablePointer<Float>, scratch: AttentionScratch) {
    for vector in 0..<vectors {
      let sum = Float.load(scratch.second + 16 * vector, 16)
      let inverse = 1 / sum
      let column = scratch.columns + 16 * vector
      for row in 0..<group.shape.headSize {
        Float.store(Float.load(column + row * scratch.lanes, 16) * inverse, to: column + row * scratch.lanes, 16)
      }
      let result = logarithm(sum).addingProduct(
        Float.load(scratch.first + 16 * vector, 16), SIMD16(repeating: group.scale))
      let target =
        logSumExp + (group.firstToken + query(vector)) * group.shape.headCount + group.head(vector)
      for lane in 0..<queryCount(vector) { target[lane * group.shape.headCount] = result[lane] }
    }
  }
}

/// Two rows of weights as one row of bfloat16 pairs.
@inline(__always)
func storePairs(_ low: SIMD16<Float>, _ high: SIMD16<Float>, _ address: UnsafeMutablePointer<Float>) {
  UnsafeMutableRawPointer(address).storeBytes(
    of: ckInterleave(ckBFloat16FromFloats(low), ckBFloat16FromFloats(high)), as: SIMD16<UInt32>.self)
}
