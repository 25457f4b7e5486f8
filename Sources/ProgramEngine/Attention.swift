import Programs

/// Attention of a layer, whichever way it is computed.
package protocol DocumentAttention {
  /// o, float32, [tokens, H·d].
  var output: Tensor { get }

  /// - Parameter dOutput: ō, [tokens, H·d].
  /// - Returns: float32, [tokens, H, d] and twice [tokens, G, d].
  func backward(_ dOutput: Tensor) -> (dQueries: Tensor, dKeys: Tensor, dValues: Tensor)
}

/// Causal attention within documents, grouped queries: each of the G key/value heads serves H/G heads of queries.
///
///     s = q·kᵀ/√d        a = softmax(s) over the tokens that are seen        o = a·v
///     v̄ = aᵀ·ō           ā = ō·vᵀ           s̄ = a·(ā - Σ a·ā)/√d           q̄ = s̄·k           k̄ = s̄ᵀ·q
///
/// Σ a·ā over a row is ō·o (Dao et al. 2022, arXiv 2205.14135, section 3).
package struct Attention: DocumentAttention {
  private let blocks: DocumentBlocks
  private let scale: Double
  /// [blocks, length, G, H/G, d] and twice [blocks, window, G, d]
  private let queries, keys, values: Tensor
  /// a and o, float32, [blocks, G, length, H/G, window] and [blocks, G, length, H/G, d]
  private let weights, attended: Tensor
  /// o, float32, [tokens, H·d]
  package let output: Tensor

  /// - Parameters:
  ///   - queries: [tokens, H, d].
  ///   - keys: [tokens, G, d]. `values` likewise.
  ///   - precision: what the products take.
  package init(
    queries: Tensor, keys: Tensor, values: Tensor, in blocks: DocumentBlocks, _ precision: TensorElement
  ) {
    let (tokens, heads, size, groups) = (queries.shape[0], queries.shape[1], queries.shape[2], keys.shape[1])
    self.blocks = blocks
    scale = 1 / Double(size).squareRoot()
    self.queries = queries.converted(to: precision)
      .reshaped([blocks.count, blocks.length, groups, heads / groups, size])
    func window(_ rows: Tensor) -> Tensor {
      blocks.window(rows.converted(to: precision).reshaped([blocks.count, blocks.length, groups, size]))
    }
    self.keys = window(keys)
    self.values = window(values)
    let scores =
      self.queries.product(
        self.keys,
        ProductAxes(leftBatch: [0, 2], rightBatch: [0, 2], leftContracted: [4], rightContracted: [3])) * scale
    let seen = scores.kept(where: blocks.mask, else: -.infinity)
    let exponentials = (seen - seen.maximum(4)).exponential
    weights = exponentials / exponentials.sum(4)
    attended = weights.converted(to: precision).product(self.values, Self.rightRows)
    output = attended.transposed([0, 2, 1, 3, 4]).reshaped([tokens, heads * size])
  }

  /// [blocks, G, length, H/G, window] times [blocks, window, G, d].
  private static let rightRows = ProductAxes(
    leftBatch: [0, 1], rightBatch: [0, 2], leftContracted: [4], rightContracted: [1])

  package func backward(_ dOutput: Tensor) -> (dQueries: Tensor, dKeys: Tensor, dValues: Tensor) {
    let precision = queries.type.element
    let (groups, share, size) = (queries.shape[2], queries.shape[3], queries.shape[4])
    let tokens = blocks.count * blocks.length
    let dAttended = dOutput.reshaped([blocks.count, blocks.length, groups, share, size])
    let dO = dAttended.converted(to: precision)
    // Both sum over the queries of a block, in all heads of the group.
    let overQueries = ProductAxes(
      leftBatch: [0, 1], rightBatch: [0, 2], leftContracted: [2, 3], rightContracted: [1, 3])
    let dValues = weights.converted(to: precision).product(dO, overQueries)
    let dWeights = dO.product(
      values, ProductAxes(leftBatch: [0, 2], rightBatch: [0, 2], leftContracted: [4], rightContracted: [3]))
    let average = (dAttended.float32.transposed([0, 2, 1, 3, 4]) * attended).sum(4)
    let dScores = (weights * (dWeights - average) * scale).converted(to: precision)
    let dQueries = dScores.product(keys, Self.rightRows)
    let dKeys = dScores.product(queries, overQueries)
    /// [blocks, G, window, d] to [tokens, G, d]
    func rows(_ dWindow: Tensor) -> Tensor {
      blocks.windowBackward(dWindow.transposed([0, 2, 1, 3])).reshaped([tokens, groups, size])
    }
    return (
      dQueries: dQueries.transposed([0, 2, 1, 3, 4]).reshaped([tokens, groups * share, size]),
      dKeys: rows(dKeys), dValues: rows(dValues)
    )
  }
}
