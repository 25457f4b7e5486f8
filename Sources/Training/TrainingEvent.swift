/// An event of a run, for the sinks that show or store it.
package enum TrainingEvent: Sendable {
  case step(StepReport)
  case evaluation(Evaluation, epoch: Double)
  /// A checkpoint is on the disk.
  case checkpoint(path: String, step: Int, isBest: Bool)
  case samples(SampleReport)
  /// Before the first step: this share of what the stage has to find first is done.
  case preparing(what: String, share: Double)
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
