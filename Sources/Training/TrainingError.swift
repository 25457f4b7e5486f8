/// Why a training run cannot begin or go on: a sentence with the place and what to do.
package struct TrainingError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }

  /// The numbers have left the range of floating point.
  ///
  /// - Parameters:
  ///   - what: "the loss" or "the gradient norm".
  ///   - checkpoint: the last good checkpoint, if there is one.
  static func nonFinite(_ what: String, step: Int, learningRate: Double, checkpoint: String?) -> TrainingError {
    let good = checkpoint.map { "the last good checkpoint is \($0)" } ?? "there is no checkpoint yet"
    return TrainingError(
      "step \(step): \(what) is not a finite number, so the run stops and nothing was overwritten; \(good). "
        + "Start again with a lower --learning-rate (it was \(learningRate)), a longer --warmup-steps, "
        + "a smaller --gradient-clip, or --precision fp32.")
  }

  /// The device that computes has failed.
  ///
  /// - Parameters:
  ///   - step: that was not finished.
  ///   - checkpoint: the last one, if there is one.
  static func device(_ failure: any Error, step: Int, checkpoint: String?, resume: String) -> TrainingError {
    let kept =
      checkpoint.map { "What was learned up to \($0) is kept" } ?? "There is no checkpoint yet, so the run begins again"
    return TrainingError("step \(step): \(failure) \(kept). Go on with: \(resume), here or with --device cpu.")
  }
}
