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
  /// Gets what is being done and the share of it that is done; stops it by giving false.
  package let progress: (_ what: String, _ share: Double) throws -> Bool
}

/// A stage's objective on either split.
package struct StageObjectives {
  package var training: any Objective
  package var heldOut: any Objective

  package init(training: any Objective, heldOut: any Objective) {
    self.training = training
    self.heldOut = heldOut
  }

  static var crossEntropy: StageObjectives {
    StageObjectives(training: CrossEntropyObjective(), heldOut: CrossEntropyObjective())
  }
}
