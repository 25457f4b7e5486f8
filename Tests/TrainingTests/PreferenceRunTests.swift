import Compute
import Foundation
import Storage
import TestSupport
import Testing
import Training

@Suite("DPO runs")
struct PreferenceRunTests {
  /// The directory of a model that knows how the conversations look.
  private func chatModel(_ tiny: TinyRun) throws -> String {
    var settings = tiny.settings(threads: 2)
    settings.epochs = 5
    let (_, base) = try tiny.train(settings, output: "base")
    settings = tiny.settings(.sft, threads: 2)
    settings.from = base
    settings.epochs = 2
    return try tiny.train(settings, stage: .sft, output: "chat").path
  }

  private func alignment(_ tiny: TinyRun, from model: String, threads: Int = 2) -> TrainingSettings {
    var settings = tiny.settings(.dpo, threads: threads)
    settings.from = model
    settings.learningRate = 1e-3
    settings.precision = .float32
    settings.evalTokens = 0
    return settings
  }

  @Test(
    "a model learns what is preferred: the accuracy on pairs that it saw and on others exceeds 0.9",
    arguments: [PreferenceLoss.Shape.sigmoid, .ipo], [false, true])
  func learns(_ shape: PreferenceLoss.Shape, isLengthNormalized: Bool) throws {
    try TinyRun.inFolder { tiny in
      var settings = alignment(tiny, from: try chatModel(tiny))
      settings.loss = shape
      settings.lengthNormalized = isLengthNormalized
      settings.epochs = 6
      let events = EventList()
      let (summary, path) = try tiny.train(settings, stage: .dpo, output: "aligned", sinks: [events])
      let first = try #require(events.evaluations.first)
      let last = try #require(events.evaluations.last)
      // At the start nothing differs from the reference but the rounding.
      let begin = PreferenceLoss(shape: shape, beta: 0.1, isLengthNormalized: isLengthNormalized)(
        chosen: 0, rejected: 0
      ).loss
      let margin = try #require(first.sums.mean("rewards/margins"))
      #expect(abs(first.loss - begin) < 1e-4 * begin && abs(margin) < 1e-4)
      #expect(
        last.loss < begin && last.bitsPerByte == nil && 2 * Int(last.sums.weight("rewards/margins")) == last.tokens)
      #expect(try #require(last.sums.mean("rewards/accuracies")) > 0.9)
      for step in events.steps.suffix(3) {
        #expect(try #require(step.sums.mean("rewards/accuracies")) > 0.9)
        #expect(try #require(step.sums.mean("rewards/margins")) > 0)
      }
      #expect(summary.isComplete && summary.best != nil)

      // The file has the names that trl gives.
      let lines = try text(path + "/metrics.jsonl").split(separator: "\n").map { try JSON(parsing: String($0)) }
      let names =
        ["chosen", "rejected", "margins", "accuracies"].map { "rewards/" + $0 } + ["logps/chosen", "logps/rejected"]
      for (side, loss) in [("train", "train/loss"), ("eval", "eval/loss")] {
        let some = lines.filter { $0[loss] != nil }
        #expect(
          !some.isEmpty && some.allSatisfy { line in names.allSatisfy { line[side + "/" + $0]?.doubleValue != nil } })
      }
      #expect(lines.allSatisfy { $0["eval/perplexity"] == nil && $0["eval/bpb"] == nil })
      #expect(lines.last?["eval/rewards/accuracies"]?.doubleValue == last.sums.mean("rewards/accuracies"))
      #expect(try text(path + "/loss.svg").contains("loss (of a pair)"))
    }
  }

  @Test(
    "losses without a reference compute none, and learn what is preferred",
    arguments: [PreferenceLoss.Shape.simpo, .orpo])
  func withoutReference(_ shape: PreferenceLoss.Shape) throws {
    try TinyRun.inFolder { tiny in
      var settings = alignment(tiny, from: try chatModel(tiny))
      settings.loss = shape
      settings.beta = 1
      settings.epochs = 6
      let events = EventList()
      let (_, path) = try tiny.train(settings, stage: .dpo, output: "aligned", sinks: [events])
      #expect(!FileManager.default.fileExists(atPath: path + "/reference.json"))
      let last = try #require(events.evaluations.last)
      #expect(try #require(last.sums.mean("rewards/accuracies")) > 0.9)
      #expect(last.loss < (try #require(events.evaluations.first)).loss)
      #expect((last.sums.mean("log_odds_ratio") != nil) == (shape == .orpo))
    }
  }

  @Test("an option of one loss with another is refused by name")
  func foreignOptions() throws {
    var settings = TrainingSettings()
    settings.labelSmoothing = 0.1
    settings.data = "none"
    let error = #expect(throws: TrainingError.self) { try TrainingPlan(.dpo, settings) }
    #expect(
      error?.description
        == "--label-smoothing is for --loss robust, and the loss is sigmoid. Leave it out, or give that loss.")
  }

  @Test(
    "the reference is kept, computed again where it is lost, and the run ends with the same bits, with an adapter too",
    arguments: [0, 4])
  func lostReference(rank: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = alignment(tiny, from: try chatModel(tiny))
      settings.steps = 12
      settings.precision = .bfloat16
      settings.loraRank = rank
      let weights = rank > 0 ? "/model/adapter_model.safetensors" : "/model/model.safetensors"
      let (_, whole) = try tiny.train(settings, stage: .dpo, output: "whole")
      let reference = try bytes(whole + "/reference.json")
      let (_, path) = try tiny.train(settings, stage: .dpo, output: "run", stopAfter: 5)
      #expect(try bytes(path + "/reference.json") == reference)
      try FileManager.default.removeItem(atPath: path + "/reference.json")
      try tiny.resume(path, stage: .dpo)
      #expect(try bytes(path + "/reference.json") == reference)
      let expected = try bytes(whole + weights)
      #expect(try bytes(path + weights) == expected)
    }
  }

  @Test("a reference that is damaged or of another run, and a starting model that has changed, are refused")
  func foreignReference() throws {
    try TinyRun.inFolder { tiny in
      let model = try chatModel(tiny)
      var settings = alignment(tiny, from: model)
      settings.steps = 4
      let (_, path) = try tiny.train(settings, stage: .dpo, output: "run", stopAfter: 2)
      let file = URL(fileURLWithPath: path + "/reference.json")
      let good = try Data(contentsOf: file)
      var json = try #require(try JSONSerialization.jsonObject(with: good) as? [String: Any])
      var damaged = [good.prefix(good.count / 2), Data(), Data("{}".utf8)]
      for (key, value) in [("modelHash", "0"), ("dataManifestHash", "0"), ("training", [1.0])] as [(String, Any)] {
        let before = json[key]
        json[key] = value
        damaged.append(try JSONSerialization.data(withJSONObject: json))
        json[key] = before
      }
      for content in damaged {
        try content.write(to: file)
        let error = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: .dpo) }
        #expect(
          error?.description == "\(path)/reference.json is damaged, or of another model or other data than this run's. "
            + "Remove it: it will be computed again.")
      }
      // What the run began with is needed only where the reference is lost.
      let weights = model + "/model/model.safetensors"
      try FileManager.default.removeItem(at: file)
      try FileManager.default.removeItem(atPath: weights)
      try FileManager.default.copyItem(atPath: tiny.folder + "/base/model/model.safetensors", toPath: weights)
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: .dpo) }
      #expect(error?.description.hasPrefix("\(model) is not the model that the run was begun with") == true)
      try good.write(to: file)
      #expect(try tiny.resume(path, stage: .dpo).isComplete)
    }
  }

  @Test("of a starting model with an adapter, the adapter counts")
  func changedAdapter() throws {
    try TinyRun.inFolder { tiny in
      let base = try chatModel(tiny)
      func adapter(_ output: String, steps: Int) throws -> String {
        var settings = tiny.settings(.lora, threads: 2)
        settings.from = base
        settings.steps = steps
        return try tiny.train(settings, stage: .lora, output: output).path
      }
      let model = try adapter("adapter", steps: 2)
      var settings = alignment(tiny, from: model)
      settings.steps = 4
      let (_, path) = try tiny.train(settings, stage: .dpo, output: "run", stopAfter: 2)
      try FileManager.default.removeItem(atPath: path + "/reference.json")
      try FileManager.default.removeItem(atPath: model)
      let other = try adapter("adapter", steps: 3)
      #expect(other == model)
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path, stage: .dpo) }
      #expect(error?.description.hasPrefix("\(model) is not the model that the run was begun with") == true)
    }
  }

  @Test("pairs that do not fit are refused with the option that helps; left out, the sizes are made to fit")
  func sizes() throws {
    try TinyRun.inFolder { tiny in
      let model = try chatModel(tiny)
      func failure(_ change: (inout TrainingSettings) -> Void) -> String {
        var settings = alignment(tiny, from: model)
        change(&settings)
        do {
          _ = try TrainingPlan(.dpo, settings)
          return ""
        } catch { return "\(error)" }
      }
      #expect(failure { _ in } == "")
      #expect(failure { $0.sequenceLength = 8 }.contains("more than --sequence-length 8, and answers are not cut"))
      #expect(
        failure { $0.microBatchTokens = 128 }.contains(
          "a pair takes up to 256 tokens, more than --micro-batch-tokens 128"))
      #expect(
        failure {
          $0.batchTokens = 200
          $0.microBatchTokens = nil
        }.contains("a pair takes up to 256 tokens, more than --batch-tokens 200"))
      #expect(failure { $0.data = tiny.conversations }.contains("was prepared for sft, not for dpo"))

      var settings = alignment(tiny, from: model)
      settings.sequenceLength = nil
      settings.microBatchTokens = nil
      settings.batchTokens = nil
      let plan = try TrainingPlan(.dpo, settings)
      #expect(
        plan.settings.sequenceLength == max(plan.dataset.training.longestInput, plan.dataset.heldOut.longestInput))
      #expect(plan.settings.microBatchTokens == 2048)
      #expect(plan.settings.beta == 0.1 && plan.settings.loss == .sigmoid && plan.settings.lengthNormalized == false)
    }
  }
}
