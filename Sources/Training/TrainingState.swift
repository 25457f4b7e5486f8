import Corpus

/// Everything about a run that changes from step to step, weights and moments aside.
///
/// There is no state of a random generator: the order of an epoch follows from the seed and the epoch's number, and
/// nothing else is drawn after the first weights.
package struct TrainingState: Codable, Equatable, Sendable {
  /// Optimizer steps that are complete.
  package var step = 0
  /// Where the next micro-batch begins.
  package var position = BatchPosition()
  /// Tokens that the model has read in training.
  package var tokens = 0
  package var smoothedLoss = SmoothedLoss()
  /// Time spent in training, evaluation and saving, over all sessions.
  package var seconds = 0.0
  package var lastEvaluation: Evaluation?
  /// The evaluation with the lowest loss among those of checkpoints.
  package var best: Evaluation?

  package init() {}
}

/// A mean that forgets: each step counts 0.95 times as much as the one after it.
package struct SmoothedLoss: Codable, Equatable, Sendable {
  private var sum = 0.0
  private var weight = 0.0

  package init() {}

  package mutating func add(_ loss: Double) {
    sum = 0.95 * sum + loss
    weight = 0.95 * weight + 1
  }

  /// Nil before the first step.
  package var value: Double? { weight > 0 ? sum / weight : nil }
}

/// The result of a held-out evaluation, by the stage's own loss.
package struct Evaluation: Codable, Equatable, Sendable {
  /// Optimizer steps that the weights have had.
  package var step: Int
  /// Nats for a trained token, or the loss of a pair.
  package var loss: Double
  /// Bits for a byte of the text that those tokens stand for: comparable between vocabularies. Nil for pairs.
  package var bitsPerByte: Double?
  /// Trained tokens, or documents of pairs, that the loss is the mean of.
  package var tokens: Int
  /// Only where pairs are compared.
  package var preference: PreferenceMetrics?
}
