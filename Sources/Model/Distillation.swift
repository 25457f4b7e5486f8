/// What a model learns from a teacher, for each token that is trained on:
///
///     loss = α·cross-entropy + (1-α)·T²·D(teacher ‖ student)
///
/// with both distributions taken at the temperature T, softmax(z/T). T² keeps the gradient of D about as large at every T
/// (Hinton et al. 2015, arXiv 1503.02531, section 2.1). D is the generalised Jensen-Shannon divergence with the coefficient β
/// (Agarwal et al. 2023, arXiv 2306.13649, equation 1), at β = 0 the Kullback-Leibler divergence of the teacher from the
/// student, Σ q·log(q/s), and at β = 1 the reverse one, Σ s·log(s/q).
///
/// With `top` K the divergence is of K + 1 outcomes: the teacher's K likeliest tokens, each for itself, and all others as one.
package struct Distillation: Sendable, Hashable {
  /// α: the share of the text itself.
  package var textShare: Double
  package var temperature: Double
  /// β.
  package var mixture: Double
  /// K: how many of the teacher's likeliest tokens count each for itself; nil for all.
  package var top: Int?

  package init(textShare: Double = 0.5, temperature: Double = 1.5, mixture: Double = 0, top: Int? = nil) {
    precondition(
      (0...1).contains(textShare) && temperature > 0 && (0...1).contains(mixture), "\(textShare), \(mixture)")
    self.textShare = textShare
    self.temperature = temperature
    self.mixture = mixture
    self.top = top
  }
}

/// How a model is to learn from another one.
package struct Teaching: Sendable {
  package var distillation: Distillation
  /// Of the teacher.
  package var configuration: ModelConfiguration

  package init(_ distillation: Distillation, _ configuration: ModelConfiguration) {
    self.distillation = distillation
    self.configuration = configuration
  }
}

/// An engine that can train a model by the logits of another one. The logits of a batch are never in memory all at once.
package protocol DistillingEngine: TrainingEngine {
  /// The loss of each token of a batch as `Distillation` has it, and its cross-entropy alone; adds the gradient of
  /// Σ weight · loss to the gradients, and in a mixture of experts that of their balance.
  ///
  /// - Parameters:
  ///   - lossWeights: [tokens]
  ///   - teacher: made by the same provider, for as many tokens; of the same vocabulary. Nil: what it has said is in
  ///     `batch.teacherRows`, with `distillation.top` tokens of a row, of the rows whose weight is not 0.
  ///   - tokensBefore: tokens that the run has read before these.
  func forwardBackward(
    _ batch: Batch, lossWeights: [Float], _ distillation: Distillation, teacher: (any TrainingEngine)?,
    tokensBefore: Int
  ) -> (losses: TokenLosses, crossEntropies: TokenLosses)
}

/// An engine that tells what its model finds likeliest, for others to learn from later.
package protocol TeachingEngine: TrainingEngine {
  /// The likeliest tokens after the rows of a batch whose loss weight is not 0, in their order.
  ///
  /// - Parameters:
  ///   - count: fewer than the vocabulary has.
  ///   - temperature: of the probabilities.
  func largestProbabilities(_ batch: Batch, count: Int, temperature: Double) -> LargestProbabilities
}
