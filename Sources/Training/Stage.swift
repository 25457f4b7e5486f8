import Corpus

/// A kind of training: which data it takes, and the defaults that suit it. The loop is the same for all.
///
/// The loss of all stages is the cross-entropy of each token weighted by the data's loss mask, which is 1 everywhere
/// for pretraining and on the assistant's tokens for fine-tuning.
package struct Stage: Sendable, Equatable {
  /// The name of its command and in `training.json`.
  package let name: String
  package let dataKind: DataManifest.Kind
  package let defaultEpochs: Int
  package let defaultOptimizer: OptimizerKind
  package let defaultLearningRate: Double
  /// The rank of the adapter that is trained; 0: the whole model is.
  package let defaultLoRARank: Int

  /// Whether it begins with a model, rather than from nothing.
  package var hasStartModel: Bool { dataKind != .pretrain }

  /// From nothing, on plain documents. Optimizer and rate are those that learned most: docs/LOG.md.
  package static let pretrain = Stage(
    name: "pretrain", dataKind: .pretrain, defaultEpochs: 1, defaultOptimizer: .muon, defaultLearningRate: 3e-3,
    defaultLoRARank: 0)
  /// From a pretrained model, on conversations. Lower, so that what was learned stays.
  package static let sft = Stage(
    name: "sft", dataKind: .sft, defaultEpochs: 3, defaultOptimizer: .adamW, defaultLearningRate: 3e-4,
    defaultLoRARank: 0)
  /// The same with an adapter. Higher, as an adapter begins at nothing and moves few values.
  package static let lora = Stage(
    name: "lora", dataKind: .sft, defaultEpochs: 3, defaultOptimizer: .adamW, defaultLearningRate: 3e-3,
    defaultLoRARank: 8)
}
