import Foundation
import Storage
import TestSupport
import Testing
import Tokenization
import Training

@Suite("Extending a run")
struct ExtensionTests {
  /// `tiny.settings`, with another number of steps and evaluations every 8 steps.
  private func settings(_ tiny: TinyRun, _ stage: Stage = .pretrain, steps: Int) throws -> TrainingSettings {
    var settings = tiny.settings(stage)
    settings.steps = steps
    settings.evalInterval = 8
    if stage.modelsAnswer {
      var base = tiny.settings()
      base.steps = 3
      settings.from = try tiny.train(base, output: "base").path
    }
    return settings
  }

  private func extend(
    _ tiny: TinyRun, _ path: String, stage: Stage = .pretrain, stopAfter: Int = .max,
    _ ask: (inout TrainingSettings) -> Void
  ) throws -> TrainingSummary {
    var asked = TrainingSettings()
    ask(&asked)
    return try tiny.resume(path, stage: stage, stopAfter: stopAfter) { $0 = $0.changed(by: asked) }
  }

  private func learningRates(_ path: String) throws -> [Double] {
    try RunHistory(path).values(.learningRate).map(\.value)
  }

  private func refusal(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch { return "\(error)" }
  }

  @Test(
    "where the rate is constant, k steps extended to N are N steps, to the bit, finished or not",
    arguments: [Stage.pretrain, .sft, .lora, .dpo], [24, 13])
  func constantRate(_ stage: Stage, stop: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny, stage, steps: 40)
      settings.schedule = .constant
      settings.warmupSteps = 0
      let (_, whole) = try tiny.train(settings, stage: stage, output: "whole")
      settings.steps = 24
      let (_, path) = try tiny.train(settings, stage: stage, output: "extended", stopAfter: stop)
      let summary = try extend(tiny, path, stage: stage) { $0.steps = 40 }
      #expect(summary.isComplete && summary.step == 40)
      #expect(try RunOutcome(path, step: 40) == RunOutcome(whole, step: 40))
    }
  }

  @Test("the steps that are added have the rates of a schedule of their own", arguments: [10, 6])
  func rates(stop: Int) throws {
    try TinyRun.inFolder { tiny in
      let (_, path) = try tiny.train(try settings(tiny, steps: 10), output: "run", stopAfter: stop)
      let before = try learningRates(path)
      _ = try extend(tiny, path) { $0.steps = 80 }
      let count = 80 - stop
      let schedule = LearningRateSchedule(
        shape: .cosine, peak: 0.01, warmupSteps: count * 3 / 100, totalSteps: count)
      #expect(try learningRates(path) == before + (1...count).map { schedule.rate(step: $0) })
      _ = try extend(tiny, path) {
        $0.steps = 90
        $0.learningRate = 0.002
        $0.schedule = .warmupStableDecay
        $0.warmupSteps = 4
      }
      let second = LearningRateSchedule(shape: .warmupStableDecay, peak: 0.002, warmupSteps: 4, totalSteps: 10)
      #expect(try learningRates(path).suffix(10) == (1...10).map { second.rate(step: $0) })
    }
  }

  @Test("an extended run that is stopped and resumed, and extended again, ends as one that was not, to the bit")
  func stops() throws {
    try TinyRun.inFolder { tiny in
      func lengthened(_ output: String, stops: [Int]) throws -> String {
        let (_, path) = try tiny.train(try settings(tiny, steps: 16), output: output)
        _ = try extend(tiny, path, stopAfter: stops.first ?? .max) { $0.steps = 40 }
        for stop in stops.dropFirst() + [.max] { try tiny.resume(path, stopAfter: stop) }
        _ = try extend(tiny, path, stopAfter: stops.first.map { $0 + 30 } ?? .max) { $0.steps = 50 }
        try tiny.resume(path)
        return path
      }
      let whole = try lengthened("whole", stops: [])
      let interrupted = try lengthened("interrupted", stops: [17, 24, 31, 39])
      #expect(try RunOutcome(interrupted, step: 50) == RunOutcome(whole, step: 50))
    }
  }

  @Test("the record says what was extended, when, and what was before; asking for the same again changes nothing")
  func record() throws {
    try TinyRun.inFolder { tiny in
      let (_, path) = try tiny.train(try settings(tiny, steps: 8), output: "run")
      let begun = try RunRecord(directory: path)
      #expect(begun.format == 1 && begun.extensions.isEmpty)
      _ = try extend(tiny, path, stopAfter: 10) {
        $0.steps = 16
        $0.learningRate = 0.005
      }
      let record = try RunRecord(directory: path)
      let first = try #require(record.extensions.first)
      #expect(record.format == 2 && record.totalSteps == 16 && record.extensions.count == 1)
      #expect(record.options.steps == 16 && record.options.learningRate == 0.005)
      #expect(first.fromStep == 8 && first.previousTotalSteps == 8 && first.totalSteps == 16)
      #expect(first.previousOptions.steps == 8 && first.previousOptions.learningRate == 0.01)
      #expect(first.options.steps == 16 && first.options.learningRate == 0.005 && first.options.warmupSteps == 0)
      #expect(abs(try Date.ISO8601FormatStyle().parse(first.time).timeIntervalSinceNow) < 3600)
      // A script that begins the same command again after each end.
      _ = try extend(tiny, path) { $0.steps = 16 }
      #expect(try RunRecord(directory: path) == record)
      #expect(try RunHistory(path).state == .complete)
      // Without a step between the two, the second takes the place of the first.
      _ = try extend(tiny, path, stopAfter: 16) { $0.steps = 20 }
      _ = try extend(tiny, path) { $0.steps = 24 }
      let extensions = try RunRecord(directory: path).extensions
      #expect(extensions.map(\.fromStep) == [8, 16] && extensions.map(\.totalSteps) == [16, 24])
      #expect(extensions.map(\.previousTotalSteps) == [8, 16])
    }
  }

  @Test("what makes a run no longer, and a new rate without a new length, are refused")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      let (_, path) = try tiny.train(try settings(tiny, steps: 8), output: "run")
      let shorter = refusal { _ = try extend(tiny, path) { $0.steps = 7 } }
      #expect(
        shorter == "\(path) is a run of 8 steps, and --steps 7 does not make it longer. Give more, or leave that out.")
      let rate = refusal { _ = try extend(tiny, path) { $0.learningRate = 0.5 } }
      #expect(rate?.contains("cannot be resumed with another --learning-rate") == true)
      let batch = refusal {
        _ = try extend(tiny, path) {
          $0.steps = 20
          $0.batchTokens = 1024
        }
      }
      #expect(batch?.contains("cannot be resumed with another --batch-tokens:") == true)
      let both = refusal {
        _ = try extend(tiny, path) {
          $0.steps = 20
          $0.epochs = 2
        }
      }
      #expect(both?.contains("--epochs and --steps both say how long the run is") == true)
      #expect(try RunRecord(directory: path).extensions.isEmpty)
    }
  }

  @Test("a run of epochs gets more of them, and epochs and steps take each other's place", arguments: [Int.max, 5])
  func epochs(stop: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.epochs = 1
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: stop)
      let tokens = try TrainingPlan(.pretrain, settings).dataset.training.inputTokenCount
      let longer = try extend(tiny, path) { $0.epochs = 3 }
      #expect(longer.isComplete && longer.tokens == 3 * tokens)
      let steps = longer.step
      #expect(try tiny.resume(path).step == steps)
      #expect(try extend(tiny, path) { $0.steps = steps + 2 }.step == steps + 2)
      let record = try RunRecord(directory: path)
      #expect(record.options.steps == steps + 2 && record.options.epochs == nil)
      #expect(try extend(tiny, path) { $0.epochs = 4 }.tokens == 4 * tokens)
      #expect(try RunRecord(directory: path).options.steps == nil)
      let shorter = refusal { _ = try extend(tiny, path) { $0.epochs = 2 } }
      #expect(shorter?.hasSuffix("and --epochs 2 does not make it longer. Give more, or leave that out.") == true)
    }
  }

  @Test("where the checkpoint is lost that an extension began with, it begins with the one before")
  func lostCheckpoint() throws {
    try TinyRun.inFolder { tiny in
      let (_, path) = try tiny.train(try settings(tiny, steps: 24), output: "run")
      _ = try extend(tiny, path, stopAfter: 24) { $0.steps = 40 }
      try FileManager.default.removeItem(atPath: path + "/checkpoints/step-24")
      #expect(try tiny.resume(path).isComplete)
      let record = try RunRecord(directory: path)
      #expect(record.extensions.map(\.fromStep) == [16] && record.extensions[0].previousTotalSteps == 24)
      let schedule = LearningRateSchedule(shape: .cosine, peak: 0.01, warmupSteps: 0, totalSteps: 24)
      #expect(try learningRates(path).suffix(24) == (1...24).map { schedule.rate(step: $0) })
    }
  }

  @Test("extensions that contradict the record are told by its file")
  func damagedRecord() throws {
    try TinyRun.inFolder { tiny in
      let (_, path) = try tiny.train(try settings(tiny, steps: 8), output: "run")
      _ = try extend(tiny, path) { $0.steps = 16 }
      let file = path + "/training.json"
      let original = try text(file)
      for (old, new) in [
        ("\"fromStep\": 8", "\"fromStep\": 16"), ("\"fromStep\": 8", "\"fromStep\": \"8\""),
        ("\"previousTotalSteps\": 8", "\"previousTotalSteps\": 7"), ("\"totalSteps\": 16", "\"totalSteps\": 17"),
        ("\"learning-rate\"", "\"depth\""),
      ] {
        let range = try #require(original.range(of: old))
        try Data(original.replacingCharacters(in: range, with: new).utf8).write(to: URL(fileURLWithPath: file))
        let error = #expect(throws: TrainingError.self) { try tiny.resume(path) }
        #expect(error?.description.hasPrefix(file + ": ") == true, "\(new): \(error?.description ?? "accepted")")
      }
    }
  }
}

