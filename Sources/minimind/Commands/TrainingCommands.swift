import Foundation
import Model
import Processes
import Training

/// `minimind pretrain`: trains a new model, or one further.
let pretrainCommand = trainingCommand(
  .pretrain, summary: "trains a new model on prepared text, or trains one further",
  example: "minimind pretrain --model small --data my-data --output my-run")

/// `minimind sft`: teaches a model to answer.
let sftCommand = trainingCommand(
  .sft, summary: "fine-tunes a model on conversations",
  example: "minimind sft --from my-run --data my-chat-data --output my-chat")

/// `minimind lora`: the same with an adapter.
let loraCommand = trainingCommand(
  .lora, summary: "fine-tunes an adapter on conversations and leaves the model itself as it is (LoRA)",
  example: "minimind lora --from my-run --data my-chat-data --output my-adapter")

/// `minimind dpo`: teaches a model which of two answers is preferred.
let dpoCommand = trainingCommand(
  .dpo, summary: "aligns a model with preferred answers (DPO, SimPO, ORPO and others)",
  example: "minimind dpo --from my-chat --data my-preferences --output my-aligned")

/// `minimind kto`: teaches a model which answers are wanted, and which are not.
let ktoCommand = trainingCommand(
  .kto, summary: "aligns a model with answers that are wanted or not, one by one (KTO)",
  example: "minimind kto --from my-chat --data my-judged --output my-aligned")

/// `minimind reward`: makes a model that scores answers.
let rewardCommand = trainingCommand(
  .reward, summary: "trains a model that scores answers, from pairs of them (a reward model)",
  example: "minimind reward --from my-chat --data my-preferences --output my-reward")

/// `minimind grpo`: lets a model learn from its own answers.
let grpoCommand = trainingCommand(
  .grpo, summary: "lets a model learn from its own answers, by what they are worth (GRPO)",
  example: "minimind grpo --from my-chat --data my-prompts --output my-learner")

/// `minimind ppo`: the same with a value for each token.
let ppoCommand = trainingCommand(
  .ppo, summary: "lets a model learn from its own answers, token by token, with a value head (PPO)",
  example: "minimind ppo --from my-chat --data my-prompts --output my-learner")

private func trainingCommand(_ stage: Stage, summary: String, example: String) -> Command {
  // What its help says; a run has the default of its device.
  let stage = stage.computed(by: TrainingDevice.cpu.engines)
  let options = TrainingOptions(stage)
  return Command(stage.name, summary: summary, options: options.all, example: example) { invocation in
    try withProcesses(invocation) { exchange in
      if let path = try options.resumedRun(invocation) {
        try resume(path, stage, exchange) { options.changed($0, by: invocation) }
      } else {
        let (settings, output) = try options.newSettings(invocation)
        try begin(output, stage, settings, exchange)
      }
    }
  }
}

private func begin(
  _ output: String, _ stage: Stage, _ settings: TrainingSettings, _ exchange: ProcessExchange
) throws {
  if exchange.isFirst { try RunDirectory.checkIsFree(output) }
  let plan = try TrainingPlan(stage.computed(by: (settings.device ?? .cpu).engines), settings)
  let engines = try TrainingEngines(
    plan.settings.device, count: plan.settings.devices, threads: plan.settings.threads)
  let panel = trainingPanel(
    plan, memoryBytes: try memoryBytes(plan, engines.provider, exchange), output: output, device: engines.device,
    deviceMemory: try plan.deviceMemory(engines.provider, processes: exchange.count),
    attention: engines.provider.attention, processes: exchange.count)
  if exchange.isFirst { try plan.checkDisk(output) }
  try train(plan, engines, panel: panel, exchange) {
    guard exchange.isFirst else { return RunDirectory(following: output) }
    let run = try RunDirectory(creating: output)
    try plan.record(programVersion: programVersion, device: engines.recordedDevice).write(to: run)
    return run
  }
}

