import Foundation
import Machine
import Model
import Storage
import TestSupport
import Testing
import Training

@Suite("Metrics")
struct MetricsTests {
  @Test("a line a step and one an evaluation, under the names that tools know, by step, never going back")
  func lines() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 6
      settings.evalInterval = 3
      let events = EventList()
      let (_, path) = try tiny.train(settings, output: "run", sinks: [events])
      let lines = try text(path + "/metrics.jsonl").split(separator: "\n").map { try JSON(parsing: String($0)) }
      #expect(lines.compactMap { $0["train/global_step"]?.integerValue } == [0, 1, 2, 3, 3, 4, 5, 6, 6])
      let steps = lines.filter { $0["train/loss"] != nil }
      let evaluations = lines.filter { $0["eval/loss"] != nil }
      #expect(steps.count == 6 && evaluations.count == 3)
      for (line, report) in zip(steps, events.steps) {
        #expect(line["train/loss"]?.doubleValue == report.loss)
        #expect(line["train/learning_rate"]?.doubleValue == report.learningRate)
        #expect(line["train/grad_norm"]?.doubleValue == report.gradientNorm)
        #expect(line["train/tokens"]?.integerValue == report.tokens)
        #expect(line["train/epoch"]?.doubleValue == report.epoch)
        #expect(try #require(line["train/tokens_per_second"]?.doubleValue) > 0)
        #expect(line["train/peak_memory_bytes"]?.integerValue == report.peakMemoryBytes)
        // More than the program alone, less than the machine has.
        #expect((10_000_000..<MachineMemory.totalBytes).contains(report.peakMemoryBytes))
      }
      for (line, evaluation) in zip(evaluations, events.evaluations) {
        #expect(line["eval/loss"]?.doubleValue == evaluation.loss)
        #expect(line["eval/perplexity"]?.doubleValue == exp(evaluation.loss))
        #expect(line["eval/bpb"]?.doubleValue == evaluation.bitsPerByte)
      }
    }
  }

  @Test("a mixture of experts tells how it used them, beside its loss")
  func experts() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.model = tiny.mixtureConfiguration
      settings.steps = 4
      let events = EventList()
      let (_, path) = try tiny.train(settings, output: "run", sinks: [events])
      let lines = try text(path + "/metrics.jsonl").split(separator: "\n").map { try JSON(parsing: String($0)) }
      let steps = lines.filter { $0["train/loss"] != nil }
      #expect(steps.count == 4 && events.steps.count == 4)
      for (line, report) in zip(steps, events.steps) {
        let experts = try #require(ExpertReport(report.sums))
        #expect(line["train/aux_loss"]?.doubleValue == experts.balanceLoss)
        #expect(line["train/expert_max_share"]?.doubleValue == experts.largestShare)
        #expect(line["train/expert_entropy"]?.doubleValue == experts.entropy)
        let shares = try #require(line["train/expert_shares"]?.arrayValue)
        #expect(shares.map { $0.arrayValue?.compactMap(\.doubleValue) } == experts.shares)
        #expect(experts.shares.count == 2 && experts.shares.allSatisfy { abs($0.reduce(0, +) - 1) < 1e-12 })
        // Two layers of weight 0.01 each: 1 where all is even, and twice that at the worst for two of four experts.
        #expect(experts.balanceLoss > 0.015 && experts.balanceLoss < 0.04)
        #expect((0.25...0.5).contains(experts.largestShare) && (0.5...1).contains(experts.entropy))
      }
    }
  }

  @Test("the balance loss keeps experts in use that training without it lets go")
  func balanceKeepsExpertsInUse() throws {
    try TinyRun.inFolder { tiny in
      func finalEntropy(_ weight: Double, _ output: String) throws -> Double {
        var configuration = try ModelConfiguration(huggingFaceConfig: tiny.mixtureConfiguration)
        configuration.balanceLossWeight = weight
        let path = tiny.folder + "/\(output).json"
        try Data(configuration.huggingFaceConfig().text().utf8).write(to: URL(fileURLWithPath: path))
        var settings = tiny.settings()
        settings.model = path
        settings.steps = 40
        let events = EventList()
        try tiny.train(settings, output: output, sinks: [events])
        return events.steps.suffix(5).reduce(0) { $0 + ExpertReport($1.sums)!.entropy } / 5
      }
      let (without, with) = (try finalEntropy(0, "without"), try finalEntropy(0.1, "with"))
      #expect(with > without && with > 0.95, "entropy \(without) without, \(with) with")
    }
  }

  @Test("entropy is 1 where experts are used evenly and 0 where one takes all")
  func entropy() {
    #expect(ExpertReport(balanceLoss: 0, shares: [[0.25, 0.25, 0.25, 0.25]]).entropy == 1)
    #expect(ExpertReport(balanceLoss: 0, shares: [[1, 0], [0, 1]]).entropy == 0)
    #expect(ExpertReport(balanceLoss: 0, shares: [[1]]).entropy == 1)
    #expect(ExpertReport(balanceLoss: 0, shares: [[0.5, 0.5], [1, 0]]).entropy == 0.5)
    #expect(ExpertReport(balanceLoss: 0, shares: [[0.5, 0.5], [0.9, 0.1]]).largestShare == 0.9)
  }

  @Test("the smoothed loss is a mean, from the first step on, and forgets")
  func smoothed() {
    var smoothed = SmoothedLoss()
    #expect(smoothed.value == nil)
    smoothed.add(4)
    #expect(smoothed.value == 4)
    smoothed.add(2)
    #expect(smoothed.value! > 2.9 && smoothed.value! < 3)
    for _ in 0..<500 { smoothed.add(1) }
    #expect(abs(smoothed.value! - 1) < 1e-6)
  }

  @Test("a state survives its JSON to the bit")
  func stateRoundTrip() throws {
    var generator = SeededGenerator(seed: 9)
    for _ in 0..<100 {
      var state = TrainingState()
      for _ in 0..<5 { state.smoothedLoss.add(Double.random(in: 0...10, using: &generator)) }
      state.seconds = Double.random(in: 0...1e6, using: &generator)
      #expect(try JSONDecoder().decode(TrainingState.self, from: JSONEncoder().encode(state)) == state)
    }
  }
}

