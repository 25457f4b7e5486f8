import Compute
import Corpus
import Foundation
import Transformer

/// The one training loop: micro-batches to gradients, gradients to an optimizer step, and between steps held-out
/// evaluations, samples and checkpoints.
package final class Trainer {
  private let plan: TrainingPlan
  private let run: RunDirectory
  private let model: TrainedModel
  private let pass: TrainingPass
  private let optimizer: OptimizerState
  private let team: WorkerTeam
  private let schedule: LearningRateSchedule
  private let metrics: MetricsFile
  private let sinks: [any MetricsSink]
  private let sampler: Sampler?
  /// Where checkpoints get the tokenizer's files from: the run's own model as soon as it has one, since checkpoints go.
  private var tokenizerDirectory: String
  /// The stage's loss on either split.
  private var objectives: (training: Objective, heldOut: Objective) = (.crossEntropy, .crossEntropy)
  private var documents: BatchSequence
  private var batch = PackedBatch()
  private var heldOutBatch = PackedBatch()
  private var clock: RunClock
  package private(set) var state: TrainingState

  /// What the model at hand makes of each `--sample-prompt`.
  package typealias Sampler = (_ model: TrainedModel) throws -> [String]

  /// - Parameters:
  ///   - sinks: who is told of what happens, besides the files of the run directory.
  package init(
    _ plan: TrainingPlan, run: RunDirectory, team: WorkerTeam, sinks: [any MetricsSink], sampler: Sampler? = nil
  ) throws {
    self.plan = plan
    self.run = run
    self.team = team
    self.sampler = sampler
    let model = try plan.makeModel()
    self.model = model
    pass = try TrainingPass(
      model, precision: plan.settings.precision, maximumTokens: plan.microBatchTokens, team: team,
      recomputes: plan.settings.recomputeActivations, seed: UInt64(truncatingIfNeeded: plan.settings.seed))
    let optimizer = try OptimizerState(
      model.trained.table, plan.settings.optimizer, precision: plan.settings.precision, workers: team.count)
    self.optimizer = optimizer
    let state = try plan.checkpoint.map { try Checkpoint.load($0, into: optimizer) } ?? TrainingState()
    self.state = state
    documents = try BatchSequence(
      plan.dataset.training, sequenceLength: plan.sequenceLength,
      documentsPerSample: plan.stage.dataKind.documentsPerSample,
      shuffleSeed: UInt64(truncatingIfNeeded: plan.settings.seed), position: state.position)
    schedule = plan.schedule
    tokenizerDirectory = plan.tokenizerDirectory
    // Without a checkpoint everything comes again, the evaluation before the first step included.
    let lastKept = plan.checkpoint == nil ? -1 : state.step
    metrics = try MetricsFile(run.metricsPath, resumingAfter: lastKept)
    let tensorBoard =
      plan.settings.tensorboard == true ? [try TensorBoardFile(run.tensorBoardPath, resumingAfter: lastKept)] : []
    self.sinks = sinks + [metrics, try SamplesFile(run.samplesPath, resumingAfter: lastKept)] + tensorBoard
    clock = RunClock(firstStep: state.step, totalSteps: plan.totalSteps)
  }

  /// Trains to the last step, or until `isStopRequested` says so after a step; then saves.
  ///
  /// - Throws: `TrainingError` when the numbers leave the finite range, `FileError` when the disk fails; the last
  ///   checkpoint stays as it is. What a sink throws.
  package func train(isStopRequested: () -> Bool = { false }) throws -> TrainingSummary {
    let secondsBefore = state.seconds
    let tokensBefore = state.tokens
    clock.start()
    // The run may have ended between a checkpoint and what follows it.
    if plan.checkpoint != nil { try publish() }
    var isStopping = try !prepareObjectives { !isStopRequested() }
    if state.step == 0, !isStopping { try evaluate() }
    isStopping = isStopping || isStopRequested()
    while state.step < plan.totalSteps && !isStopping {
      try step()
      let isLast = state.step == plan.totalSteps
      isStopping = isStopRequested()
      let savesOnTime = isLast || state.step.isMultiple(of: plan.checkpointInterval)
      if savesOnTime || state.step.isMultiple(of: plan.evalInterval) { try evaluate() }
      state.seconds = secondsBefore + clock.seconds
      if savesOnTime || isStopping { try save() }
    }
    return TrainingSummary(
      isComplete: state.step == plan.totalSteps, step: state.step, tokens: state.tokens,
      seconds: secondsBefore + clock.seconds, sessionTokens: state.tokens - tokensBefore, sessionSeconds: clock.seconds,
      times: clock.times, smoothedLoss: state.smoothedLoss.value, heldOut: state.lastEvaluation, best: state.best,
      peakMemoryBytes: MachineMemory.peakBytes)
  }

  // MARK: - A step

  private func step() throws {
    let number = state.step + 1
    let rate = schedule.rate(step: number)
    let began = clock.seconds
    let sum = try accumulateGradients(step: number, rate: rate)
    let total = sum.loss
    let norm = try update(step: number, rate: rate, weight: total.weight)
    clock.lap(\.optimizer)

    state.step = number
    state.position = documents.position
    state.tokens += total.tokens
    let loss = total.weight > 0 ? total.loss / total.weight : nil
    if let loss { state.smoothedLoss.add(loss) }
    clock.finishStep(number)
    try record(
      .step(
        StepReport(
          step: number, totalSteps: plan.totalSteps, epoch: epoch, tokens: state.tokens, loss: loss,
          preference: sum.preference, smoothedLoss: state.smoothedLoss.value,
          experts: pass.expertUse.map {
            ExpertReport(
              $0, balanceLossWeight: plan.configuration.balanceLossWeight, lossWeight: total.weight)
          },
          learningRate: rate, gradientNorm: norm,
          tokensPerSecond: Double(total.tokens) / max(1e-9, clock.seconds - began), secondsLeft: clock.secondsLeft,
          peakMemoryBytes: MachineMemory.peakBytes)))
  }

  /// Sums gradients of the loss, not yet its mean, over whole micro-batches, until the step has its tokens or the data end.
  private func accumulateGradients(step: Int, rate: Double) throws -> ObjectiveSum {
    pass.zeroGradients()
    clock.lap(\.optimizer)
    var sum = ObjectiveSum()
    repeat {
      _ = documents.next(maximumTokens: plan.microBatchTokens, into: &batch)
      clock.lap(\.data)
      sum += objectives.training.forwardBackward(pass, batch, tokensBefore: state.tokens + sum.loss.tokens)
      clock.lap(\.passes)
      guard sum.loss.loss.isFinite else { throw nonFinite("the loss", step: step, rate: rate) }
    } while !plan.isStepComplete(tokens: sum.loss.tokens, position: documents.position)
    return sum
  }

  /// Makes the sum the gradient of the mean loss, clips it by its norm, and steps.
  ///
  /// - Returns: the norm before clipping.
  private func update(step: Int, rate: Double, weight: Double) throws -> Double {
    // A step whose tokens are all prompt has no gradient, and a mean over nothing no meaning.
    guard weight > 0, let gradients = pass.gradients else { return 0 }
    let norm = optimizer.norm(of: gradients, team: team) / weight
    guard norm.isFinite else { throw nonFinite("the gradient norm", step: step, rate: rate) }
    let settings = plan.settings
    // PyTorch's clip_grad_norm_ adds the same 1e-6.
    let clip = settings.gradientClip > 0 ? min(1, settings.gradientClip / (norm + 1e-6)) : 1
    optimizer.step(
      pass,
      AdamWStep(
        learningRate: Float(rate), beta1: Float(settings.beta1), beta2: Float(settings.beta2),
        epsilon: Float(settings.epsilon), weightDecay: Float(settings.weightDecay),
        gradientScale: Float(clip / weight), step: step),
      team: team)
    return norm
  }

  private func nonFinite(_ what: String, step: Int, rate: Double) -> TrainingError {
    .nonFinite(what, step: step, learningRate: rate, checkpoint: run.checkpointSteps.last.map(run.checkpointPath))
  }

  private var epoch: Double {
    Double(state.position.epoch) + Double(state.position.tokens) / Double(max(1, plan.dataset.training.inputTokenCount))
  }

  // MARK: - The stage's loss

  /// Finds what the loss needs besides batches, from the run's directory or anew.
  ///
  /// - Parameter isWanted: asked now and then whether to go on.
  /// - Returns: false when it was not.
  private func prepareObjectives(isWanted: () -> Bool) throws -> Bool {
    guard plan.stage.loss == .preference else { return true }
    guard let reference = try ReferenceLogProbabilities(of: run, plan) ?? computeReference(isWanted) else {
      return false
    }
    let loss = plan.settings.preferenceLoss
    objectives = (.preference(loss, reference: reference.training), .preference(loss, reference: reference.heldOut))
    return true
  }

  private func computeReference(_ isWanted: () -> Bool) throws -> ReferenceLogProbabilities? {
    // Without a checkpoint the model in training is still the one that it began as.
    let reference =
      plan.checkpoint == nil
      ? pass
      : try TrainingPass(
        plan.makeStartParameters(), precision: plan.settings.precision, maximumTokens: plan.microBatchTokens,
        team: team, trains: false)
    let values = try ReferenceLogProbabilities(plan, pass: reference) { share in
      try record(.readingReference(share: share))
      return isWanted()
    }
    try values?.write(to: run)
    clock.lap(\.evaluation)
    return values
  }

  // MARK: - Between steps

  private func evaluate() throws {
    let evaluation = try Evaluation.heldOut(
      plan, objectives.heldOut, pass: pass, step: state.step, batch: &heldOutBatch)
    state.lastEvaluation = evaluation
    if let evaluation {
      guard evaluation.loss.isFinite else {
        throw nonFinite("the held-out loss", step: state.step, rate: schedule.rate(step: max(1, state.step)))
      }
      try record(.evaluation(evaluation, epoch: epoch))
    }
    let prompts = plan.settings.samplePrompt
    if let sampler, !prompts.isEmpty {
      let continuations = try sampler(model)
      try record(.samples(SampleReport(step: state.step, samples: Array(zip(prompts, continuations)))))
    }
    clock.lap(\.evaluation)
  }

  /// Writes a checkpoint. Only when it is whole do older ones go.
  private func save() throws {
    guard optimizer.norm(of: pass.parameters.values, team: team).isFinite else {
      throw nonFinite("a weight", step: state.step, rate: schedule.rate(step: state.step))
    }
    // An interruption does not wait for an evaluation: the last one may be of earlier weights.
    var isBest = false
    if let evaluation = state.lastEvaluation, evaluation.step == state.step,
      evaluation.loss < state.best?.loss ?? .infinity
    {
      state.best = evaluation
      isBest = true
    }
    try metrics.synchronize()
    let path = run.checkpointPath(state.step)
    try Checkpoint.save(
      path, model: model, optimizer: optimizer, state: state,
      tokenizerDirectory: tokenizerDirectory)
    try publish()
    try LossPlot(
      title: plan.title, lossName: plan.stage.loss == .crossEntropy ? "loss (nats a token)" : "loss (of a pair)",
      history: metrics.history, totalSteps: plan.totalSteps
    ).write(to: run.plotPath)
    clock.lap(\.checkpoints)
    try record(.checkpoint(path: path, step: state.step, isBest: isBest))
  }

  /// Lets `model/` and `best` follow the newest checkpoint, then removes those that are no longer kept.
  private func publish() throws {
    try run.publishModel(ofCheckpoint: state.step)
    tokenizerDirectory = run.modelPath
    if let best = state.best?.step, best == state.step { try run.markBest(best) }
    try run.prune(keeping: plan.settings.keepCheckpoints, best: state.best?.step)
  }

  private func record(_ event: TrainingEvent) throws {
    for sink in sinks { try sink.record(event) }
  }
}
