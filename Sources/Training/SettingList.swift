import Model

/// The options of training runs, each declared once. The command line, the help pages, `training.json`, the checks of a
/// resumed run and the program itself have them from here.
///
/// `TrainingSettings` and `ResolvedSettings` read values by these names: `settings.beta2`.
package struct SettingList: Sendable {
  package static let shared = SettingList()

  // MARK: - What is trained, on what, how long

  package let model = OpenSetting<String>(
    "model", "NAME", mayDiffer: .betweenProcesses,
    help:
      "A new model to train: \(ModelConfiguration.names.joined(separator: ", ")), or a configuration FILE.json. A new run needs it or --from."
  )
  package let from = OpenSetting<String>(
    "from", "MODEL", mayDiffer: [.onResume, .betweenProcesses],
    help: "The model to begin with: a run, a checkpoint or a model directory. Required for a new run.")
  package let data = OpenSetting<String>(
    "data", "DIR", mayDiffer: [.onResume, .betweenProcesses], help: "Prepared data. Required for a new run.")
  package let epochs = OpenSetting<Int>(
    "epochs", kind: .integer(1...10_000), mayDiffer: .onExtension,
    help: "Passes over the data. With --resume, more of them make the run longer.",
    defaultText: { String($0.defaultEpochs) })
  package let steps = OpenSetting<Int>(
    "steps", kind: .integer(1...1_000_000_000), mayDiffer: .onExtension,
    help: "Optimizer steps of the run, instead of epochs. With --resume, more of them make the run longer.")
  package let batchTokens = OpenSetting<Int>(
    "batch-tokens", kind: .integer(1...1 << 30),
    help: "The most tokens of an optimizer step, gathered over micro-batches.",
    defaultText: { _ in "2048 to 16384: at least 500 steps where the data allow" })
  package let microBatchTokens = OpenSetting<Int>(
    "micro-batch-tokens", kind: .integer(1...1 << 24),
    help: "The most tokens that go through the model at once; fewer take less memory.",
    defaultText: { _ in String(ResolvedSettings.usualMicroBatch) })
  package let sequenceLength = OpenSetting<Int>(
    "sequence-length", kind: .integer(1...1 << 20),
    help: "The most tokens of a document that the model sees at once.",
    defaultText: { _ in "\(ResolvedSettings.usualSequenceLength), or the model's limit if that is lower" })

  // MARK: - How

  package let optimizer = Setting<OptimizerKind>(
    "optimizer", inOlderRuns: .adamW,
    help: "What updates the weights: AdamW, or Muon for the matrices inside the layers.",
    standard: { $0.defaultOptimizer })
  package let learningRate = Setting<Double>(
    "learning-rate", kind: .number(1e-12...10), mayDiffer: .onExtension, help: "The learning rate at its peak.",
    standard: { $0.defaultLearningRate })
  package let schedule = Setting(
    "schedule", default: LearningRateSchedule.Shape.cosine, mayDiffer: .onExtension,
    help: "How the learning rate falls to a tenth of its peak: cosine over the whole run, wsd (warm-up, stable, decay) "
      + "over the last fifth, constant not at all.")
  package let warmupSteps = OpenSetting<Int>(
    "warmup-steps", mayDiffer: .onExtension, help: "Steps over which the learning rate rises from 0 to its peak.",
    defaultText: { _ in "3% of the steps" })
  package let beta1 = Setting(
    "beta1", default: 0.9, in: 0...0.9999, help: "AdamW: decay rate of the running mean of the gradient.")
  package let beta2 = Setting(
    "beta2", default: 0.95, in: 0...0.999999, help: "AdamW: decay rate of the running mean of its square.")
  package let epsilon = Setting(
    "epsilon", default: 1e-8, in: 1e-20...1,
    help: "AdamW: added to the divisor of each update, so that it is never zero.")
  package let weightDecay = Setting(
    "weight-decay", default: 0.1, in: 0...10,
    help: "Decoupled weight decay of matrices, not of norms; 0 makes AdamW Adam.")
  package let gradientClip = Setting(
    "gradient-clip", default: 1, in: 0...1e9,
    help: "The largest norm of the gradient; a longer one is scaled down to it. 0 for no limit.")
  package let device = Setting(
    "device", default: TrainingDevice.cpu, mayDiffer: .onResume, inOlderRuns: .cpu,
    help: "Where the run computes: cpu, or gpu, which has not been tried on one (docs/gpu.md).")
  package let devices = Setting(
    "devices", default: 1, in: 1...64, mayDiffer: .onResume,
    help: "With --device gpu, the GPUs of this machine that share each micro-batch and the optimizer's moments.")
  package let precision = Setting<ElementType>(
    "precision", help: "Number type of the matrix products' inputs; weights are kept in fp32.",
    standard: { $0.defaultPrecision })
  package let recomputeActivations = Setting<Bool>(
    "recompute-activations", mayDiffer: .onResume, inOlderRuns: false,
    help: "Keeps only the input of each layer and computes the rest again in the backward pass: less memory, more "
      + "time, the same result. With --device gpu a run always does.", standard: { $0.recomputesByDefault })
  package let seed = Setting<Int>(
    "seed", default: 42, in: 0...Int.max, help: "Starts every random choice; the same seed repeats the run.")
  /// Changes the last bits of a resumed run, whose sums are then split otherwise.
  package let threads = OpenSetting<Int>(
    "threads", kind: .integer(1...1024), mayDiffer: [.onResume, .betweenProcesses], help: "Threads to compute with.",
    defaultText: { _ in "all cores" })

  // MARK: - What is seen of it, and kept

  package let evalInterval = OpenSetting<Int>(
    "eval-interval", kind: .integer(1...1_000_000_000), mayDiffer: .onResume,
    help: "Steps from one held-out evaluation to the next.",
    defaultText: { _ in "a twentieth of the steps, from 5 to 250; more where it would take long" })
  package let evalTokens = Setting(
    "eval-tokens", default: 32768, in: 0...Int.max,
    help: "Held-out tokens to evaluate on, whole documents from the first; 0 for all.")
  package let checkpointInterval = OpenSetting<Int>(
    "checkpoint-interval", kind: .integer(1...1_000_000_000), mayDiffer: .onResume,
    help: "Steps from one checkpoint to the next.", defaultText: { _ in "as --eval-interval" })
  package let keepCheckpoints = Setting(
    "keep-checkpoints", default: 2, in: 1...1000, mayDiffer: .onResume,
    help: "Newest checkpoints to keep, in addition to the best.")
  package let logInterval = Setting(
    "log-interval", default: 10, in: 1...1_000_000_000, mayDiffer: .onResume,
    help: "Steps from one line to the next where no bar can be drawn.")
  package let samplePrompt = Setting<[String]>(
    "sample-prompt", default: [], mayDiffer: .onResume,
    help: "Texts that the model continues in pretraining, and answers in other stages, at each evaluation; kept in "
      + "samples.txt.")
  package let tensorboard = Setting(
    "tensorboard", default: false, mayDiffer: .onResume, inOlderRuns: false,
    help: "Also writes event files into RUN/tensorboard, for: tensorboard --logdir RUN")
  package let wandb = OpenSetting<String>(
    "wandb", "PROJECT", mayDiffer: .onResume,
    help: "Also sends the metrics to Weights & Biases, through its Python package.")

  // MARK: - A model that sees

  package let tower = OpenSetting<String>(
    "tower", "DIR", mayDiffer: .betweenProcesses,
    help:
      "Lets the model see: the directory of a CLIP or SigLIP model, or of one that sees, whose vision tower it gets "
      + "with a new projector; or new, for a small tower with random weights.")
  package let train = OpenSetting<SightTraining>(
    "train",
    help: "What of a model that sees is trained: the projector, the projector and the language model's first and last "
      + "layer, everything except the vision tower, or everything.",
    defaultText: { stage in
      let usual = SightTraining.usual(in: stage, towerIsNew: false).rawValue
      return stage.givesSight ? "\(SightTraining.allButTower.rawValue) with --tower new, otherwise \(usual)" : usual
    })

  package var sightSettings: [SettingDescription] { [tower.description, train.description] }

  // MARK: - An adapter

  package let loraRank = Setting<Int>(
    "lora-rank", kind: .integer(0...4096), inOlderRuns: 0,
    help: "Trains an adapter of this rank in place of the model; 0: the whole model.",
    standard: { $0.defaultLoRARank })
  package let loraAlpha = OpenSetting<Double>(
    "lora-alpha", kind: .number(0...1e6), help: "The adapter's product is multiplied by this over the rank.",
    defaultText: { _ in LoRAConfiguration.usualAlpha.json.helpText })
  package let loraDropout = OpenSetting<Double>(
    "lora-dropout", kind: .number(0...0.95), help: "The share of an adapter's input that each step leaves out.",
    defaultText: { _ in LoRAConfiguration.usualDropout.json.helpText })
  package let loraTargets = OpenSetting<[LoRATarget]>(
    "lora-targets",
    help: "The linear layers that get an adapter; gate, up and down in a mixture of experts are those of every expert.",
    defaultText: { _ in "all; in a mixture those of attention" })
}

