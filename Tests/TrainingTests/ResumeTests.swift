import Model
import Compute
import Foundation
import TestSupport
import Testing
import Training

@Suite("Resuming a run")
struct ResumeTests {
  private func settings(
    _ tiny: TinyRun, _ stage: Stage, threads: Int, isMixture: Bool = false
  ) throws -> TrainingSettings {
    var settings = tiny.settings(stage, threads: threads)
    if stage == .pretrain && isMixture { settings.model = tiny.mixtureConfiguration }
    // Several steps an epoch, and a step that reaches from one epoch into the next.
    settings.steps = 40
    settings.evalInterval = 8
    settings.checkpointInterval = 16
    settings.precision = .bfloat16
    if stage.modelsAnswer {
      var base = tiny.settings(threads: threads)
      if isMixture { base.model = tiny.mixtureConfiguration }
      base.steps = 3
      settings.from = try tiny.train(base, output: "base").path
    }
    return settings
  }

  @Test(
    "N steps are k steps, a resume and N - k steps, to the bit: weights, moments, losses, held-out losses",
    arguments: [
      (Stage.pretrain, false, OptimizerKind.adamW), (.sft, false, .adamW), (.pretrain, true, .adamW),
      (.sft, true, .adamW), (.pretrain, false, .muon), (.sft, true, .muon), (.lora, false, .adamW),
      (.lora, true, .adamW), (.dpo, false, .adamW), (.dpo, true, .adamW),
    ], [1, 2])
  func bitExact(_ run: (stage: Stage, isMixture: Bool, optimizer: OptimizerKind), threads: Int) throws {
    try TinyRun.inFolder { tiny in
      let stage = run.stage
      var settings = try settings(tiny, stage, threads: threads, isMixture: run.isMixture)
      settings.optimizer = run.optimizer
      let (whole, path) = try tiny.train(settings, stage: stage, output: "whole")
      let expected = try RunOutcome(path, step: 40)
      // An evaluation is due at 8 and 16, a checkpoint at 16: what the stop leaves out there is made up for.
      let stops = [1, 7, 8, 16, 23, 39]
      let (_, interrupted) = try tiny.train(settings, stage: stage, output: "interrupted", stopAfter: stops[0])
      var summary: TrainingSummary?
      for stop in stops.dropFirst() + [.max] {
        summary = try tiny.resume(interrupted, stage: stage, stopAfter: stop)
      }
      #expect(try RunOutcome(interrupted, step: 40) == expected)
      #expect(summary?.smoothedLoss == whole.smoothedLoss)
      #expect(summary?.heldOut == whole.heldOut && summary?.best == whole.best)
      #expect(summary?.tokens == whole.tokens)
      // The run has seen more than one epoch, and stops fell inside of epochs.
      let plan = try TrainingPlan(stage, settings)
      #expect(whole.tokens > plan.dataset.training.inputTokenCount)
    }
  }

  @Test(
    "a stop cuts an evaluation short, after a step and before the first; the resumed run makes it", arguments: [0, 8])
  func stopInEvaluation(step: Int) throws {
    try TinyRun.inFolder { tiny in
      let settings = try settings(tiny, .pretrain, threads: 1)
      let (_, whole) = try tiny.train(settings, output: "whole")
      var questions = 0
      let (summary, path) = try tiny.train(settings, output: "cut") { stepsDone in
        if stepsDone == step { questions += 1 }
        return questions > 2
      }
      // The third question came from within the evaluation, which asked no more.
      #expect(questions == 3 && summary.step == step)
      let evaluationsBefore = step == 0 ? 0 : 1
      #expect(try text(path + "/metrics.jsonl").split(separator: "\n").count == step + evaluationsBefore)
      #expect(try tiny.resume(path).isComplete)
      #expect(try RunOutcome(path, step: 40) == RunOutcome(whole, step: 40))
    }
  }

