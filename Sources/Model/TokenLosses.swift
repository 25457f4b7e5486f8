/// The loss of each token of a batch, as the forward pass computes it.
package struct TokenLosses: Sendable, Equatable {
  /// [tokens] the cross-entropy in nats, which is minus the log-probability of the target. 0 where the loss weight that
  /// the pass was given is 0: such rows skip the output layer.
  package var values: [Float]

  package init(_ values: [Float]) { self.values = values }

  /// Σ weight · loss of all tokens.
  ///
  /// - Parameter batch: the one whose losses these are; its loss weights count.
  package func sum(_ batch: Batch) -> LossSum { sum(batch.lossWeights, values.indices) }

  /// The same of each document.
  package func documentSums(_ batch: Batch) -> [LossSum] {
    (0..<batch.documentCount).map { sum(batch.lossWeights, batch.rows(ofDocument: $0)) }
  }

  private func sum(_ lossWeights: [Float], _ range: Range<Int>) -> LossSum {
    var sum = LossSum(tokens: range.count)
    for index in range {
      sum.loss += Double(values[index]) * Double(lossWeights[index])
      sum.weight += Double(lossWeights[index])
    }
    return sum
  }
}

/// What the loss of an objective is the mean over, and thus how much a document counts in what the engine adds to it (the
/// balance of experts): by its trained tokens, or as much as any other.
package enum LossMean: Sendable { case tokens, documents }
