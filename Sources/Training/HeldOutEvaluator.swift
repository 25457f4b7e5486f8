import Model

/// Measures a model on held-out data where that is not the stage's loss: what its answers are worth.
package protocol HeldOutEvaluator: AnyObject {
  /// - Parameters:
  ///   - engine: as it is now.
  ///   - step: what the result says of the weights.
  ///   - isWanted: asked now and then whether to go on.
  /// - Returns: nil when nothing is held out.
  /// - Throws: `Stopped` in all ranks when any of them was not to go on.
  func evaluate(
    _ engine: any TrainingEngine, step: Int, isWanted: () -> Bool
  ) throws -> (evaluation: Evaluation, samples: SampleReport)?
}
