import Model
import Corpus

/// A kind of training: which data it takes, what it minimises, and the defaults that suit it. The loop is the same for
/// all.
package struct Stage: Sendable, Equatable {
  package enum Loss: Sendable {
    /// Of each token, weighted by the data's loss mask: 1 everywhere for pretraining, on the assistant's tokens for
    /// fine-tuning.
    case crossEntropy
    /// Of pairs of documents, by `PreferenceLoss`: compares the model with the one that the run began with.
    case preference
  }

  /// The name of its command and in `training.json`.
  package let name: String
  package let dataKind: DataManifest.Kind
  package let loss: Loss
  package let defaultEpochs: Int
  package let defaultOptimizer: OptimizerKind
  package let defaultLearningRate: Double
  /// The rank of the adapter that is trained; 0: the whole model is.
  package let defaultLoRARank: Int
  /// Options that no other stage has.
  package var ownSettings: [SettingDescription] = []

  /// Stages are equal if their names are.
  package static func == (left: Stage, right: Stage) -> Bool { left.name == right.name }

  /// Whether it begins with a model, rather than from nothing.
  package var hasStartModel: Bool { dataKind != .pretrain }

  /// From nothing, on plain documents. Optimizer and rate are those that learned most: docs/LOG.md.
  package static let pretrain = Stage(
    name: "pretrain", dataKind: .pretrain, loss: .crossEntropy, defaultEpochs: 1, defaultOptimizer: .muon,
    defaultLearningRate: 3e-3, defaultLoRARank: 0)
  /// From a pretrained model, on conversations. Lower, so that what was learned stays.
  package static let sft = Stage(
    name: "sft", dataKind: .sft, loss: .crossEntropy, defaultEpochs: 3, defaultOptimizer: .adamW,
    defaultLearningRate: 3e-4, defaultLoRARank: 0)
  /// The same with an adapter. Higher, as an adapter begins at nothing and moves few values.
  package static let lora = Stage(
    name: "lora", dataKind: .sft, loss: .crossEntropy, defaultEpochs: 3, defaultOptimizer: .adamW,
    defaultLearningRate: 3e-3, defaultLoRARank: 8)
  /// From a model that answers, on pairs of answers (Direct Preference Optimization).
  package static let dpo = Stage(
    name: "dpo", dataKind: .dpo, loss: .preference, defaultEpochs: 1, defaultOptimizer: .adamW,
    defaultLearningRate: 5e-5, defaultLoRARank: 0, ownSettings: SettingList.shared.preferenceSettings)

  package static let all: [Stage] = [.pretrain, .sft, .lora, .dpo]
}
