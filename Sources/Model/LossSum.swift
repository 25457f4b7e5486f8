/// The sum of the losses of a batch.
package struct LossSum: Sendable, Equatable {
  /// Σ weight · loss, in nats.
  package var loss: Double
  /// Σ weight: the mean loss is `loss / weight`.
  package var weight: Double
  /// Tokens in the batch, with and without loss.
  package var tokens: Int

  package init(loss: Double = 0, weight: Double = 0, tokens: Int = 0) {
    self.loss = loss
    self.weight = weight
    self.tokens = tokens
  }

  package static func += (left: inout LossSum, right: LossSum) {
    left.loss += right.loss
    left.weight += right.weight
    left.tokens += right.tokens
  }
}
