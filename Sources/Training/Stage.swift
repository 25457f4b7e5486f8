import Corpus
import Model

/// A kind of training: which data it takes, what it minimises and reports, and the settings that are its own. The loop is
/// the same for all.
package struct Stage: Sendable, Equatable {
  /// The name of its command and in `training.json`.
  package let name: String
  package let dataKind: DataManifest.Kind
  package let defaultEpochs: Int
  package let defaultOptimizer: OptimizerKind
  package let defaultLearningRate: Double
  /// The rank of the adapter that is trained; 0: the whole model is.
  package var defaultLoRARank = 0
  /// What the engine computes fastest, where the program has said which engine (`computed(by:)`).
  package private(set) var defaultPrecision = ElementType.float32
  /// Whether a run recomputes activations unless it is asked otherwise; as the engine wants it, too.
  package private(set) var recomputesByDefault = false
  /// Whether its models give a text a score, rather than write.
  package var scores = false
  /// Whether a value head is trained beside the model.
  package var learnsValues = false
  /// Options that no other stage has.
  package var ownSettings: [SettingDescription] = []
  /// What it reports in addition to what all stages do.
  package var metrics: [Metric] = []
  /// Nil when it was stopped (`StageContext.progress`).
  package var makeObjectives: @Sendable (StageContext) throws -> StageObjectives? = Stage.objectives
  package var makeSource: @Sendable (StageContext) throws -> any BatchSource = Stage.source

  /// Stages are equal if their names are.
  package static func == (left: Stage, right: Stage) -> Bool { left.name == right.name }

  /// The stage with what suits such engines as its defaults: the number type, and whether activations are recomputed.
  package func computed(by engines: any TrainingEngineProvider.Type) -> Stage {
    var stage = self
    stage.defaultPrecision = engines.fastestPrecision
    stage.recomputesByDefault = engines.recomputesByDefault
    return stage
  }

  /// Whether its models answer, rather than continue a text.
  package var modelsAnswer: Bool { dataKind != .pretrain }
  /// Whether it reads documents that are prepared, rather than what the model writes.
  package var readsDocuments: Bool { dataKind != .grpo }
  /// Whether its models may see: those that score, and those that learn from their own answers, may not.
  package var trainsSight: Bool { !scores && readsDocuments }
  /// Whether a run may give the model a tower.
  var givesSight: Bool { ownSettings.contains { $0.name == SettingList.shared.tower.description.name } }
  /// Whether a run may begin with random weights, rather than with a model.
  package var canMakeModel: Bool { !modelsAnswer }

  package static let all: [Stage] = [.pretrain, .sft, .lora, .dpo, .kto, .reward, .grpo, .ppo]

  /// From nothing or from another model, on plain documents. Optimizer and rate are those that learned most: docs/LOG.md.
  package static let pretrain = Stage(
    name: "pretrain", dataKind: .pretrain, defaultEpochs: 1, defaultOptimizer: .muon, defaultLearningRate: 3e-3,
    ownSettings: SettingList.shared.sightSettings + SettingList.shared.distillationSettings,
    metrics: DistillationObjective.metrics)
  /// From a pretrained model, on conversations. Lower, so that what was learned stays.
  package static let sft = Stage(
    name: "sft", dataKind: .sft, defaultEpochs: 3, defaultOptimizer: .adamW, defaultLearningRate: 3e-4,
    ownSettings: SettingList.shared.sightSettings + [SettingList.shared.thinkWeight.description]
      + SettingList.shared.distillationSettings + SettingList.shared.onPolicySettings)
  /// The same with an adapter. Higher, as an adapter begins at nothing and moves few values.
  package static let lora = Stage(
    name: "lora", dataKind: .sft, defaultEpochs: 3, defaultOptimizer: .adamW, defaultLearningRate: 3e-3,
    defaultLoRARank: 8,
    ownSettings: [SettingList.shared.thinkWeight.description] + SettingList.shared.distillationSettings
      + SettingList.shared.onPolicySettings)
}
