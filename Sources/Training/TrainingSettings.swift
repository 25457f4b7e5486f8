import Compute
import Foundation
import Model

/// The options of a training run. Each has one name: of its flag, and of its key in `training.json`.
package struct TrainingSettings: Codable, Equatable, Sendable {
  /// Pretraining: the name of a model, or the path of a configuration.
  package var model: String?
  /// Fine-tuning: the model to begin with.
  package var from: String?
  package var data: String
  /// Passes over the data; nil where `steps` says how long the run is.
  package var epochs: Int?
  package var steps: Int?
  /// The most tokens of an optimizer step, which takes micro-batches as long as another one fits. Nil until the data are
  /// known.
  package var batchTokens: Int?
  /// The most tokens that go through the model at once; decides the memory of activations. Nil: `defaultMicroBatch`.
  package var microBatchTokens: Int?
  /// The most tokens of a document that the model sees at once. Nil until the model is known.
  package var sequenceLength: Int?
  package var optimizer: OptimizerKind
  package var learningRate: Double
  /// DPO: how dear it is to move away from the reference, the shape of the loss, and whether an answer's log-probability
  /// is the mean over its tokens. Nil in other stages.
  package var beta: Double?
  package var loss: PreferenceLoss.Shape?
  package var lengthNormalized: Bool?
  package var schedule = LearningRateSchedule.Shape.cosine
  /// Nil until the number of steps is known: 3% of them.
  package var warmupSteps: Int?
  package var beta1: Double = 0.9
  package var beta2: Double = 0.95
  package var epsilon: Double = 1e-8
  /// For matrices, none for norms. 0 makes AdamW Adam.
  package var weightDecay: Double = 0.1
  /// The largest norm of the gradient; a longer one is shortened to it. 0 for no limit.
  package var gradientClip: Double = 1
  package var precision = ElementType.fastest
  /// Activation checkpointing: of every layer only the input is kept, and the rest found again on the way back.
  package var recomputeActivations = false
  /// Of the adapter that is trained in place of the model; nil or 0: the model is, and the other three have no meaning.
  package var loraRank: Int?
  package var loraAlpha: Double?
  package var loraDropout: Double?
  package var loraTargets: [LoRATarget]?
  package var seed: Int = 42
  package var threads: Int
  /// Steps from one held-out evaluation to the next. Nil until the number of steps is known.
  package var evalInterval: Int?
  /// Held-out tokens to evaluate on, whole documents from the first; 0 for all.
  package var evalTokens: Int = 32768
  /// Steps from one checkpoint to the next; nil: as `evalInterval`.
  package var checkpointInterval: Int?
  /// The newest checkpoints to keep; the best one stays besides.
  package var keepCheckpoints: Int = 2
  /// Steps from one printed line to the next where no bar can be drawn.
  package var logInterval: Int = 10
  /// Texts that the model continues at each evaluation, for reading along.
  package var samplePrompt: [String] = []
  /// Whether event files for TensorBoard are written, too. Nil: no.
  package var tensorboard: Bool?
  /// The project at Weights & Biases that the metrics go to, too. Nil: none.
  package var wandb: String?

  package init(stage: Stage, data: String, threads: Int) {
    self.data = data
    self.threads = threads
    optimizer = stage.defaultOptimizer
    learningRate = stage.defaultLearningRate
    if stage.defaultLoRARank > 0 { loraRank = stage.defaultLoRARank }
    if stage.loss == .preference {
      beta = 0.1
      loss = .sigmoid
      lengthNormalized = false
    }
  }

  /// The adapter that is trained; nil for the whole model.
  package var lora: LoRAConfiguration? {
    guard let loraRank, loraRank > 0 else { return nil }
    return LoRAConfiguration(
      rank: loraRank, alpha: loraAlpha ?? Self.defaultLoRAAlpha, dropout: loraDropout ?? Self.defaultLoRADropout,
      targets: loraTargets ?? LoRATarget.allCases)
  }

  /// Hu et al. and v1: twice the usual rank.
  package static let defaultLoRAAlpha = 16.0
  package static let defaultLoRADropout = 0.1

  enum CodingKeys: String, CodingKey, CaseIterable {
    case model, from, data, epochs, steps
    case batchTokens = "batch-tokens"
    case microBatchTokens = "micro-batch-tokens"
    case sequenceLength = "sequence-length"
    case optimizer
    case learningRate = "learning-rate"
    case beta, loss
    case lengthNormalized = "length-normalized"
    case schedule
    case warmupSteps = "warmup-steps"
    case beta1, beta2, epsilon
    case weightDecay = "weight-decay"
    case gradientClip = "gradient-clip"
    case precision
    case recomputeActivations = "recompute-activations"
    case loraRank = "lora-rank"
    case loraAlpha = "lora-alpha"
    case loraDropout = "lora-dropout"
    case loraTargets = "lora-targets"
    case seed, threads
    case evalInterval = "eval-interval"
    case evalTokens = "eval-tokens"
    case checkpointInterval = "checkpoint-interval"
    case keepCheckpoints = "keep-checkpoints"
    case logInterval = "log-interval"
    case samplePrompt = "sample-prompt"
    case tensorboard, wandb
  }

  /// Options that may differ when a run is resumed, since they change nothing of what is learned. `threads` changes the
  /// last bits only: sums are then split otherwise. `from` and `data` may be other paths to the same model and data.
  private static let changeableOnResume: Set<CodingKeys> = [
    .from, .data, .threads, .recomputeActivations, .evalInterval, .checkpointInterval, .keepCheckpoints, .logInterval,
    .samplePrompt, .tensorboard, .wandb,
  ]

  /// The flags, as "--seed", whose values in `other` would make another run of this one.
  package func alteringOptions(in other: TrainingSettings) throws -> [String] {
    func values(_ settings: TrainingSettings) throws -> [String: NSObject] {
      let data = try JSONEncoder().encode(settings)
      return try JSONSerialization.jsonObject(with: data) as? [String: NSObject] ?? [:]
    }
    let (mine, others) = (try values(self), try values(other))
    return CodingKeys.allCases.filter { key in
      !Self.changeableOnResume.contains(key) && mine[key.rawValue] != others[key.rawValue]
    }.map { "--" + $0.rawValue }
  }

  /// - Throws: `TrainingError` when two options contradict each other.
  func validate() throws(TrainingError) {
    guard epochs == nil || steps == nil else {
      throw TrainingError("--epochs and --steps both say how long the run is. Give one of them.")
    }
    guard lora != nil || (loraAlpha == nil && loraDropout == nil && loraTargets == nil) else {
      throw TrainingError("--lora-alpha, --lora-dropout and --lora-targets need a --lora-rank above 0. Give one.")
    }
    guard lora == nil || optimizer == .adamW else {
      throw TrainingError(
        "--optimizer \(optimizer.rawValue) is for the matrices of a model, which an adapter leaves as they are. "
          + "Leave it out.")
    }
    guard loraTargets?.isEmpty != true else {
      throw TrainingError("--lora-targets names no layer. Leave it out for all of them.")
    }
    let microBatch = microBatchTokens ?? defaultMicroBatch
    if let sequenceLength, sequenceLength > microBatch {
      throw TrainingError(
        "--sequence-length \(sequenceLength) does not fit into --micro-batch-tokens \(microBatch). "
          + "Raise the latter or lower the former.")
    }
    if let batchTokens, batchTokens < microBatch {
      throw TrainingError(
        "--batch-tokens \(batchTokens) is less than --micro-batch-tokens \(microBatch). "
          + "Raise the former or lower the latter.")
    }
  }

  /// The loss of a stage that compares pairs.
  var preferenceLoss: PreferenceLoss {
    PreferenceLoss(shape: loss ?? .sigmoid, beta: beta ?? 0.1, isLengthNormalized: lengthNormalized ?? false)
  }

  /// 2048 tokens: enough rows for the matrix products to run at full rate. More for longer sequences, less where the
  /// batch is smaller.
  var defaultMicroBatch: Int { min(max(2048, sequenceLength ?? 0), batchTokens ?? .max) }
}
