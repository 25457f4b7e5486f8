import Compute
import Foundation
import Model
import Training

/// The options of the commands that train, and the settings that they make.
///
/// Every option is optional to the parser, since `--resume` brings all values from the run; what a new run cannot do
/// without is checked in `newSettings`.
struct TrainingOptions: Sendable {
  private let stage: Stage
  private let model = Option.optional(
    "model", "NAME",
    help: "The model to train: tiny, small, moe or base, or a configuration FILE.json. Required for a new run.")
  private let from = Option.optional(
    "from", "MODEL", help: "The model to begin with: a run, a checkpoint or a model directory. Required for a new run.")
  private let data = Option.optional("data", "DIR", help: "Prepared data. Required for a new run.")
  private let output = Option.optional("output", "RUN", help: "Directory of the new run. Required for a new run.")
  private let resume = Option.optional(
    "resume", "RUN", help: "Goes on with a run from its newest checkpoint, with its options; give no --output.")
  private let epochs: Option<Int?>
  private let steps = Option.optionalInteger(
    "steps", in: TrainingBounds.steps, help: "Optimizer steps of the run, instead of epochs.")
  private let batchTokens = Option.optionalInteger(
    "batch-tokens", in: TrainingBounds.batchTokens, defaultText: "2048 to 16384, so that there are 500 steps",
    help: "The most tokens of an optimizer step, gathered over micro-batches.")
  private let microBatchTokens = Option.optionalInteger(
    "micro-batch-tokens", in: TrainingBounds.microBatchTokens, defaultText: "2048",
    help: "Tokens that go through the model at once; fewer take less memory.")
  private let sequenceLength = Option.optionalInteger(
    "sequence-length", in: TrainingBounds.sequenceLength, defaultText: "512, or what the model can",
    help: "The most tokens of a document that the model sees at once."
  )
  private let optimizer: Option<OptimizerKind>
  private let learningRate: Option<Double>
  private let schedule = Option.choice(
    "schedule", default: LearningRateSchedule.Shape.cosine,
    help: "How the learning rate falls to a tenth: all the way, over the last fifth, or not at all.")
  private let warmupSteps = Option.optionalInteger(
    "warmup-steps", in: TrainingBounds.warmupSteps, defaultText: "3% of the steps",
    help: "Steps over which the learning rate rises.")
  private let beta1 = Option.number(
    "beta1", default: 0.9, in: TrainingBounds.beta1, help: "AdamW's memory for the gradient.")
  private let beta2 = Option.number(
    "beta2", default: 0.95, in: TrainingBounds.beta2, help: "AdamW's memory for its square.")
  private let epsilon = Option.number(
    "epsilon", default: 1e-8, in: TrainingBounds.epsilon, help: "AdamW's guard against zero.")
  private let weightDecay = Option.number(
    "weight-decay", default: 0.1, in: TrainingBounds.weightDecay,
    help: "AdamW's pull of matrices to zero; 0 makes it Adam.")
  private let gradientClip = Option.number(
    "gradient-clip", default: 1, in: TrainingBounds.gradientClip,
    help: "The largest norm of the gradient; 0 for no limit.")
  private let precision = Option.choice(
    "precision", default: ElementType.fastest, help: "What the matrix products take in; weights are kept in fp32.")
  static let recomputeActivations = Option.flag(
    "recompute-activations",
    help: "Keeps of every layer its input alone and computes the rest again: less memory, more time, the same result.")
  private let loraRank: Option<Int?>
  private let loraAlpha = Option.optionalNumber(
    "lora-alpha", in: TrainingBounds.loraAlpha, defaultText: formatNumber(TrainingSettings.defaultLoRAAlpha),
    help: "The adapter's product is multiplied by this over the rank.")
  private let loraDropout = Option.optionalNumber(
    "lora-dropout", in: TrainingBounds.loraDropout, defaultText: formatNumber(TrainingSettings.defaultLoRADropout),
    help: "The share of an adapter's input that each step leaves out.")
  private let loraTargets = Option.choices(
    "lora-targets", of: LoRATarget.self, defaultText: "all", help: "The linear layers that get an adapter.")
  private let evalInterval = Option.optionalInteger(
    "eval-interval", in: TrainingBounds.interval,
    defaultText: "a twentieth of the steps, at most 250; more where it would take long",
    help: "Steps from one held-out evaluation to the next.")
  private let evalTokens = Option.integer(
    "eval-tokens", default: 32768, in: TrainingBounds.evalTokens, help: "Held-out tokens to evaluate on; 0 for all.")
  private let checkpointInterval = Option.optionalInteger(
    "checkpoint-interval", in: TrainingBounds.interval, defaultText: "as --eval-interval",
    help: "Steps from one checkpoint to the next.")
  private let keepCheckpoints = Option.integer(
    "keep-checkpoints", default: 2, in: TrainingBounds.keepCheckpoints,
    help: "Newest checkpoints to keep; the best is kept besides.")
  private let logInterval = Option.integer(
    "log-interval", default: 10, in: TrainingBounds.interval,
    help: "Steps from one line to the next where no bar can be drawn.")

  private let tensorBoard = Option.flag(
    "tensorboard", help: "Also writes event files into RUN/tensorboard, for: tensorboard --logdir RUN")
  private let wandb = Option.optional(
    "wandb", "PROJECT", help: "Also sends the metrics to Weights & Biases, through its Python package.")
  private let samplePrompt: Option<[String]>
  private let beta = Option.number(
    "beta", default: 0.1, in: TrainingBounds.beta,
    help: "How dear it is to move away from the model that the run begins with.")
  private let loss = Option.choice(
    "loss", default: PreferenceLoss.Shape.sigmoid,
    help: "Of a pair: sigmoid is DPO's, which wants ever larger margins; ipo stops at a margin of 1/(2 beta).")
  private let lengthNormalized = Option.flag(
    "length-normalized", help: "Divides an answer's log-probability by its tokens, so that length does not count.")