extension Stage {
  /// The options that say what a run begins with. A new run has one of them.
  package var startSettings: [SettingDescription] {
    let list = SettingList.shared
    guard canMakeModel else { return [list.from.description] }
    return [
      list.model.description,
      list.from.description.with(
        help: "A model to train further: a run, a checkpoint or a model directory. A new run needs it or --model."),
    ]
  }

  /// The options of its runs, in the order of the help page.
  package var settings: [SettingDescription] {
    let list = SettingList.shared
    let place = [list.device.description, list.devices.description]
    return startSettings + [
      list.data.description, list.epochs.description,
      list.steps.description,
    ] + (readsDocuments ? [list.batchTokens.description] : []) + [
      list.microBatchTokens.description, list.sequenceLength.description, list.optimizer.description,
      list.learningRate.description,
    ] + ownSettings + [
      list.schedule.description, list.warmupSteps.description, list.beta1.description, list.beta2.description,
      list.epsilon.description, list.weightDecay.description, list.gradientClip.description,
    ] + place + [
      list.precision.description, list.recomputeActivations.description, list.seed.description,
      list.threads.description, list.evalInterval.description, list.evalTokens.description,
      list.checkpointInterval.description, list.keepCheckpoints.description, list.logInterval.description,
    ] + (scores ? [] : [list.samplePrompt.description]) + [
      list.tensorboard.description, list.wandb.description,
    ]
      + (modelsAnswer && !scores
        ? [
          // A stage that is there for adapters cannot go without.
          defaultLoRARank > 0
            ? list.loraRank.description.with(kind: .integer(1...4096), help: "Rank of the adapter.")
            : list.loraRank.description,
          list.loraAlpha.description, list.loraDropout.description,
          list.loraTargets.description,
        ] : [])
  }
}

