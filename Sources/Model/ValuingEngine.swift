/// What an engine finds of each token of a batch: [tokens] its loss and the value of its row; both 0 where the batch's loss weight
/// is 0.
package struct ValuedTokens: Sendable, Equatable {
  package var losses: TokenLosses
  package var values: [Float]

  package init(losses: TokenLosses, values: [Float]) {
    self.losses = losses
    self.values = values
  }
}

/// How much each loss and each value counts in what is differentiated: [tokens].
package struct ValuedWeights: Sendable {
  package var losses: [Float]
  package var values: [Float]

  package init(losses: [Float], values: [Float]) {
    self.losses = losses
    self.values = values
  }
}

/// An engine that gives rows a value in addition to logits: the product of a vector, the value head, with the normalised hidden
/// state that the output matrix reads, too. Model and value share all layers; the head itself belongs to the caller.
package protocol ValuingEngine: TrainingEngine {
  /// - Parameter valueHead: [hiddenSize].
  func forward(_ batch: Batch, valueHead: [Float]) -> ValuedTokens

  /// Adds the gradient of Σ weight · loss + Σ weight · value to the gradients, and in a mixture of experts that of their
  /// balance.
  ///
  /// - Parameters:
  ///   - valueHead: [hiddenSize].
  ///   - mean: how much a document counts in the balance of experts.
  ///   - tokensBefore: tokens that the run has read before these.
  ///   - weights: gets what was found. Called once, on any thread, while the caller waits.
  /// - Returns: [hiddenSize] the gradient with respect to the head.
  func forwardBackward(
    _ batch: Batch, valueHead: [Float], mean: LossMean, tokensBefore: Int, weights: (ValuedTokens) -> ValuedWeights
  ) -> [Float]
}