  @Test("a run that ended before its first checkpoint begins again and comes out the same")
  func withoutCheckpoint() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 6
      let expected = try RunOutcome(try tiny.train(settings, output: "whole").path, step: 6)
      let (_, path) = try tiny.train(settings, output: "lost", stopAfter: 2)
      try FileManager.default.removeItem(atPath: path + "/checkpoints")
      try tiny.resume(path)
      #expect(try RunOutcome(path, step: 6) == expected)
    }
  }

  @Test("lines of steps that were lost are cut off, also one that was cut short")
  func lostLines() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 6
      let expected = try RunOutcome(try tiny.train(settings, output: "whole").path, step: 6)
      let (_, path) = try tiny.train(settings, output: "lost", stopAfter: 3)
      let metrics = try text(path + "/metrics.jsonl")
      let lost = metrics + "{\"train/global_step\":4,\"train/loss\":99.0}\n{\"train/global_st"
      try Data(lost.utf8).write(to: URL(fileURLWithPath: path + "/metrics.jsonl"))
      try tiny.resume(path)
      #expect(try RunOutcome(path, step: 6) == expected)
    }
  }

  @Test("a finished run has nothing left to do")
  func finished() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 3
      let (_, path) = try tiny.train(settings, output: "run")
      let before = try RunOutcome(path, step: 3)
      let summary = try tiny.resume(path)
      #expect(summary.isComplete && summary.sessionTokens == 0)
      #expect(try RunOutcome(path, step: 3) == before)
    }
  }

  @Test("options that would make it another run are refused by name; the others may change")
  func alteredOptions() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 4
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 2)
      let error = #expect(throws: TrainingError.self) {
        try tiny.resume(path) {
          $0.learningRate = 0.5
          $0.batchTokens = 1024
          $0.precision = .float32
          $0.optimizer = .muon
          $0.keepCheckpoints = 1
        }
      }
      #expect(
        error?.description
          == "\(path) cannot be resumed with another --batch-tokens, --optimizer, --learning-rate, --precision: "
          + "it would become another run. Leave that out, or begin a new run.")
      try FileManager.default.moveItem(atPath: tiny.pretrainData, toPath: tiny.folder + "/moved")
      let summary = try tiny.resume(path) {
        $0.data = tiny.folder + "/moved"
        $0.threads = 2
        $0.keepCheckpoints = 1
        $0.evalInterval = 1
        $0.checkpointInterval = 1
        $0.logInterval = 3
      }
      #expect(summary.isComplete)
    }
  }

  @Test("other data, another stage and a directory without a run are refused")
  func otherRuns() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 2
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 1)
      let data = #expect(throws: TrainingError.self) { try tiny.resume(path) { $0.data = tiny.conversations } }
      #expect(data?.description.contains("is not the data that \(path) was begun with") == true)
      let stage = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: .sft) }
      #expect(stage?.description.hasSuffix("minimind pretrain --resume \(path)") == true)
      let none = #expect(throws: TrainingError.self) { try tiny.resume(tiny.folder) }
      #expect(none?.description.contains("holds no run to resume") == true)
    }
  }

  @Test("a record of an earlier version, without the options that came later, goes on as it began")
  func earlierRecord() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 6
      let expected = try RunOutcome(try tiny.train(settings, output: "whole").path, step: 6)
      let (_, path) = try tiny.train(settings, output: "earlier", stopAfter: 3)
      let file = URL(fileURLWithPath: path + "/training.json")
      var record = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
      var options = try #require(record["options"] as? [String: Any])
      #expect(options.removeValue(forKey: "optimizer") != nil)
      #expect(options.removeValue(forKey: "recompute-activations") != nil)
      record["options"] = options
      try JSONSerialization.data(withJSONObject: record).write(to: file)
      #expect(try RunHistory(path).record.options.optimizer == .adamW)
      try tiny.resume(path)
      #expect(try RunOutcome(path, step: 6) == expected)
    }
  }

  @Test(
    "the model that a run began with and its data may have moved; another model is refused",
    arguments: [Stage.sft, .lora])
  func movedModel(_ stage: Stage) throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny, stage, threads: 1)
      settings.steps = 6
      let expected = try RunOutcome(try tiny.train(settings, stage: stage, output: "whole").path, step: 6)
      let (_, path) = try tiny.train(settings, stage: stage, output: "run", stopAfter: 3)
      var base = tiny.settings()
      base.steps = 1
      let (_, other) = try tiny.train(base, output: "other")
      let moved = tiny.folder + "/moved"
      try FileManager.default.moveItem(atPath: try #require(settings.from), toPath: moved)
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: stage) { $0.from = other } }
      #expect(
        error?.description == "\(other) is not the model that the run was begun with (its weights differ). "
          + "Give that model's path by --from, or begin a new run.")
      try FileManager.default.moveItem(atPath: tiny.conversations, toPath: tiny.folder + "/conversations")
      let data = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: stage) { $0.from = moved } }
      #expect(
        data?.description == "\(tiny.conversations), the data of \(path), is not there. Say where it is by --data.")
      try tiny.resume(path, stage: stage) {
        $0.from = moved
        $0.data = tiny.folder + "/conversations"
      }
      #expect(try RunOutcome(path, step: 6) == expected)
    }
  }
}