extension SettingDescription {
  /// The same setting as it is in one stage.
  func with(kind: SettingKind? = nil, help: String) -> SettingDescription {
    SettingDescription(
      name: name, kind: kind ?? self.kind, placeholder: placeholder, help: help, freedom: freedom,
      defaultText: defaultText, standard: standard, valueInOlderRuns: valueInOlderRuns)
  }

  /// The same setting where only some runs have it: it is not recorded unless it is given.
  func open(help: String) -> SettingDescription {
    SettingDescription(
      name: name, kind: kind, placeholder: placeholder, help: help, freedom: freedom, defaultText: defaultText,
      standard: { _ in nil }, valueInOlderRuns: nil)
  }
}

extension OptimizerKind: SettingChoice {}
extension ElementType: SettingChoice {}
extension LearningRateSchedule.Shape: SettingChoice {}
extension LoRATarget: SettingChoice {}
extension SightTraining: SettingChoice {}

extension SightTraining {
  /// As MiniMind-V and LLaVA have it: captions teach the projector, conversations the language model as well. What a tower of
  /// random weights makes of a picture is a code that a language model can learn to read; learning along from the first step, the
  /// tower makes all rows alike (docs/vision.md, "A new tower").
  static func usual(in stage: Stage, towerIsNew: Bool) -> SightTraining {
    towerIsNew || stage.modelsAnswer ? .allButTower : .projector
  }
}
