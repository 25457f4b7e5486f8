import Corpus
import Model
import Processes
import Storage

/// The settings of a run, each with its value: what was asked for, the defaults, and what follows from the model and the
/// data. Settings that have a default are read by their names in `SettingList`.
@dynamicMemberLookup
package struct ResolvedSettings: Sendable {
  /// How long a run is.
  package enum Length: Sendable, Equatable {
    /// Passes over the data.
    case epochs(Int)
    /// Optimizer steps.
    case steps(Int)
  }

  private let stage: Stage
  /// What `training.json` records: every value under the name of its flag.
  package private(set) var recorded: TrainingSettings
  /// The directory of the data.
  package let data: String
  package let length: Length
  let sizes: BatchSizes
  /// The most tokens of an optimizer step, which takes micro-batches as long as another one fits.
  package var batchTokens: Int { sizes.batch }
  /// The most tokens that go through the model at once; decides the memory of activations.
  package var microBatchTokens: Int { sizes.microBatch }
  /// The most tokens of a document that the model sees at once.
  package var sequenceLength: Int { sizes.sequence }
  /// Threads of this process.
  package let threads: Int
  /// The adapter that is trained; nil for the whole model.
  package let lora: LoRAConfiguration?
  /// What is trained of a model that sees; everything of another. Below an adapter it says that the tower stays.
  package let learning: SightTraining
  /// Optimizer steps of the whole run.
  package let totalSteps: Int
  /// Of the schedule.
  package let warmupSteps: Int
  /// The step after which the schedule begins: where the run was extended last.
  package let scheduleStart: Int
  /// Steps from one held-out evaluation to the next.
  package let evalInterval: Int
  /// Steps from one checkpoint to the next.
  package let checkpointInterval: Int
  /// The project at Weights & Biases that the metrics also go to, if any.
  package let wandb: String?

  /// 2048 tokens: enough rows for the matrix products to run at full rate.
  static let usualMicroBatch = 2048
  static let usualSequenceLength = 512

  /// The value of a setting that always has one.
  package subscript<Value>(dynamicMember setting: KeyPath<SettingList, Setting<Value>>) -> Value {
    recorded[dynamicMember: setting] ?? SettingList.shared[keyPath: setting].standard(of: stage)
  }

  /// The model that the run begins with, for people: a path, or the name of a new one.
  package var modelName: String { recorded.modelName }

  /// Reads no token of the data, but walks over all documents of the run where its length is in epochs.
  ///
  /// - Parameter progress: how far the run is.
  /// - Throws: `TrainingError` when what was asked for does not fit the model or the data, `FileError` for the data.
  init(
    _ asked: TrainingSettings, _ stage: Stage, data: String, _ configuration: ModelConfiguration,
    _ dataset: TokenShardDataset, from progress: RunProgress
  ) throws {
    self.stage = stage
    self.data = data
    threads = asked.threads ?? CoreShare.own.threads
    wandb = asked.wandb
    lora = Self.adapter(asked, stage, configuration)
    learning =
      configuration.sight == nil
      ? .everything
      : lora != nil ? .allButTower : asked.train ?? .usual(in: stage, towerIsNew: asked.tower == NewSight.newTower)

    sizes = try BatchSizes(asked, stage, configuration, dataset, data: data)
    length = asked.steps.map { .steps($0) } ?? .epochs(asked.epochs ?? stage.defaultEpochs)
    let seed = asked.seed ?? SettingList.shared.seed.standard(of: stage)
    totalSteps = try sizes.stepCount(length, dataset, seed: seed, from: progress)

    scheduleStart = progress.scheduleStart
    let scheduledSteps = max(0, totalSteps - scheduleStart)
    warmupSteps = min(asked.warmupSteps ?? scheduledSteps * 3 / 100, scheduledSteps)
    let evalTokens = asked.evalTokens ?? SettingList.shared.evalTokens.standard(of: stage)
    evalInterval =
      asked.evalInterval
      ?? (stage.readsDocuments
        ? Self.evalInterval(
          totalSteps: totalSteps, batchTokens: sizes.batch, evalTokens: evalTokens,
          heldOutTokens: dataset.heldOut.inputTokenCount)
        : max(1, min(5, totalSteps), min(250, totalSteps / 20)))
    // Only between the passes over some answers and the next answers can a run be saved.
    let passes = stage.readsDocuments ? 1 : asked.passes ?? SettingList.shared.passes.standard(of: stage)
    checkpointInterval = ((asked.checkpointInterval ?? evalInterval) + passes - 1) / passes * passes

    recorded = asked
    for setting in stage.settings where recorded[setting.name] == nil {
      recorded[setting.name] = setting.standard(stage)
    }
    switch length {
    case .epochs(let count): recorded.epochs = count
    case .steps(let count): recorded.steps = count
    }
    if stage.readsDocuments { recorded.batchTokens = sizes.batch }
    recorded.microBatchTokens = sizes.microBatch
    recorded.sequenceLength = sizes.sequence
    recorded.threads = threads
    recorded.warmupSteps = warmupSteps
    recorded.evalInterval = evalInterval
    recorded.checkpointInterval = checkpointInterval
    if configuration.sight != nil, lora == nil, stage.ownSettings.contains(where: { $0.name == "train" }) {
      recorded.train = learning
    }
    let stored = dataset.manifest.teacher
    if asked.teacher != nil || stored != nil {
      var distillation = Distillation(asked)
      if let stored { (distillation.temperature, distillation.top) = (stored.temperature, stored.top) }
      recorded.teacherTop = distillation.top
      recorded.distillAlpha = distillation.textShare
      recorded.distillTemperature = distillation.temperature
      recorded.distillBeta = distillation.mixture
    }
    if asked.onPolicy ?? 0 > 0 {
      recorded.answerTokens = asked.answerTokens ?? SettingList.shared.answerTokens.standard(of: stage)
      recorded.temperature = asked.temperature ?? SettingList.shared.temperature.standard(of: stage)
    }
    if let loss = recorded.loss {
      let preferences = PreferenceLoss(shape: loss, beta: 1, isLengthNormalized: false)
      if loss == .robust { recorded.labelSmoothing = asked.labelSmoothing ?? preferences.labelSmoothing }
      if loss == .simpo { recorded.simpoGamma = asked.simpoGamma ?? preferences.simpoGamma }
    }
    if let lora {
      recorded.loraAlpha = lora.alpha
      recorded.loraDropout = lora.dropout
      recorded.loraTargets = lora.targets
    }
  }

  private static func adapter(
    _ asked: TrainingSettings, _ stage: Stage, _ configuration: ModelConfiguration
  ) -> LoRAConfiguration? {
    guard asked.hasAdapter(in: stage) else { return nil }
    let targets = asked.loraTargets ?? LoRATarget.usual(in: configuration)
    return LoRAConfiguration(
      rank: asked.loraRank ?? stage.defaultLoRARank, alpha: asked.loraAlpha ?? LoRAConfiguration.usualAlpha,
      dropout: asked.loraDropout ?? LoRAConfiguration.usualDropout, targets: targets)
  }

  /// Twenty times in a run, every 250 steps in a long one, in case the power fails, and every 5 in a short one. But a token
  /// costs a third of its training to evaluate, and evaluation should take no more than about a twentieth of the time.
  private static func evalInterval(totalSteps: Int, batchTokens: Int, evalTokens: Int, heldOutTokens: Int) -> Int {
    let tokens = evalTokens == 0 ? heldOutTokens : min(evalTokens, heldOutTokens)
    return max(1, min(5, totalSteps), min(250, totalSteps / 20), min(totalSteps, tokens / batchTokens * 20 / 3))
  }
}

extension ResolvedSettings.Length {
  /// Whether a position is the end of the last epoch, or beyond. A run of a given number of steps reads on.
  func isEnd(_ position: BatchPosition, of split: TokenSplit) -> Bool {
    guard case .epochs(let count) = self else { return false }
    return position.epoch >= count || position.epoch == count - 1 && position.document == split.documentCount
  }
}
