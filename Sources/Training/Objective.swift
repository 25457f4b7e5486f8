import Corpus
import Processes
import Transformer

/// What a stage minimises, with all that it needs besides the model and a batch.
package enum Objective {
  /// The mean cross-entropy of the tokens that are trained on.
  case crossEntropy
  /// The mean loss of pairs of documents. `reference`: Σ log-probability of each document of the split, by its number.
  case preference(PreferenceLoss, reference: [Double])

  /// The loss of a batch; adds its gradient to the pass's.
  ///
  /// - Parameter tokensBefore: tokens that the run has read before these.
  package func forwardBackward(
    _ pass: TrainingPass, _ batch: PackedBatch, tokensBefore: Int = 0
  ) -> ObjectiveSum {
    switch self {
    case .crossEntropy:
      return ObjectiveSum(
        loss: pass.forwardBackward(
          tokens: batch.tokens, targets: batch.targets, lossWeights: batch.lossWeights,
          documentOffsets: batch.documentOffsets, tokensBefore: tokensBefore))
    case .preference(let loss, let reference):
      var sum = ObjectiveSum()
      _ = pass.forwardBackward(
        tokens: batch.tokens, targets: batch.targets, lossWeights: batch.lossWeights,
        documentOffsets: batch.documentOffsets, tokensBefore: tokensBefore
      ) { documents in
        let weights: [Float]
        (sum, weights) = Self.compare(documents, batch, loss, reference)
        return weights
      }
      return sum
    }
  }

  /// The loss of a batch, without gradients.
  package func forward(_ pass: TrainingPass, _ batch: PackedBatch) -> ObjectiveSum {
    let crossEntropy = pass.forward(
      tokens: batch.tokens, targets: batch.targets, lossWeights: batch.lossWeights,
      documentOffsets: batch.documentOffsets)
    switch self {
    case .crossEntropy: return ObjectiveSum(loss: crossEntropy)
    case .preference(let loss, let reference): return Self.compare(pass.documentLosses, batch, loss, reference).sum
    }
  }

  private static func compare(
    _ documents: [LossSum], _ batch: PackedBatch, _ loss: PreferenceLoss, _ reference: [Double]
  ) -> (sum: ObjectiveSum, weights: [Float]) {
    let pairs = loss.compare(documents, reference: batch.documentNumbers.map { reference[$0] })
    // As a mean over documents, both of a pair having its loss: by documents the pass weighs what else it adds.
    let sum = LossSum(loss: 2 * pairs.loss, weight: Double(documents.count), tokens: batch.tokenCount)
    return (ObjectiveSum(loss: sum, preference: pairs.metrics), pairs.weights.map { 2 * $0 })
  }
}

/// What batches add up to.
package struct ObjectiveSum {
  /// Its `weight` counts what the loss is the mean over: trained tokens, or documents where pairs are compared.
  package var loss = LossSum()
  /// Only where pairs are compared.
  package var preference: PreferenceMetrics?

  package static func += (left: inout ObjectiveSum, right: ObjectiveSum) {
    left.loss += right.loss
    guard let more = right.preference else { return }
    left.preference = left.preference ?? PreferenceMetrics()
    left.preference! += more
  }

  /// The sum over all ranks, and that of `more` numbers.
  func summed(over exchange: ProcessExchange, _ more: inout [Double]) -> ObjectiveSum {
    guard !exchange.isAlone else { return self }
    // A rank without a batch has no metrics, and does not know whether others have.
    let own = [loss.loss, loss.weight, Double(loss.tokens)] + (preference ?? PreferenceMetrics()).sums
    let all = exchange.sum(own + more)
    more = Array(all[own.count...])
    let metrics = PreferenceMetrics(sums: Array(all[3..<own.count]))
    return ObjectiveSum(
      loss: LossSum(loss: all[0], weight: all[1], tokens: Int(all[2])), preference: metrics.pairs > 0 ? metrics : nil)
  }
}
