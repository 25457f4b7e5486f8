import CPUEngine
import Corpus
import Foundation
import Model
import ModelFiles
import Processes
import Storage
import TestSupport
import Testing
import Training

@Suite("Answers that the model writes for its teacher")
struct OnPolicyTests {
  /// Writes the same answer to every prompt, and keeps what it was asked.
  private final class FixedWriter: RolloutWriter {
    static let answer: [Int32] = [40, 41, 42]
    private(set) var requests: [AnswerRequest] = []

    func write(
      _ requests: [AnswerRequest], with engine: any TrainingEngine, progress: (_ ended: Int) throws -> Void
    ) throws -> [AnswerTokens] {
      self.requests += requests
      return requests.map { request in
        let tokens = Array(Self.answer.prefix(request.maximumTokens))
        return AnswerTokens(tokens: tokens, logProbabilities: tokens.map { _ in -1 }, text: "x")
      }
    }
  }

  private func base(_ tiny: TinyRun, mixture: Bool = false) throws -> String {
    var settings = tiny.settings(threads: 2)
    if mixture { settings.model = tiny.mixtureConfiguration }
    settings.steps = 6
    return try tiny.train(settings, output: "base").path
  }

  private func teacher(_ tiny: TinyRun, from base: String) throws -> String {
    var settings = tiny.settings(.sft, threads: 2)
    settings.from = base
    settings.epochs = 6
    return try tiny.train(settings, stage: .sft, output: "teacher").path
  }

  private func settings(
    _ tiny: TinyRun, from base: String, teacher: String, share: Double?, stage: Stage = .sft
  ) -> TrainingSettings {
    var settings = tiny.settings(stage, threads: 2)
    (settings.from, settings.teacher, settings.onPolicy) = (base, teacher, share)
    settings.precision = .float32
    settings.learningRate = 0.003
    if share ?? 0 > 0 { settings.answerTokens = 16 }
    settings.steps = 8
    return settings
  }