@Suite("Training a model further on text")
struct ContinuedPretrainingTests {
  @Test("`pretrain --from` begins with the model's weights and tokenizer, and has a schedule of its own")
  func continues() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 12
      let (base, path) = try tiny.train(settings, output: "base")
      settings.model = nil
      settings.from = path
      let (summary, further) = try tiny.train(settings, output: "further")
      let record = try RunRecord(directory: further)
      #expect(record.startModelHash != nil && record.options.model == nil && record.options.from == path)
      let history = try RunHistory(further)
      // The same weights on the same held-out documents.
      #expect(history.values(.loss, .eval).first?.value == base.heldOut?.loss)
      #expect(try #require(summary.heldOut).loss < #require(base.heldOut).loss)
      let schedule = LearningRateSchedule(shape: .cosine, peak: 0.01, warmupSteps: 0, totalSteps: 12)
      #expect(history.values(.learningRate).map(\.value) == (1...12).map { schedule.rate(step: $0) })
      #expect(try Tokenizer(directory: further + "/model").contentHash == tinyTokenizer.contentHash)
      // It resumes without the model that it began with, and may be told where that has gone.
      let (_, cut) = try tiny.train(settings, output: "cut", stopAfter: 5)
      try FileManager.default.moveItem(atPath: path, toPath: tiny.folder + "/moved")
      try tiny.resume(cut) { $0.from = tiny.folder + "/moved" }
      #expect(try RunOutcome(cut, step: 12) == RunOutcome(further, step: 12))
    }
  }

  @Test("what it cannot begin with is refused by name")
  func refusals() throws {
    func refusal(_ settings: TrainingSettings) -> String {
      do {
        _ = try TrainingPlan(.pretrain, settings)
        return "accepted"
      } catch { return "\(error)" }
    }
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 1
      let (_, path) = try tiny.train(settings, output: "base")
      settings.from = path
      #expect(refusal(settings) == "--model makes a new model and --from trains one further. Give one of them.")
      settings.from = nil
      settings.model = path
      #expect(
        refusal(settings)
          == "\(path) is a model, and --model makes a new one. Train it further with --from \(path).")
      settings.model = nil
      settings.from = path
      // A larger vocabulary, too, is first of all another tokenizer.
      for size in [290, 310] {
        var trainer = try TokenizerTrainer(vocabularySize: size, threads: 1)
        for text in tinyDocuments { try trainer.add(document: text) }
        try tiny.prepareDocuments(tokenizer: trainer.train(), output: "other-\(size)")
        settings.data = tiny.folder + "/other-\(size)"
        #expect(refusal(settings).contains("other-\(size) was prepared with another tokenizer"))
      }
      let (_, new) = try tiny.train(tiny.settings(), output: "new", stopAfter: 1)
      let error = #expect(throws: TrainingError.self) { try tiny.resume(new) { $0.from = path } }
      #expect(
        error?.description == "\(new) was begun with random weights, and with no other model. Leave out --from.")
    }
  }
}
