import Corpus
import Model
import Processes

/// What a stage has to make its objectives and its source from, when a run begins or goes on.
package struct StageContext {
  package let plan: TrainingPlan
  /// Where the run goes on.
  package let position: BatchPosition
  package let run: RunDirectory
  package let exchange: ProcessExchange
  package let engine: any TrainingEngine
  package let engines: any TrainingEngineProvider
  /// Nil for a stage that learns no values.
  package let valueHead: ValueHead?
  /// Nil where the program has none, which only a stage that learns from its own answers needs.
  package let writer: (any RolloutWriter)?
  /// Gets what is being done and the share of it that is done; stops it by giving false.
  package let progress: (_ what: String, _ share: Double) throws -> Bool
}

/// A stage's objective on either split.
package struct StageObjectives {
  package var training: any Objective
  package var heldOut: any Objective
  /// What is measured in place of the held-out objective; nil for that itself.
  package var evaluator: (any HeldOutEvaluator)?

  package init(training: any Objective, heldOut: any Objective, evaluator: (any HeldOutEvaluator)? = nil) {
    self.training = training
    self.heldOut = heldOut
    self.evaluator = evaluator
  }

  static var crossEntropy: StageObjectives {
    StageObjectives(training: CrossEntropyObjective(), heldOut: CrossEntropyObjective())
  }
}
