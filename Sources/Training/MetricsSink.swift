/// Something that happened in a run and that somebody may want to show or keep.
package enum TrainingEvent: Sendable {
  case step(StepReport)
  case evaluation(Evaluation, epoch: Double)
  /// A checkpoint is on the disk.
  case checkpoint(path: String, step: Int, isBest: Bool)
  case samples(SampleReport)
  /// Before the first step of a stage that compares with its starting model: this share of the documents is read.
  case readingReference(share: Double)
}

/// One optimizer step.
package struct StepReport: Sendable {
  /// From 1.
  package var step: Int
  package var totalSteps: Int
  /// Passes over the data so far, with a fraction.
  package var epoch: Double
  /// Tokens read so far, all sessions.
  package var tokens: Int
  /// The stage's loss, the mean over the step: nats for a trained token, or the loss of a pair; nil when the step had
  /// no trained token.
  package var loss: Double?
  /// Only where pairs are compared.
  package var preference: PreferenceMetrics?
  package var smoothedLoss: Double?
  /// Nil for a dense model.
  package var experts: ExpertReport?
  package var learningRate: Double
  /// Of the mean loss, before clipping.
  package var gradientNorm: Double
  package var tokensPerSecond: Double
  /// For the rest of the run, evaluations and checkpoints included; nil before it can be told.
  package var secondsLeft: Double?
  package var peakMemoryBytes: Int
}

/// What the model makes of each prompt.
package struct SampleReport: Sendable {
  package var step: Int
  package var samples: [(prompt: String, continuation: String)]
}

/// Takes note of what happens in a run: the console, `metrics.jsonl`, `samples.txt`.
package protocol MetricsSink: AnyObject {
  /// - Throws: what stops the run, such as a full disk.
  func record(_ event: TrainingEvent) throws
}