private func resume(
  _ path: String, _ stage: Stage, _ exchange: ProcessExchange, change: (TrainingSettings) -> TrainingSettings
) throws {
  let held = exchange.isFirst ? try RunDirectory(resuming: path) : nil
  // The other processes read the directory after the first one has removed what earlier writers left.
  _ = exchange.any(false)
  let run = held ?? RunDirectory(following: path)
  let record = try RunRecord(of: run)
  var settings = change(record.options)
  // As where a run begins on a device, whose memory is not the processor's.
  if settings.device == .gpu { settings.recomputeActivations = true }
  let plan = try TrainingPlan(resuming: run, record: record, stage, settings)
  let engines = try TrainingEngines(
    plan.settings.device, count: plan.settings.devices, threads: plan.settings.threads)
  let panel = trainingPanel(
    plan, memoryBytes: try memoryBytes(plan, engines.provider, exchange), output: run.path, device: engines.device,
    deviceMemory: try plan.deviceMemory(engines.provider, processes: exchange.count),
    attention: engines.provider.attention, resumed: record.options,
    otherDevice: record.device == engines.recordedDevice ? nil : record.device ?? "the processor",
    processes: exchange.count)
  if exchange.isFirst { try plan.checkDisk(run.path, checkpointCount: run.checkpointSteps.count) }
  try train(plan, engines, panel: panel, exchange) {
    if exchange.isFirst { try plan.extendedRecord?.write(to: run) }
    return run
  }
}

/// Bytes that each process of the run needs.
private func memoryBytes(
  _ plan: TrainingPlan, _ engines: any TrainingEngineProvider, _ exchange: ProcessExchange
) throws -> Int {
  try plan.memoryBytes(engines, processes: exchange.count) + writingBytes(plan)
}

/// Bytes that the copies of the model take which write samples and answers.
private func writingBytes(_ plan: TrainingPlan) -> Int {
  TrainingSamples.memoryBytes(plan) + TrainingAnswers.memoryBytes(plan)
}

/// Trains as planned and shows it.
///
/// - Parameter openRun: called when only the training itself can still fail, so that a run that cannot begin leaves no
///   directory.
private func train(
  _ plan: TrainingPlan, _ engines: TrainingEngines, panel: String, _ exchange: ProcessExchange,
  openRun: () throws -> RunDirectory
) throws {
  let console = Console.standardOutput
  let samples = try TrainingSamples(plan, team: engines.team)
  if exchange.isFirst {
    try console.write(panel)
    try plan.checkMemory(
      engines.provider, samplingBytes: writingBytes(plan), processes: exchange.count,
      localProcesses: Launcher.localCount ?? 1)
    if plan.settings.wandb != nil { try WeightsAndBiases.checkIsInstalled() }
  }
  Interruption.watch()
  try RunIdentity(plan).check(exchange)
  let run = try openRun()
  let display = TrainingDisplay(plan, console)
  let wandb = try (exchange.isFirst ? plan.settings.wandb : nil).map { project in
    try WeightsAndBiases(project: project, run: run, record: RunRecord(of: run))
  }
  defer { wandb?.finish() }
  let summary: TrainingSummary
  do {
    let trainer = try Trainer(
      plan, run: run, engines: engines.provider, exchange: exchange, sinks: [display] + (wandb.map { [$0] } ?? []),
      continuations: samples.continuations,
      writer: plan.writesAnswers ? TrainingAnswers(plan, team: engines.team) : nil)
    summary = try trainer.train(isStopRequested: { Interruption.isRequested })
  } catch {
    display.finish()
    throw error
  }
  display.finish()
  if exchange.isFirst { try console.write(trainingSummary(summary, plan, run: run)) }
  guard summary.isComplete else {
    throw Interrupted(
      "interrupted after step \(summary.step); everything is saved. "
        + "Go on with: minimind \(plan.stage.name) --resume \(run.path)")
  }
}
