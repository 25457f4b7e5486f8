/// How a session ended.
package struct TrainingSummary: Sendable {
  /// False when the user stopped it.
  package var isComplete: Bool
  package var step: Int
  /// Tokens and time of the whole run.
  package var tokens: Int
  package var seconds: Double
  /// Tokens and time of this session.
  package var sessionTokens: Int
  package var sessionSeconds: Double
  package var times: PhaseTimes
  /// Nil for one process.
  package var exchange: ExchangeReport?
  package var smoothedLoss: Double?
  package var heldOut: Evaluation?
  package var best: Evaluation?
  package var peakMemoryBytes: Int
  /// Of the optimizer's moments that this process keeps.
  package var momentBytes: Int
}
