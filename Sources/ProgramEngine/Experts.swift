import Programs

/// The routed experts of a layer: y = Σⱼ wⱼ·FeedForward(x) over the k experts that a token takes, computed in blocks of rows
/// that have one expert.
///
///     w̄ⱼ = Σ ȳ·yⱼ over the row        ȳⱼ = wⱼ·ȳ
package struct Experts {
  private let blocks: ExpertBlocks
  private let feedForward: FeedForward
  private let weights: [Tensor]
  /// For each of the k choices, yⱼ, [tokens, hidden].
  private let chosen: [Tensor]
  private let expertCount: Int
  /// y, float32, [tokens, hidden]
  package let output: Tensor

  /// - Parameters:
  ///   - input: x, [tokens, hidden].
  ///   - experts: the weights of each.
  ///   - blockRows: rows of a block.
  package init(
    _ input: Tensor, _ router: Router, _ experts: [FeedForward.Parts<LinearWeight>], blockRows: Int,
    _ precision: TensorElement
  ) {
    let blocks = ExpertBlocks(router.choices, length: blockRows)
    /// The weights of each block's expert, in the order of blocks.
    func stacked(_ weights: [Tensor]) -> Tensor {
      Tensor.concatenated(weights.map { $0.converted(to: precision).reshaped([1] + $0.shape) }, 0)
        .rows(blocks.expertOfBlock)
    }
    func stacked(_ weights: [LinearWeight]) -> LinearWeight {
      LinearWeight(
        matrix: stacked(weights.map(\.matrix)),
        adapter: weights[0].adapter.map { first in
          LowRankProduct.Weight(
            a: stacked(weights.map { $0.adapter!.a }), b: stacked(weights.map { $0.adapter!.b }), scale: first.scale,
            dropout: first.dropout.map {
              Dropout(keys: blocks.gather(weights.map { $0.adapter!.dropout!.keys }), rate: $0.rate)
            })
        })
    }
    self.blocks = blocks
    expertCount = experts.count
    weights = router.weights
    feedForward = FeedForward(
      blocks.gather(input.converted(to: precision)),
      FeedForward.Parts(
        gate: stacked(experts.map(\.gate)), up: stacked(experts.map(\.up)), down: stacked(experts.map(\.down))),
      precision)
    chosen = blocks.scatter(feedForward.output, choices: weights.count)
    let weighted = zip(chosen, weights).map { $0 * $1 }
    output = weighted.dropFirst().reduce(weighted[0], +)
  }

  /// - Returns: x̄ without the router's part, w̄ [tokens, 1] for each choice, and the gradients of each expert's weights.
  package func backward(
    _ dOutput: Tensor
  ) -> (dInput: Tensor, dWeights: [Tensor], gradients: [FeedForward.Parts<LinearGradient>]) {
    let dBlocks = feedForward.backward(blocks.scatterBackward(weights.map { dOutput * $0 }))
    /// For each expert, the sum over its blocks: [blocks, …] to […].
    func sums(_ gradient: Tensor) -> [Tensor] {
      let shape = Array(gradient.shape.dropFirst())
      let zeros = gradient.builder.constant(0, TensorType(.float32, [expertCount] + shape))
      let sums = zeros.adding(gradient, toRows: blocks.expertOfBlock)
      return (0..<expertCount).map { sums.slice(0, $0..<$0 + 1).reshaped(shape) }
    }
    let gradients = dBlocks.gradients.map { part in
      (
        matrix: sums(part.matrix), bias: sums(part.bias.reshaped([part.bias.shape[0], part.bias.shape[2]])),
        a: part.a.map(sums), b: part.b.map(sums)
      )
    }
    return (
      dInput: blocks.gatherBackward(dBlocks.dInput, choices: weights.count),
      dWeights: chosen.map { (dOutput * $0).sum(1) },
      gradients: (0..<expertCount).map { expert in
        gradients.map {
          LinearGradient(matrix: $0.matrix[expert], bias: $0.bias[expert], a: $0.a?[expert], b: $0.b?[expert])
        }
      }
    )
  }
}
