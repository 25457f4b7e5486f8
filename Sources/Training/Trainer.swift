import Corpus
import Foundation
import Machine
import Model
import Processes
import Storage

/// The one training loop: micro-batches to gradients, gradients to an optimizer step, and between steps held-out
/// evaluations, samples and checkpoints.
///
/// Several processes go through it in step, each with its share of the micro-batches and of the optimizer; the first one
/// alone writes and shows. What they exchange is in the calls of `exchange`, which do nothing in one process.
package final class Trainer {
  private let plan: TrainingPlan
  private let run: RunDirectory
  /// What the engine was made from: as of the last `engine.copyWeights`.
  private let model: TrainableModel
  private let engine: any TrainingEngine
  /// The engine where several processes share its work; nil for one process.
  private let shared: (any SharedTrainingEngine)?
  private let engines: any TrainingEngineProvider
  private let exchange: ProcessExchange
  private let schedule: LearningRateSchedule
  /// Nil in all processes but the first.
  private let metrics: MetricsFile?
  private let sinks: [any MetricsSink]
  private let continuations: Continuations?
  private let writer: (any RolloutWriter)?
  /// Nil for a stage that learns no values.
  private let valueHead: ValueHead?
  /// Where checkpoints get the tokenizer's files from: the run's own model as soon as it has one, since checkpoints go.
  private var tokenizerDirectory: String
  /// The stage's, prepared when training begins.
  private var objectives = StageObjectives.crossEntropy
  private var source: any BatchSource
  private var batch = Batch()
  private var heldOutBatch = Batch()
  private var clock: RunClock
  package private(set) var state: TrainingState

  /// What the model as it is now makes of each `--sample-prompt`.
  package typealias Continuations = (_ engine: any TrainingEngine) throws -> [String]

  /// - Parameters:
  ///   - engines: make what computes.
  ///   - exchange: with the other processes of the run.
  ///   - sinks: receive the run's events, in addition to the files of the run directory.
  ///   - writer: of answers, for a stage that learns from the model's own.
  package init(
    _ plan: TrainingPlan, run: RunDirectory, engines: any TrainingEngineProvider,
    exchange: ProcessExchange = ProcessExchange(), sinks: [any MetricsSink], continuations: Continuations? = nil,
    writer: (any RolloutWriter)? = nil
  ) throws {
    self.plan = plan
    self.run = run
    self.engines = engines
    self.exchange = exchange
    self.continuations = continuations
    self.writer = writer
    let model = try plan.makeModel()
    self.model = model
    let engine = try engines.makeEngine(model, plan.engineSettings(rank: exchange.rank, ranks: exchange.count))
    self.engine = engine
    shared = exchange.isAlone ? nil : engine as? any SharedTrainingEngine
    guard exchange.isAlone || shared != nil else {
      throw TrainingError("this engine trains in one process. Start it without mpirun.")
    }
    let valueHead = try plan.makeValueHead(engine)
    self.valueHead = valueHead
    let state =
      try plan.checkpoint.map { try Checkpoint.load($0, into: engine, valueHead, totalSteps: plan.totalSteps) }
      ?? TrainingState()
    self.state = state
    source = try plan.stage.makeSource(
      StageContext(
        plan: plan, position: state.position, run: run, exchange: exchange, engine: engine, engines: engines,
        valueHead: valueHead, writer: writer
      ) { _, _ in true })
    schedule = plan.schedule
    tokenizerDirectory = plan.tokenizerDirectory
    // Without a checkpoint everything comes again, the evaluation before the first step included.
    let lastKept = plan.checkpoint == nil ? -1 : state.step
    if exchange.isFirst {
      let metrics = try MetricsFile(run.metricsPath, resumingAfter: lastKept)
      let tensorBoard =
        plan.settings.tensorboard ? [try TensorBoardFile(run.tensorBoardPath, resumingAfter: lastKept)] : []
      self.metrics = metrics
      self.sinks = sinks + [metrics, try SamplesFile(run.samplesPath, resumingAfter: lastKept)] + tensorBoard
    } else {
      (metrics, self.sinks) = (nil, [])
    }
    clock = RunClock(firstStep: state.step, totalSteps: plan.totalSteps)
  }

  /// Trains to the last step, or until `isStopRequested` of any process says so; then saves. A step is always finished;
  /// an evaluation is cut short, and made when the run goes on.
  ///
  /// - Throws: `TrainingError` when the numbers leave the finite range, the device fails or the processes would make
  ///   different runs, `FileError` when the disk fails; the last checkpoint stays as it is. What a sink throws.
  package func train(isStopRequested: () -> Bool = { false }) throws -> TrainingSummary {
    do { return try trainToEnd(isStopRequested) } catch {
      // Whatever was wrong with the numbers, that is why.
      guard let failure = engines.failure ?? (error as? FailureElsewhere) else { throw error }
      throw TrainingError.device(
        failure, step: state.step + 1, checkpoint: run.checkpointSteps.last.map(run.checkpointPath),
        resume: "minimind \(plan.stage.name) --resume \(run.path)")
    }
  }

  private func checkDevice() throws { if let failure = engines.failure { throw failure } }

  /// Why the device of another process computes no more.
  private struct FailureElsewhere: Error, CustomStringConvertible {
    let description: String
  }

  /// The same of all processes, each of which calls this: those whose device is sound learn why another's is not.
  private func checkDevices() throws {
    let own = Array((engines.failure.map { "\($0)" } ?? "").utf8)
    let all = try exchange.exchange([[UInt8]](repeating: own, count: exchange.count), check: {})
    try checkDevice()
    guard let rank = all.firstIndex(where: { !$0.isEmpty }) else { return }
    throw FailureElsewhere(description: "process \(rank): \(String(decoding: all[rank], as: UTF8.self))")
  }

  private func trainToEnd(_ isStopRequested: () -> Bool) throws -> TrainingSummary {
    if !exchange.isAlone { try RunIdentity(plan, state, weights: weightsDigest).check(exchange) }
    let secondsBefore = state.seconds
    let tokensBefore = state.tokens
    clock.start()
    // The run may have ended between a checkpoint and what follows it.
    if plan.checkpoint != nil { try publish() }
    var isStopping = try !prepareObjectives { !isStopRequested() }
    if !isStopping, exchange.any(state.step == 0 || lacksEvaluation) {
      isStopping = try !evaluate { !isStopRequested() }
      state.seconds = secondsBefore + clock.seconds
      if state.step > 0, !isStopping { try save() }
    }
    isStopping = exchange.any(isStopping || isStopRequested())
    while state.step < plan.totalSteps && !(isStopping && source.mayPause) {
      try step()
      isStopping = exchange.any(isStopping || isStopRequested())
      if isEvaluationDue {
        // After the last step nothing goes on that could make it.
        let isLast = state.step == plan.totalSteps
        let isMade = try evaluate { isLast || !(isStopping || isStopRequested()) }
        isStopping = isStopping || !isMade
      }
      state.seconds = secondsBefore + clock.seconds
      if isCheckpointDue || isStopping && source.mayPause { try save() }
    }
    return TrainingSummary(
      isComplete: state.step == plan.totalSteps, step: state.step, tokens: state.tokens,
      seconds: secondsBefore + clock.seconds, sessionTokens: state.tokens - tokensBefore, sessionSeconds: clock.seconds,
      times: clock.times, exchange: exchangeReport(), smoothedLoss: state.smoothedLoss.value,
      heldOut: state.lastEvaluation, best: state.best,
      peakMemoryBytes: metrics?.peakMemoryBytes ?? MachineMemory.peakBytes, momentBytes: engine.momentBytes)
  }

  // MARK: - A step

  private func step() throws {
    let number = state.step + 1
    let rate = schedule.rate(step: number)
    let began = clock.seconds
    let traffic = exchange.traffic
    let (sums, tokens) = try accumulateGradients()
    guard sums.sum(Metric.loss.name).isFinite else {
      try checkDevices()
      throw nonFinite("the loss", step: number, rate: rate)
    }
    let norm = try update(step: number, rate: rate, weight: sums.weight(Metric.loss.name))
    clock.lap(\.optimizer)
    try checkDevice()

    state.step = number
    state.position = source.position
    state.tokens += tokens
    let loss = sums.mean(Metric.loss.name)
    if let loss { state.smoothedLoss.add(loss) }
    clock.finishStep(number)
    try record(
      .step(
        StepReport(
          step: number, totalSteps: plan.totalSteps, epoch: epoch, tokens: state.tokens, loss: loss,
          smoothedLoss: state.smoothedLoss.value, sums: sums, learningRate: rate, gradientNorm: norm,
          tokensPerSecond: Double(tokens) / max(1e-9, clock.seconds - began), secondsLeft: clock.secondsLeft,
          peakMemoryBytes: MachineMemory.peakBytes, exchange: exchangeReport(since: traffic))))
  }

  /// Sums gradients of the loss, not yet its mean, over the process's share of the step's micro-batches, and then over the
  /// processes, beginning with the last layer as soon as that is complete.
  ///
  /// - Returns: what was reported of all micro-batches, and their tokens. Each process has the gradients of its part of the
  ///   weights.
  private func accumulateGradients() throws -> (sums: MetricSums, tokens: Int) {
    engine.zeroGradients()
    valueHead?.zeroGradient()
    clock.lap(\.optimizer)
    let microBatches = try source.prepareStep()
    let share = StepShare(microBatches, rank: exchange.rank, ranks: exchange.count)
    let objective = objectives.training
    var sums = objective.noSums
    var unitsBegun = 0
    func beginUnit() {
      guard let shared else { return }
      exchange.beginReduction(shared.gradientBuffer, shared.units[unitsBegun])
      unitsBegun += 1
    }
    for index in microBatches.indices {
      guard share.contains(index) else {
        try source.skip()
        continue
      }
      try source.next(into: &batch)
      let tokensBefore = share.keepOwn(of: &batch, index, documentsPerSample: source.documentsPerSample)
      clock.lap(\.data)
      guard batch.tokenCount > 0 else { continue }
      if index == share.last { shared?.onUnitComplete = beginUnit }
      objective.forwardBackward(engine, batch, tokensBefore: state.tokens + tokensBefore, addingTo: &sums)
      clock.lap(\.passes)
    }
    shared?.onUnitComplete = nil
    while unitsBegun < shared?.units.count ?? 0 { beginUnit() }
    sums += engine.sums
    sums = sums.summed(over: exchange)
    exchange.finishReductions()
    valueHead?.sumGradient(over: exchange)
    clock.lap(\.exchange)
    return (sums, share.tokenCount)
  }

  /// Makes the sum the gradient of the mean loss, clips it by its norm, and steps.
  ///
  /// - Returns: the norm before clipping.
  private func update(step: Int, rate: Double, weight: Double) throws -> Double {
    // A step whose tokens are all prompt has no gradient, and a mean over nothing no meaning.
    guard weight > 0 else { return 0 }
    let norm = gradientNorm() / weight
    guard norm.isFinite else { throw nonFinite("the gradient norm", step: step, rate: rate) }
    let settings = plan.settings
    // PyTorch's clip_grad_norm_ adds the same 1e-6.
    let clip = settings.gradientClip > 0 ? min(1, settings.gradientClip / (norm + 1e-6)) : 1
    var optimizerStep = OptimizerStep(
      number: step, gradientScale: clip / weight,
      adamW: .init(
        learningRate: rate, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
        weightDecay: settings.weightDecay),
      muon: .init(learningRate: rate, weightDecay: settings.weightDecay))
    engine.step(optimizerStep)
    optimizerStep.adamW.learningRate = rate / settings.learningRate * settings.valueLearningRate
    valueHead?.step(optimizerStep)
    clock.lap(\.optimizer)
    guard let shared else { return norm }
    exchange.distribute(shared.weightBuffer, shared.parts)
    clock.lap(\.exchange)
    shared.weightsChanged()
    return norm
  }

  /// Of the summed gradients of all processes, the value head's included.
  private func gradientNorm() -> Double {
    let norm =
      shared.map { exchange.sum($0.gradientSquares()).reduce(0, +).squareRoot() } ?? engine.gradientNorm()
    return valueHead.map { (norm * norm + $0.gradientSquare).squareRoot() } ?? norm
  }

  private func nonFinite(_ what: String, step: Int, rate: Double) -> TrainingError {
    .nonFinite(what, step: step, learningRate: rate, checkpoint: run.checkpointSteps.last.map(run.checkpointPath))
  }

  private var epoch: Double {
    Double(state.position.epoch) + Double(state.position.tokens) / Double(max(1, plan.dataset.training.inputTokenCount))
  }

  // MARK: - The stage's objectives

  /// - Parameter isWanted: asked now and then whether to go on.
  /// - Returns: false when it was not.
  private func prepareObjectives(isWanted: () -> Bool) throws -> Bool {
    defer { clock.lap(\.evaluation) }
    let prepared = try withoutActuallyEscaping(isWanted) { isWanted in
      try plan.stage.makeObjectives(
        StageContext(
          plan: plan, position: state.position, run: run, exchange: exchange, engine: engine, engines: engines,
          valueHead: valueHead, writer: writer
        ) { [self] what, share in
          try record(.preparing(what: what, share: share))
          return isWanted()
        })
    }
    guard let prepared else { return false }
    objectives = prepared
    return true
  }

  // MARK: - Between steps

  private var isCheckpointDue: Bool {
    state.step == plan.totalSteps || state.step.isMultiple(of: plan.checkpointInterval)
  }

  private var isEvaluationDue: Bool { isCheckpointDue || state.step.isMultiple(of: plan.evalInterval) }

  /// Whether an interruption has abandoned the evaluation of the current weights.
  private var lacksEvaluation: Bool {
    isEvaluationDue && state.lastEvaluation?.step != state.step
      && (plan.stage.readsDocuments ? plan.dataset.heldOut.trainedTokenCount : plan.dataset.heldOut.documentCount) > 0
  }

  /// - Parameter isWanted: asked now and then whether to go on.
  /// - Returns: false when any process was not to go on; then nothing is recorded.
  private func evaluate(isWanted: () -> Bool) throws -> Bool {
    defer { clock.lap(\.evaluation) }
    let evaluation: Evaluation?
    var answers: SampleReport?
    do {
      if let evaluator = objectives.evaluator {
        let result = try evaluator.evaluate(engine, step: state.step, isWanted: isWanted)
        (evaluation, answers) = (result?.evaluation, result?.samples)
      } else {
        evaluation = try Evaluation.heldOut(
          plan, objectives.heldOut, engine: engine, exchange: exchange, step: state.step, batch: &heldOutBatch,
          isWanted: isWanted)
      }
    } catch is Stopped { return false }
    state.lastEvaluation = evaluation
    if let evaluation {
      guard evaluation.loss.isFinite else {
        try checkDevices()
        throw nonFinite("the held-out loss", step: state.step, rate: schedule.rate(step: max(1, state.step)))
      }
      try record(.evaluation(evaluation, epoch: epoch))
    }
    try checkDevice()
    if let answers { try record(.samples(answers)) }
    let prompts = plan.settings.samplePrompt
    if let continuations, exchange.isFirst, !prompts.isEmpty {
      let texts = try continuations(engine)
      try record(.samples(SampleReport(step: state.step, samples: Array(zip(prompts, texts)))))
    }
    try compareWeights()
    return true
  }

  /// All processes must have the same weights, to the bit: one whose memory or network errs would spoil the run unseen.
  private func compareWeights() throws {
    guard !exchange.isAlone else { return }
    let all = exchange.gather(weightsDigest.map(Double.init))
    guard let other = all.firstIndex(where: { $0 != all[0] }) else { return }
    throw TrainingError(
      "step \(state.step): the weights of process \(other) differ from those of process 0, so the run stops. "
        + "Check that machine's memory and network, then go on with --resume.")
  }

  /// SHA-256 of the weights in training.
  private var weightsDigest: [UInt8] {
    engine.copyWeights(to: model.trained)
    return model.trained.withBytes { SHA256.digest($0) }
  }

  /// Writes a checkpoint. Only when it is whole do older ones go.
  private func save() throws {
    engine.copyWeights(to: model.trained)
    guard model.trained.areFinite, valueHead?.areFinite ?? true else {
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
    guard let metrics else { return Checkpoint.sendMoments(engine, exchange: exchange) }
    try metrics.synchronize()
    let path = run.checkpointPath(state.step)
    try Checkpoint.save(
      path, model: model, engine: engine, valueHead, state: state, tokenizerDirectory: tokenizerDirectory,
      exchange: exchange)
    try publish()
    try LossPlot(
      title: plan.title, lossName: "loss (\(objectives.training.lossUnit))",
      history: metrics.history, totalSteps: plan.totalSteps
    ).write(to: run.plotPath)
    clock.lap(\.checkpoints)
    try record(.checkpoint(path: path, step: state.step, isBest: isBest))
  }

  /// Lets `model/` and `best` follow the newest checkpoint, then removes those that are no longer kept.
  private func publish() throws {
    guard exchange.isFirst else { return }
    try run.publishModel(ofCheckpoint: state.step)
    tokenizerDirectory = run.modelPath
    if let best = state.best?.step { try run.markBest(best) }
    try run.prune(keeping: plan.settings.keepCheckpoints, best: state.best?.step)
  }

  private func exchangeReport(since before: ExchangeCounts = ExchangeCounts()) -> ExchangeReport? {
    exchange.isAlone ? nil : ExchangeReport(exchange.traffic, since: before, count: exchange.count)
  }

  private func record(_ event: TrainingEvent) throws {
    for sink in sinks { try sink.record(event) }
  }
}
