import CPUEngine
import Foundation
import Model
import ModelFiles
import Processes
import ProgramEngine
import Programs
import Storage
import TestSupport
import Testing
import Training

@Suite("PPO runs")
struct ValueRunTests {
  private func learning(_ tiny: TinyRun, from model: String, steps: Int) -> TrainingSettings {
    var settings = tiny.learning(.ppo, from: model, steps: steps)
    settings.valueLearningRate = 0.01
    (settings.promptsPerStep, settings.passes) = (24, 2)
    return settings
  }

  @Test("a model learns what is rewarded, and its values foresee it")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      let settings = learning(tiny, from: try tiny.chatModel(), steps: 60)
      let events = EventList()
      let (summary, path) = try tiny.train(settings, stage: .ppo, output: "learner", sinks: [events])
      #expect(summary.isComplete)
      func mean(_ name: String, _ steps: some Sequence<StepReport>) -> Double {
        let values = steps.compactMap { $0.sums.mean(name) }
        return values.reduce(0, +) / Double(values.count)
      }
      let (first, last) = (events.steps.prefix(10), events.steps.suffix(10))
      let (before, after) = (mean("reward", first), mean("reward", last))
      #expect(after > before + 0.15 && after > 0.9, "\(before) to \(after)")
      // The first values are 0, so they foresee nothing.
      #expect(abs(try #require(events.steps.first?.sums.mean("explained_variance"))) < 1e-6)
      // How much of the rewards later values foresee depends on what is drawn, which differs between processors; a constant
      // would explain nothing.
      #expect(events.steps[10...].compactMap { $0.sums.mean("explained_variance") }.max() ?? 0 > 0.05)
      let step = events.steps[0]
      let parts = try #require(step.sums.mean("loss/policy_avg")) + 0.1 * (step.sums.mean("loss/value_avg") ?? .nan)
      #expect(abs(try #require(step.loss) - parts) < 1e-6)
      // In the first pass nothing has moved; in the second something has.
      #expect(step.sums.mean("policy/approxkl_avg") == 0 && step.sums.mean("val/clipfrac_avg") == 0)
      #expect(events.steps[1].sums.mean("policy/approxkl_avg") ?? 0 > 0)
      #expect(step.sums.mean("frac_reward_zero_std") == nil)
      let heldOut = try #require(events.evaluations.last)
      #expect(heldOut.loss == -(heldOut.sums.mean("reward") ?? .nan))
      #expect(try text(path + "/samples.txt").contains("(reward "))
      // The published model is one like any other.
      let tensors = try SafetensorsFile(path + "/model/model.safetensors").tensors.map(\.name)
      #expect(!tensors.contains { $0.contains("value") })
    }
  }

  @Test(
    "a run that was stopped, with everything of its answers lost, ends with the same bits, of the value head, too",
    arguments: [(1, 0, false), (2, 0, false), (2, 4, false), (1, 0, true)])
  func resumes(passes: Int, rank: Int, mixture: Bool) throws {
    try TinyRun.inFolder { tiny in
      var settings = learning(tiny, from: try tiny.chatModel(mixture: mixture), steps: 8)
      (settings.passes, settings.loraRank, settings.divergence) = (passes, rank, 0.05)
      (settings.promptsPerStep, settings.answersPerPrompt, settings.checkpointInterval) = (4, 2, 2)
      (settings.answerTokens, settings.maskTruncated) = (40, true)
      let weights = rank > 0 ? "/model/adapter_model.safetensors" : "/model/model.safetensors"
      let (_, whole) = try tiny.train(settings, stage: .ppo, output: "whole")
      let (summary, path) = try tiny.train(settings, stage: .ppo, output: "run", stopAfter: 3)
      #expect(summary.step == (passes == 2 ? 4 : 3))
      try tiny.resume(path, stage: .ppo)
      #expect(try bytes(path + weights) == bytes(whole + weights))
      let head = "/checkpoints/step-8/value-head.safetensors"
      #expect(try bytes(path + head) == bytes(whole + head))
      #expect(try SafetensorsFile(path + head).tensors.map(\.shape) == [[1, 32], [1, 32], [1, 32]])
      func lines(_ path: String) throws -> [Double] {
        try text(path + "/metrics.jsonl").split(separator: "\n").compactMap {
          try JSON(parsing: String($0))["train/loss/value_avg"]?.doubleValue
        }
      }
      // A step whose answers were all cut has no such number.
      #expect(try lines(path) == lines(whole) && lines(path).count > 4)
    }
  }

  @Test("several processes end with the weights and the head of one, but for rounding")
  func processes() throws {
    try TinyRun.inFolder { tiny in
      var settings = learning(tiny, from: try tiny.chatModel(), steps: 4)
      (settings.promptsPerStep, settings.divergence, settings.microBatchTokens) = (8, 0.05, 128)
      (settings.checkpointInterval, settings.evalInterval) = (4, 4)
      func train(_ output: String, processes: Int) throws -> [[Float]] {
        let path = tiny.folder + "/" + output
        _ = try ThreadProcessGroup.run(processes) { [settings] exchange in
          var run = RunDirectory(following: path)
          if exchange.isFirst { run = try RunDirectory(creating: path) }
          _ = exchange.any(false)
          let plan = try TrainingPlan(.ppo, settings)
          if exchange.isFirst { try plan.record(programVersion: "test").write(to: run) }
          _ = try Trainer(
            plan, run: run, engines: CPUEngineProvider(threads: 1), exchange: exchange, sinks: [],
            writer: TinyWriter(threads: 1)
          ).train()
        }
        return try ["model/model.safetensors", "value-head.safetensors"].map { name in
          let file = try SafetensorsFile(path + "/checkpoints/step-4/" + name)
          return try file.tensors.flatMap { try file.floats(of: $0) }
        }
      }
      let alone = try train("one", processes: 1)
      for count in [2, 3] {
        let found = try train("run-\(count)", processes: count)
        for (mine, other) in zip(found, alone) { #expect(relativeDistance(mine, other) < 1e-3, "\(count) processes") }
      }
    }
  }

  private func relativeDistance(_ left: [Float], _ right: [Float]) -> Double {
    let difference = zip(left, right).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
    return difference / right.reduce(0) { $0 + pow(Double($1), 2) }.squareRoot()
  }

  @Test("what cannot begin, or go on, says why")
  func refused() throws {
    try TinyRun.inFolder { tiny in
      let model = try tiny.chatModel()
      var settings = learning(tiny, from: model, steps: 2)
      settings.data = tiny.conversations
      let kind = try #require(throws: TrainingError.self) { try TrainingPlan(.ppo, settings) }
      #expect(kind.description.contains("was prepared for sft, not for ppo") && kind.description.contains("data grpo"))
      settings.data = tiny.folder + "/grpo"
      let (_, path) = try tiny.train(settings, stage: .ppo, output: "run", stopAfter: 1)
      let head = path + "/checkpoints/step-2/value-head.safetensors"
      try Data(try bytes(path + "/model/model.safetensors")).write(to: URL(fileURLWithPath: head))
      let damaged = try #require(throws: TrainingError.self) {
        try tiny.resume(path, stage: .ppo) { $0.steps = 4 }
      }
      #expect(damaged.description.contains("value-head.safetensors: it has no 'value_head.weight'"))
    }
  }
}
