import Foundation
import Model
import Rewards
import Storage
import TestSupport
import Testing
import Training

@Suite("GRPO runs")
struct PolicyRunTests {
  private func learning(_ tiny: TinyRun, from model: String, steps: Int) -> TrainingSettings {
    var settings = tiny.learning(.grpo, from: model, steps: steps)
    (settings.promptsPerStep, settings.answersPerPrompt) = (4, 6)
    return settings
  }

  @Test("a model learns what is rewarded, by each loss", arguments: PolicyLoss.Shape.allCases)
  func learns(_ shape: PolicyLoss.Shape) throws {
    try TinyRun.inFolder { tiny in
      var settings = learning(tiny, from: try tiny.chatModel(), steps: 40)
      settings.policyLoss = shape
      let events = EventList()
      let (summary, path) = try tiny.train(settings, stage: .grpo, output: "learner", sinks: [events])
      #expect(summary.isComplete)
      let rewards = events.steps.map { $0.sums.mean("reward") ?? .nan }
      let (first, last) = (rewards.prefix(8).reduce(0, +) / 8, rewards.suffix(8).reduce(0, +) / 8)
      #expect(last > first + 0.25, "\(first) to \(last)")
      let heldOut = try #require(events.evaluations.last)
      #expect(heldOut.loss == -(heldOut.sums.mean("reward") ?? .nan))
      // The engine that writes and the pass that trains compute the same, but for rounding.
      #expect(events.steps.allSatisfy { $0.sums.mean("sampling/sampling_logp_difference/mean")! < 1e-4 })
      #expect(events.samples.contains { $0.samples.first?.continuation.contains("(reward ") == true })
      #expect(try text(path + "/samples.txt").contains("(reward "))
    }
  }

  @Test(
    "a run that was stopped, with everything of its answers lost, ends with the same bits",
    arguments: [(1, 0, false), (3, 0, false), (1, 4, false), (1, 0, true)])
  func resumes(passes: Int, rank: Int, mixture: Bool) throws {
    try TinyRun.inFolder { tiny in
      var settings = learning(tiny, from: try tiny.chatModel(mixture: mixture), steps: 9)
      (settings.passes, settings.loraRank, settings.divergence) = (passes, rank, 0.05)
      settings.checkpointInterval = 2
      settings.maskTruncated = true
      let weights = rank > 0 ? "/model/adapter_model.safetensors" : "/model/model.safetensors"
      let (_, whole) = try tiny.train(settings, stage: .grpo, output: "whole")
      let (summary, path) = try tiny.train(settings, stage: .grpo, output: "run", stopAfter: 4)
      // It stops where new answers begin.
      #expect(summary.step == (passes == 3 ? 6 : 4))
      try tiny.resume(path, stage: .grpo)
      #expect(try bytes(path + weights) == bytes(whole + weights))
      func lines(_ path: String) throws -> [Double] {
        try text(path + "/metrics.jsonl").split(separator: "\n").compactMap {
          try JSON(parsing: String($0))["train/reward"]?.doubleValue
        }
      }
      #expect(try lines(path) == lines(whole))
    }
  }

  @Test("what tools have said is read, and not learned: neither its tokens' loss nor their number counts")
  func insertedTokens() throws {
    try TinyRun.inFolder { tiny in
      let model = try tiny.chatModel()
      var settings = learning(tiny, from: model, steps: 1)
      settings.evalInterval = 1
      var lengths: [Double] = []
      for inserted in [0, 9] {
        var run = tiny
        run.insertedTokens = inserted
        let events = EventList()
        try run.train(settings, stage: .grpo, output: "run-\(inserted)", sinks: [events])
        let sums = try #require(events.steps.first).sums
        // Token sums are over those that the model chose.
        #expect(sums.weight("entropy") == sums.sum("completions/mean_length"))
        lengths.append(try #require(sums.mean("completions/mean_length")))
        // The place of what follows is not the one at which it was written, so only the first tokens agree.
        if inserted == 0 { #expect(sums.mean("sampling/sampling_logp_difference/mean")! < 1e-4) }
      }
      #expect(lengths[0] == lengths[1])
    }
  }

  @Test("a reward program that fails stops the run, which goes on when it is mended")
  func failingProgram() throws {
    try TinyRun.inFolder { tiny in
      let (program, counter) = (tiny.folder + "/program.sh", tiny.folder + "/count")
      // The fourth call dies; each evaluation is one, too.
      try Data(
        "echo x >> \(counter); [ $(wc -l < \(counter)) -ge 4 ] && exit 7; while read -r line; do echo 1; done".utf8
      )
      .write(to: URL(fileURLWithPath: program))
      var settings = learning(tiny, from: try tiny.chatModel(), steps: 4)
      settings.rewards = []
      settings.rewardCommand = "sh \(program)"
      (settings.checkpointInterval, settings.evalInterval) = (1, 4)
      let error = try #require(throws: RewardError.self) { try tiny.train(settings, stage: .grpo, output: "run") }
      #expect(error.description.contains("ended with exit code 7"))
      try Data("while read -r line; do echo 1; done".utf8).write(to: URL(fileURLWithPath: program))
      let summary = try tiny.resume(tiny.folder + "/run", stage: .grpo)
      #expect(summary.isComplete && summary.step == 4)
    }
  }

  @Test("what cannot begin says why")
  func refused() throws {
    try TinyRun.inFolder { tiny in
      let model = try tiny.chatModel()
      var settings = learning(tiny, from: model, steps: 1)
      settings.answerTokens = 127
      let length = try #require(throws: TrainingError.self) { try TrainingPlan(.grpo, settings) }
      #expect(
        length.description.contains("is longer than the model's 128")
          && length.description.contains("--answer-tokens 127"))
      settings.answerTokens = 16
      settings.rewards = ["chek"]
      let name = try #require(throws: RewardError.self) { try TrainingPlan(.grpo, settings) }
      #expect(name.description.contains("there is no reward \"chek\""))
      settings.rewards = ["check"]
      settings.data = tiny.conversations
      let kind = try #require(throws: TrainingError.self) { try TrainingPlan(.grpo, settings) }
      #expect(kind.description.contains("was prepared for sft, not for grpo"))
      let tasks = tiny.folder + "/grpo/train-tasks.jsonl"
      try Data((try text(tasks) + "{}\n").utf8).write(to: URL(fileURLWithPath: tasks))
      settings.data = tiny.folder + "/grpo"
      #expect(throws: (any Error).self) { try tiny.train(settings, stage: .grpo, output: "run") }
    }
  }
}