  @Test(
    "a step has the prompts of the data with the model's answers in place of the last ones; what has no prompt is kept")
  func batches() throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      var settings = settings(tiny, from: base, teacher: base, share: 1)
      // Some documents are read in two chunks, of which the second may begin inside the answer.
      settings.sequenceLength = 48
      settings.temperature = 0.7
      let plan = try TrainingPlan(.sft, settings)
      let engine = try CPUEngineProvider(threads: 1).makeEngine(
        .whole(try Parameters(modelDirectory: base + "/model")),
        EngineSettings(precision: .float32, maximumTokens: 256, optimizer: nil))
      let writer = FixedWriter()
      let source = try OnPolicySource(plan, position: BatchPosition(), writer: writer, engine: engine)
      var data = try plan.shardSource(position: BatchPosition())
      var (answered, kept) = (0, 0)
      for _ in 0..<10 {
        // [documents] the tokens of each of the step, and which of them are learned.
        var expected: [[Int32]] = []
        var weights: [[Float]] = []
        var batch = Batch()
        for _ in data.prepareStep() {
          data.next(into: &batch)
          for document in 0..<batch.documentCount {
            let rows = batch.rows(ofDocument: document)
            expected.append(batch.tokens[rows] + [batch.targets[rows.upperBound - 1]])
            weights.append([0] + batch.lossWeights[rows])
          }
        }
        let asked = writer.requests.count
        let counts = try source.prepareStep()
        #expect(source.position == data.position)
        #expect(counts.allSatisfy { (1...256).contains($0) })
        var found: [(tokens: [Int32], weights: [Float], isWritten: Bool)] = []
        for count in counts {
          source.next(into: &batch)
          #expect(batch.tokenCount == count)
          let isWritten = try #require(batch[.isWritten])
          #expect(Set(isWritten).count == 1)
          for document in 0..<batch.documentCount {
            let rows = batch.rows(ofDocument: document)
            found.append(
              (
                batch.tokens[rows] + [batch.targets[rows.upperBound - 1]], [0] + batch.lossWeights[rows],
                isWritten[document] == 1
              ))
          }
        }
        // Those without a prompt come first, then the others, each in the order of the data.
        let starts = weights.map { weights -> Int in
          guard var start = weights.lastIndex(where: { $0 != 0 }) else { return 1 }
          while weights[start - 1] != 0 { start -= 1 }
          return start
        }
        let whole = expected.indices.filter { starts[$0] == 1 }
        let cut = expected.indices.filter { starts[$0] > 1 }
        #expect(found.count == expected.count)
        for (index, found) in zip(whole, found) {
          #expect(!found.isWritten && found.tokens == expected[index] && found.weights == weights[index])
        }
        for ((index, found), request) in zip(zip(cut, found.dropFirst(whole.count)), writer.requests[asked...]) {
          let prompt = Array(expected[index][..<starts[index]])
          #expect(found.isWritten && request.prompt == prompt)
          #expect(tinyTokenizer.decode(prompt).hasSuffix("assistant\n"))
          let room = min(16, 49 - prompt.count)
          #expect(request.maximumTokens == room && request.temperature == 0.7 && request.topP == 1)
          #expect(found.tokens == prompt + FixedWriter.answer.prefix(room))
          #expect(found.weights == prompt.map { _ in 0 } + FixedWriter.answer.prefix(room).map { _ in 1 })
        }
        (answered, kept) = (answered + cut.count, kept + whole.count)
      }
      #expect(answered > 20 && kept > 3, "\(answered), \(kept)")
      #expect(Set(writer.requests.map(\.seed)).count == writer.requests.count)
    }
  }

  @Test("as many steps as asked for are the model's own, drawn by the seed; the others are those of the data")
  func share() throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      func own(_ share: Double, seed: Int) throws -> [Bool] {
        var settings = settings(tiny, from: base, teacher: base, share: share)
        settings.seed = seed
        let plan = try TrainingPlan(.sft, settings)
        let engine = try CPUEngineProvider(threads: 1).makeEngine(
          .whole(try Parameters(modelDirectory: base + "/model")),
          EngineSettings(precision: .float32, maximumTokens: 256, optimizer: nil))
        let source = try OnPolicySource(plan, position: BatchPosition(), writer: FixedWriter(), engine: engine)
        var data = try plan.shardSource(position: BatchPosition())
        return try (0..<200).map { _ in
          let (counts, expected) = (try source.prepareStep(), data.prepareStep())
          var batches: [Batch] = []
          for place in counts.indices {
            var batch = Batch()
            // What another process takes is passed over; what the model has written is last.
            if place == 0, counts.count > 1 { source.skip() } else { source.next(into: &batch) }
            batches.append(batch)
          }
          // A step of the model's own may begin with documents that are kept; it ends with what it has written.
          let isOwn = batches.contains { $0[.isWritten]?.contains(1) == true }
          for place in expected.indices {
            var other = Batch()
            if place == 0, expected.count > 1 { data.skip() } else { data.next(into: &other) }
            if !isOwn {
              #expect(batches[place].tokens == other.tokens && batches[place].lossWeights == other.lossWeights)
            }
          }
          #expect(source.position == data.position)
          return isOwn
        }
      }
      let half = try own(0.5, seed: 1)
      // Four deviations of 200 draws.
      #expect(abs(half.filter { $0 }.count - 100) < 29)
      #expect(try own(0.5, seed: 1) == half)
      #expect(try own(0.5, seed: 2) != half)
      #expect(abs(try own(0.1, seed: 1).filter { $0 }.count - 20) < 17)
    }
  }

  private func losses(_ path: String) throws -> [[Double?]] {
    try text(path + "/metrics.jsonl").split(separator: "\n").compactMap {
      let line = try JSON(parsing: String($0))
      guard line["train/loss"] != nil else { return nil }
      return ["train/loss", "train/divergence", "train/on_policy_share"].map { line[$0]?.doubleValue }
    }
  }

  @Test("a share of 0 is to the bit the run without")
  func none() throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      let teacher = try teacher(tiny, from: base)
      let (_, without) = try tiny.train(
        settings(tiny, from: base, teacher: teacher, share: nil), stage: .sft, output: "without")
      let (_, zero) = try tiny.train(
        settings(tiny, from: base, teacher: teacher, share: 0), stage: .sft, output: "zero")
      #expect(try bytes(zero + "/model/model.safetensors") == bytes(without + "/model/model.safetensors"))
      #expect(try losses(zero) == losses(without))
      #expect(try losses(zero).allSatisfy { $0[2] == nil })
    }
  }

  @Test("with a share of 1 the model comes near its teacher where it writes itself, and its text does not count")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      var settings = settings(tiny, from: base, teacher: try teacher(tiny, from: base), share: 1)
      settings.steps = 40
      let events = EventList()
      let (summary, _) = try tiny.train(settings, stage: .sft, output: "student", sinks: [events])
      let divergences = try events.steps.map { try #require($0.sums.mean("divergence")) }
      let (first, last) = (divergences.prefix(4).reduce(0, +) / 4, divergences.suffix(4).reduce(0, +) / 4)
      #expect(last < 0.8 * first, "\(first) to \(last)")
      // The rest is of documents in chunks, which begin inside an answer.
      #expect(events.steps.allSatisfy { $0.sums.mean("on_policy_share") ?? 0 > 0.4 })
      let whole = events.steps.filter { $0.sums.mean("on_policy_share") == 1 }
      #expect(whole.count > 4)
      for step in whole {
        let expected = 2.25 * (try #require(step.sums.mean("divergence")))
        #expect(abs(try #require(step.loss) - expected) < 1e-5 * expected)
      }
      let evaluations = events.evaluations
      #expect(try #require(evaluations.last).loss < (try #require(evaluations.first)).loss)
      #expect(summary.isComplete)
    }
  }

  @Test(
    "a run that was stopped, with everything of its answers lost, ends with the same bits",
    arguments: [(Stage.sft, false), (.lora, false), (.sft, true)])
  func resumes(_ stage: Stage, mixture: Bool) throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny, mixture: mixture)
      var settings = settings(
        tiny, from: base, teacher: try teacher(tiny, from: base), share: 0.5, stage: stage)
      (settings.steps, settings.checkpointInterval, settings.evalInterval) = (12, 2, 6)
      let file = stage == .lora ? "/model/adapter_model.safetensors" : "/model/model.safetensors"
      let (_, whole) = try tiny.train(settings, stage: stage, output: "whole")
      let (_, part) = try tiny.train(settings, stage: stage, output: "part", stopAfter: 5)
      try tiny.resume(part, stage: stage)
      #expect(try bytes(part + file) == bytes(whole + file))
      let found = try losses(part)
      #expect(try found == losses(whole))
      #expect(Set(found.map { $0[2] }).isSuperset(of: [0, 1]), "both kinds of steps")
    }
  }

  @Test("several processes share out the writing and make the same run", arguments: [Stage.sft, .lora])
  func processes(_ stage: Stage) throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      var settings = settings(
        tiny, from: base, teacher: try teacher(tiny, from: base), share: 0.5, stage: stage)
      (settings.steps, settings.evalInterval) = (6, 3)
      settings.threads = 1
      let plan = settings
      func train(_ count: Int, _ output: String) throws -> EventList {
        let path = tiny.folder + "/" + output
        let events = EventList()
        nonisolated(unsafe) let list = events
        _ = try ThreadProcessGroup.run(count) { exchange in
          let run = try exchange.isFirst ? RunDirectory(creating: path) : RunDirectory(following: path)
          _ = exchange.any(false)
          let trainer = try Trainer(
            TrainingPlan(stage, plan), run: run, engines: CPUEngineProvider(threads: 1), exchange: exchange,
            sinks: exchange.isFirst ? [list] : [], writer: TinyWriter(threads: 1))
          return try trainer.train().step
        }
        return events
      }
      let alone = try train(1, "one")
      for count in [2, 3] {
        let found = try train(count, "run-\(count)")
        #expect(found.steps.count == 6)
        for (mine, other) in zip(found.steps, alone.steps) {
          #expect(mine.tokens == other.tokens)
          #expect(abs(mine.loss! - other.loss!) < 1e-4 * abs(other.loss!))
          #expect(mine.sums.mean("on_policy_share") == other.sums.mean("on_policy_share"))
        }
        #expect(Set(found.steps.map { $0.sums.mean("on_policy_share") }).count > 1)
      }
    }
  }

  @Test("options without their sense are refused by name")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      let base = try base(tiny)
      func failure(_ share: Double?, _ change: (inout TrainingSettings) -> Void) -> String {
        var settings = settings(tiny, from: base, teacher: base, share: share)
        change(&settings)
        do {
          _ = try TrainingPlan(.sft, settings)
          return ""
        } catch { return "\(error)" }
      }
      #expect(failure(0.5) { _ in } == "")
      #expect(failure(0.5) { $0.teacher = nil }.hasPrefix("--on-policy says how to learn from a teacher."))
      #expect(
        failure(0) { $0.answerTokens = 5 }.hasPrefix("--answer-tokens is of answers that the model writes itself."))
      #expect(failure(nil) { $0.temperature = 0.9 }.hasPrefix("--temperature is of answers"))
      let plan = try TrainingPlan(.sft, settings(tiny, from: base, teacher: base, share: 0.5))
      #expect(plan.writesAnswers && plan.settings.recorded.temperature == 1)
      let other = try TrainingPlan(.sft, settings(tiny, from: base, teacher: base, share: nil))
      #expect(!other.writesAnswers && other.settings.recorded.answerTokens == nil)
    }
  }
}