@Suite("Sums of metrics")
struct MetricSumsTests {
  @Test("sums add up by name, become means by their weights, and survive their JSON in order")
  func sums() throws {
    var sums = MetricSums(["loss", "rewards/margins"])
    #expect(sums.mean("loss") == nil && sums.means.isEmpty)
    sums.add("loss", 6, weight: 3)
    var more = MetricSums()
    more.add("rewards/margins", -1, weight: 2)
    more.add("loss", 2, weight: 1)
    more.add("another", 1, weight: 4)
    sums += more
    #expect(sums.names == ["loss", "rewards/margins", "another"])
    #expect(sums.mean("loss") == 2 && sums.mean("rewards/margins") == -0.5 && sums.mean("another") == 0.25)
    #expect(sums.sum("none") == 0 && sums.mean("none") == nil)
    #expect(try JSONDecoder().decode(MetricSums.self, from: JSONEncoder().encode(sums)) == sums)
    var doubled = sums
    doubled.numbers = sums.numbers.map { 2 * $0 }
    #expect(doubled.sum("loss") == 16 && doubled.mean("loss") == 2)
  }

  @Test("an evaluation of a checkpoint of the first versions keeps its numbers")
  func earlierEvaluation() throws {
    let text = """
      {"step": 8, "loss": 0.5, "tokens": 20, "preference":
        {"pairs": 10, "correct": 7, "rewards": [3, -1], "logProbabilities": [-50, -60]}}
      """
    let evaluation = try JSONDecoder().decode(Evaluation.self, from: Data(text.utf8))
    #expect(evaluation.loss == 0.5 && evaluation.tokens == 20 && evaluation.bitsPerByte == nil)
    #expect(evaluation.sums.mean("rewards/accuracies") == 0.7 && evaluation.sums.mean("rewards/margins") == 0.4)
    #expect(evaluation.sums.mean("logps/rejected") == -6)
    let plain = try JSONDecoder().decode(
      Evaluation.self, from: Data(#"{"step": 8, "loss": 2, "tokens": 20, "bitsPerByte": 1.5}"#.utf8))
    #expect(plain.bitsPerByte == 1.5 && plain.sums.names.isEmpty)
  }
}

@Suite("Clock of a run")
struct RunClockTests {
  @Test("the time left is for the whole run, and the slow first steps do not count")
  func secondsLeft() {
    var clock = RunClock(firstStep: 0, totalSteps: 100)
    clock.start(at: 0)
    var now = 0.0
    for step in 1...10 {
      now += 50
      clock.finishStep(step, at: now)
      #expect(clock.secondsLeft(at: now) == nil)
    }
    for step in 11...40 {
      now += 2
      clock.finishStep(step, at: now)
    }
    #expect(clock.secondsLeft(at: now) == 120)
  }

  @Test("a resumed session begins its rate anew")
  func resumed() {
    var clock = RunClock(firstStep: 90, totalSteps: 100)
    clock.start(at: 0)
    for (index, step) in (91...95).enumerated() { clock.finishStep(step, at: Double(index)) }
    #expect(clock.secondsLeft(at: 4) == 5)
  }

  @Test("laps add up by phase")
  func laps() {
    var clock = RunClock(firstStep: 0, totalSteps: 2)
    clock.start(at: 10)
    clock.lap(\.data, at: 11)
    clock.lap(\.passes, at: 15)
    clock.lap(\.data, at: 16)
    #expect(clock.times.data == 2 && clock.times.passes == 4)
  }
}