  init(_ stage: Stage) {
    self.stage = stage
    samplePrompt = Option.list(
      "sample-prompt", "TEXT",
      help:
        "Texts for the model to \(stage == .pretrain ? "continue" : "answer") at each evaluation, kept in samples.txt."
    )
    loraRank = Option.optionalInteger(
      "lora-rank", in: stage == .lora ? 1...TrainingBounds.loraRank.upperBound : TrainingBounds.loraRank,
      defaultText: String(stage.defaultLoRARank),
      help: stage == .lora
        ? "Rank of the adapter." : "Trains an adapter of this rank in place of the model; 0: the whole model.")
    epochs = Option.optionalInteger(
      "epochs", in: TrainingBounds.epochs, defaultText: String(stage.defaultEpochs), help: "Passes over the data.")
    optimizer = Option.choice(
      "optimizer", default: stage.defaultOptimizer,
      help: "What moves the weights: AdamW, or Muon for the matrices inside the layers.")
    learningRate = Option.number(
      "learning-rate", default: stage.defaultLearningRate, in: TrainingBounds.learningRate,
      help: "The learning rate at its peak.")
  }

  var all: [any OptionDescription] {
    let first: [any OptionDescription] = [
      stage.hasStartModel ? from : model, data, output, resume, epochs, steps, batchTokens, microBatchTokens,
      sequenceLength, optimizer, learningRate,
    ]
    let ofPairs: [any OptionDescription] = stage.loss == .preference ? [beta, loss, lengthNormalized] : []
    let adapter: [any OptionDescription] = stage.hasStartModel ? [loraRank, loraAlpha, loraDropout, loraTargets] : []
    return first + ofPairs + [
      schedule, warmupSteps, beta1, beta2, epsilon, weightDecay, gradientClip, precision, Self.recomputeActivations,
      Option.seed, Option.threads, evalInterval, evalTokens, checkpointInterval, keepCheckpoints, logInterval,
      samplePrompt, tensorBoard, wandb, Option.exchangeTimeout,
    ] + adapter
  }

  /// The run to go on with, if any.
  func resumedRun(_ invocation: Invocation) throws -> String? {
    guard let run = invocation[resume] else { return nil }
    guard invocation[output] == nil else {
      throw UsageError("--resume and --output exclude each other; a resumed run stays where it is.")
    }
    return run
  }

  /// The settings and the directory of a new run.
  func newSettings(_ invocation: Invocation) throws -> (settings: TrainingSettings, output: String) {
    func required(_ option: Option<String?>) throws -> String {
      guard let value = invocation[option] else {
        throw UsageError(
          "\(invocation.command.name) needs --\(option.name) \(option.placeholder), or --resume RUN to go on with a run."
        )
      }
      return value
    }
    _ = try required(stage.hasStartModel ? from : model)
    let data = try required(data)
    let output = try required(output)
    let settings = TrainingSettings(stage: stage, data: data, threads: threadCount(invocation))
    return (changed(settings, by: invocation), output)
  }

  /// `settings` with every option that stands on the command line.
  func changed(_ settings: TrainingSettings, by invocation: Invocation) -> TrainingSettings {
    var settings = settings
    func take<Value>(_ option: Option<Value>, _ property: WritableKeyPath<TrainingSettings, Value>) {
      if invocation.isGiven(option) { settings[keyPath: property] = invocation[option] }
    }
    func take<Value>(_ option: Option<Value>, _ property: WritableKeyPath<TrainingSettings, Value?>) {
      if invocation.isGiven(option) { settings[keyPath: property] = invocation[option] }
    }
    if stage.hasStartModel {
      take(from, \.from)
      take(loraRank, \.loraRank)
      take(loraAlpha, \.loraAlpha)
      take(loraDropout, \.loraDropout)
      take(loraTargets, \.loraTargets)
    } else {
      take(model, \.model)
    }
    if let path = invocation[data] { settings.data = path }
    // A resumed run keeps its number, which decides the last bits, unless that is more than the process has cores.
    settings.threads = invocation[Option.threads] ?? min(settings.threads, threadCount(invocation))
    take(epochs, \.epochs)
    take(steps, \.steps)
    take(batchTokens, \.batchTokens)
    take(microBatchTokens, \.microBatchTokens)
    take(sequenceLength, \.sequenceLength)
    take(optimizer, \.optimizer)
    take(learningRate, \.learningRate)
    if stage.loss == .preference {
      take(beta, \.beta)
      take(loss, \.loss)
      take(lengthNormalized, \.lengthNormalized)
    }
    take(schedule, \.schedule)
    take(warmupSteps, \.warmupSteps)
    take(beta1, \.beta1)
    take(beta2, \.beta2)
    take(epsilon, \.epsilon)
    take(weightDecay, \.weightDecay)
    take(gradientClip, \.gradientClip)
    take(precision, \.precision)
    take(Self.recomputeActivations, \.recomputeActivations)
    take(Option.seed, \.seed)
    take(evalInterval, \.evalInterval)
    take(evalTokens, \.evalTokens)
    take(checkpointInterval, \.checkpointInterval)
    take(keepCheckpoints, \.keepCheckpoints)
    take(logInterval, \.logInterval)
    take(samplePrompt, \.samplePrompt)
    take(tensorBoard, \.tensorboard)
    take(wandb, \.wandb)
    return settings
  }
}
