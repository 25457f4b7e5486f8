import Compute
import Foundation
import Training

/// `minimind pretrain`: trains a model from nothing.
let pretrainCommand = trainingCommand(
  .pretrain, summary: "trains a model from nothing on prepared text",
  example: "minimind pretrain --model small --data my-data --output my-run")

/// `minimind sft`: teaches a model to answer.
let sftCommand = trainingCommand(
  .sft, summary: "fine-tunes a model on conversations",
  example: "minimind sft --from my-run --data my-conversations --output my-chat")

private func trainingCommand(_ stage: Stage, summary: String, example: String) -> Command {
  let options = TrainingOptions(stage)
  return Command(stage.name, summary: summary, options: options.all, example: example) { invocation in
    let console = Console.standardOutput
    let run: RunDirectory
    let plan: TrainingPlan
    if let path = try options.resumedRun(invocation) {
      run = try RunDirectory(resuming: path)
      let record = try RunRecord(of: run)
      plan = try TrainingPlan(resuming: run, record: record, stage, options.changed(record.options, by: invocation))
      try console.write(trainingPanel(plan, output: run.path, savedThreads: record.options.threads))
      try plan.checkMemory()
    } else {
      let (settings, output) = try options.newSettings(invocation)
      try RunDirectory.checkIsFree(output)
      plan = try TrainingPlan(stage, settings)
      try console.write(trainingPanel(plan, output: output))
      try plan.checkMemory()
      run = try RunDirectory(creating: output)
      try plan.record(programVersion: programVersion).write(to: run)
    }
    try train(plan, run, console)
  }
}

private func train(_ plan: TrainingPlan, _ run: RunDirectory, _ console: Console) throws {
  Interruption.watch()
  let display = TrainingDisplay(plan, console)
  let team = WorkerTeam(count: plan.settings.threads)
  let trainer = try Trainer(plan, run: run, team: team, sinks: [display])
  let resumeCommand = "minimind \(plan.stage.name) --resume \(run.path)"
  let summary: TrainingSummary
  do { summary = try trainer.train(isStopRequested: { Interruption.isRequested }) } catch {
    display.finish()
    throw error
  }
  display.finish()
  try console.write(trainingSummary(summary, plan, run: run))
  guard summary.isComplete else {
    throw Interrupted("interrupted after step \(summary.step); everything is saved. Go on with: \(resumeCommand)")
  }
}
