/// What the forward pass of a batch found: how surprised the model was by each target.
package struct TokenLosses: Sendable, Equatable {
  /// [tokens] the cross-entropy in nats, which is minus the log-probability of the target. 0 where the loss weight that
  /// the pass was given is 0: such rows skip the output layer.
  package var values: [Float]

  package init(_ values: [Float]) { self.values = values }

  /// Σ weight · loss of all tokens.
  ///
  /// - Parameter lossWeights: [tokens].
  package func sum(_ lossWeights: [Float]) -> LossSum { sum(lossWeights, values.indices) }

  /// The same of each document.
  ///
  /// - Parameters:
  ///   - lossWeights: [tokens].
  ///   - documentOffsets: [documents + 1] where each document begins, and the end.
  package func documentSums(_ lossWeights: [Float], documentOffsets: [Int32]) -> [LossSum] {
    zip(documentOffsets, documentOffsets.dropFirst()).map { sum(lossWeights, Int($0)..<Int($1)) }
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
