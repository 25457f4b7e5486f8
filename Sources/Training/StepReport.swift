import Model
import Processes

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
  package var smoothedLoss: Double?
  /// All that the stage's objective and the engine report of the step.
  package var sums: MetricSums
  package var learningRate: Double
  /// Of the mean loss, before clipping.
  package var gradientNorm: Double
  package var tokensPerSecond: Double
  /// For the rest of the run, evaluations and checkpoints included; nil before it can be estimated.
  package var secondsLeft: Double?
  package var peakMemoryBytes: Int
  /// Nil for one process.
  package var exchange: ExchangeReport?
}

/// What the exchange between processes cost, of a step or a session.
package struct ExchangeReport: Sendable {
  /// Processes.
  package var count: Int
  /// Bytes that the first process has sent.
  package var sentBytes: Int
  /// Seconds in which gradients or weights were being exchanged, and those of them in which the model's threads waited.
  package var seconds: Double
  package var waitedSeconds: Double

  /// The share of the time that computing hid.
  package var hiddenShare: Double { seconds > 0 ? max(0, 1 - waitedSeconds / seconds) : 1 }

  init(_ counts: ExchangeCounts, since before: ExchangeCounts = ExchangeCounts(), count: Int) {
    self.count = count
    sentBytes = counts.sentBytes - before.sentBytes
    seconds = counts.seconds - before.seconds
    waitedSeconds = counts.waitedSeconds - before.waitedSeconds
  }
}
