import CPUEngine
import Foundation
import Model
import ModelFiles
import Processes
import ProgramEngine
import Programs
import TestSupport
import Testing
import Training

/// Runs of several processes, which are threads here; Tests/Interop/test_processes.py has true ones.
@Suite("Training by several processes")
struct ProcessRunTests {
  enum Case: String, CaseIterable, CustomTestStringConvertible {
    case pretraining, muon, mixture, fineTuning, adapter, preferences

    var testDescription: String { rawValue }
    var stage: Stage {
      switch self {
      case .pretraining, .muon, .mixture: .pretrain
      case .fineTuning: .sft
      case .adapter: .lora
      case .preferences: .dpo
      }
    }
  }

  /// Eight micro-batches a step, in fp32: the order of sums is all that differs between numbers of processes.
  private func settings(_ test: Case, _ tiny: TinyRun, from start: String?) -> TrainingSettings {
    var settings = tiny.settings(test.stage)
    settings.from = start
    if test == .mixture { settings.model = tiny.mixtureConfiguration }
    settings.optimizer = test == .muon || test == .mixture ? .muon : .adamW
    settings.precision = .float32
    settings.microBatchTokens = 128
    settings.batchTokens = 1024
    settings.sequenceLength = 64
    settings.steps = 6
    settings.evalInterval = 3
    settings.checkpointInterval = 6
    settings.learningRate = 0.003
    return settings
  }

  /// What is left of a run: the weights, the moments, and the events that the first process showed.
  private struct Outcome {
    var model: [String: [Float]]
    var moments: [String: [Float]]
    var events: EventList
    var momentBytes: [Int]
  }

  private func tensors(_ path: String) throws -> [String: [Float]] {
    let file = try SafetensorsFile(path)
    return try Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, try file.floats(of: $0)) })
  }

  /// - Parameter replicas: devices of each process, which interpret programs; nil for the processor's engine.
  private func run(
    _ tiny: TinyRun, _ stage: Stage, _ settings: TrainingSettings, _ output: String, processes: Int,
    stopAfter: Int = .max, isResumed: Bool = false, replicas: Int? = nil
  ) throws -> Outcome {
    let path = tiny.folder + "/" + output
    let events = EventList()
    nonisolated(unsafe) let list = events
    let bytes = try ThreadProcessGroup.run(processes) { exchange in
      var run = RunDirectory(following: path)
      if exchange.isFirst { run = try isResumed ? RunDirectory(resuming: path) : RunDirectory(creating: path) }
      _ = exchange.any(false)
      let record = isResumed ? try RunRecord(of: run) : nil
      let plan =
        try record.map {
          try TrainingPlan(resuming: run, record: $0, stage, $0.options)
        } ?? TrainingPlan(stage, settings)
      if exchange.isFirst, !isResumed { try plan.record(programVersion: "test").write(to: run) }
      let engines: any TrainingEngineProvider =
        replicas.map { ProgramEngineProvider(Interpreter(replicas: $0)) } ?? CPUEngineProvider(threads: 1)
      let trainer = try Trainer(
        plan, run: run, engines: engines, exchange: exchange, sinks: exchange.isFirst ? [list] : [])
      // Only one of the processes is asked to stop.
      return try trainer.train {
        exchange.rank == exchange.count - 1 && trainer.state.step >= stopAfter
      }.momentBytes
    }
    let last = try #require(
      try FileManager.default.contentsOfDirectory(atPath: path + "/checkpoints")
        .compactMap { Int($0.dropFirst("step-".count)) }.max())
    let checkpoint = path + "/checkpoints/step-\(last)"
    let weights = stage == .lora ? "adapter_model.safetensors" : "model.safetensors"
    return Outcome(
      model: try tensors(checkpoint + "/model/" + weights),
      moments: try tensors(checkpoint + "/optimizer.safetensors"), events: events, momentBytes: bytes)
  }

  /// The largest relative distance of a tensor.
  private func distance(_ found: [String: [Float]], _ expected: [String: [Float]]) -> Double {
    guard Set(found.keys) == Set(expected.keys) else { return .infinity }
    return expected.map { key, values in
      let difference = zip(found[key]!, values).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
      return difference / max(1e-20, values.reduce(0) { $0 + pow(Double($1), 2) }.squareRoot())
    }.max() ?? .infinity
  }

  private func startModel(_ test: Case, _ tiny: TinyRun) throws -> String? {
    guard test.stage != .pretrain else { return nil }
    var settings = tiny.settings()
    settings.steps = 4
    return try tiny.train(settings, output: "start").path
  }

  @Test("ends with the weights, the moments and the metrics of one process, but for rounding", arguments: Case.allCases)
  func anyNumber(_ test: Case) throws {
    try TinyRun.inFolder { tiny in
      let settings = settings(test, tiny, from: try startModel(test, tiny))
      let alone = try run(tiny, test.stage, settings, "one", processes: 1)
      // Eight micro-batches on three processes: two whole ones each, and two by documents.
      for processes in [2, 3, 4] {
        let found = try run(tiny, test.stage, settings, "run-\(processes)", processes: processes)
        // Rounding differs by 1e-7 a sum; Adam divides a gradient by its size and so enlarges the smallest ones' errors.
        #expect(distance(found.model, alone.model) < 1e-4, "\(processes) processes")
        #expect(distance(found.moments, alone.moments) < 1e-3, "\(processes) processes")
        #expect(found.events.steps.map(\.tokens) == alone.events.steps.map(\.tokens))
        #expect(found.events.evaluations.map(\.step) == alone.events.evaluations.map(\.step))
        for (mine, other) in zip(found.events.steps, alone.events.steps) {
          #expect(abs(mine.loss! - other.loss!) < 1e-5 * abs(other.loss!) + 1e-7)
          #expect(abs(mine.gradientNorm - other.gradientNorm) < 1e-3 * other.gradientNorm)
          #expect(ExpertReport(mine.sums)?.shares == ExpertReport(other.sums)?.shares)
          #expect(mine.sums.mean("rewards/accuracies") == other.sums.mean("rewards/accuracies"))
          #expect(mine.exchange?.count == processes && mine.exchange!.sentBytes > 0)
        }
        for (mine, other) in zip(found.events.evaluations, alone.events.evaluations) {
          #expect(abs(mine.loss - other.loss) < 1e-5 * abs(other.loss) + 1e-7)
          #expect(mine.tokens == other.tokens)
        }
        // The optimizer's state is shared out: each has some, none much more than its part.
        #expect(found.momentBytes.reduce(0, +) == alone.momentBytes[0])
        #expect(found.momentBytes.max()! < alone.momentBytes[0])
      }
    }
  }

  @Test("learns the same where the processes are more than the micro-batches", arguments: Case.allCases)
  func manyProcesses(_ test: Case) throws {
    try TinyRun.inFolder { tiny in
      var settings = settings(test, tiny, from: try startModel(test, tiny))
      settings.batchTokens = 256
      let alone = try run(tiny, test.stage, settings, "one", processes: 1)
      let found = try run(tiny, test.stage, settings, "five", processes: 5)
      #expect(distance(found.model, alone.model) < 1e-4)
      #expect(found.events.steps.map(\.tokens) == alone.events.steps.map(\.tokens))
    }
  }

  @Test(
    "on devices, ends with what one process and the processor's engine make, the same bits each time, and goes on in another number",
    arguments: [(Case.pretraining, 1), (.muon, 2), (.adapter, 1)])
  func devices(_ test: Case, replicas: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = settings(test, tiny, from: try startModel(test, tiny))
      (settings.batchTokens, settings.steps, settings.evalInterval, settings.checkpointInterval) = (384, 3, 3, 3)
      settings.evalTokens = 100
      func train(_ output: String, _ processes: Int, stopAfter: Int = .max, isResumed: Bool = false) throws -> Outcome {
        try run(
          tiny, test.stage, settings, output, processes: processes, stopAfter: stopAfter, isResumed: isResumed,
          replicas: replicas)
      }
      let processor = try run(tiny, test.stage, settings, "processor", processes: 2)
      let alone = try train("one", 1)
      let found = try train("two", 2)
      #expect(distance(found.model, alone.model) < 1e-4 && distance(found.model, processor.model) < 1e-3)
      #expect(distance(found.moments, alone.moments) < 1e-3)
      for (mine, other) in zip(found.events.steps, alone.events.steps) {
        #expect(abs(mine.loss! - other.loss!) < 1e-5 * abs(other.loss!) + 1e-7)
        #expect(abs(mine.gradientNorm - other.gradientNorm) < 1e-3 * other.gradientNorm)
        #expect(mine.exchange?.count == 2 && mine.exchange!.sentBytes > 0)
      }
      #expect(found.momentBytes.reduce(0, +) == alone.momentBytes[0])
      #expect(try train("again", 2).model == found.model)
      _ = try train("parts", 2, stopAfter: 1)
      #expect(distance(try train("parts", 1, isResumed: true).model, alone.model) < 1e-4)
      _ = try train("more", 1, stopAfter: 1)
      #expect(distance(try train("more", 3, isResumed: true).model, alone.model) < 1e-4)
    }
  }

  @Test("where the device of one process fails, all end, and the first one knows why")
  func failingDevice() throws {
    try TinyRun.inFolder { tiny in
      var settings = settings(.pretraining, tiny, from: nil)
      (settings.batchTokens, settings.steps) = (384, 4)
      let directory = try RunDirectory(creating: tiny.folder + "/run")
      let found = try ThreadProcessGroup.run(2) { exchange -> String in
        let device = DeviceRunTests.FailingDevice(failsAfter: exchange.rank == 1 ? 3 : .max)
        let trainer = try Trainer(
          TrainingPlan(.pretrain, settings), run: directory, engines: ProgramEngineProvider(device), exchange: exchange,
          sinks: [])
        do { _ = try trainer.train() } catch { return "\(error)" }
        return ""
      }
      #expect(found.allSatisfy { $0.contains("fell off the bus") && $0.contains("--resume") }, "\(found)")
      #expect(found[0].contains("process 1"), "\(found)")
    }
  }

  @Test("has the same bits each time")
  func sameBits() throws {
    try TinyRun.inFolder { tiny in
      let settings = settings(.muon, tiny, from: nil)
      let first = try run(tiny, .pretrain, settings, "first", processes: 3)
      let second = try run(tiny, .pretrain, settings, "second", processes: 3)
      #expect(first.model == second.model && first.moments == second.moments)
    }
  }

  @Test("goes on with any number of processes from where another number was stopped", arguments: Case.allCases)
  func resumed(_ test: Case) throws {
    try TinyRun.inFolder { tiny in
      let settings = settings(test, tiny, from: try startModel(test, tiny))
      let unbroken = try run(tiny, test.stage, settings, "unbroken", processes: 4)
      _ = try run(tiny, test.stage, settings, "run", processes: 4, stopAfter: 2)
      let saved = tiny.folder + "/run"
      for processes in [1, 2, 3, 4] {
        try FileManager.default.copyItem(atPath: saved, toPath: tiny.folder + "/copy-\(processes)")
        let found = try run(
          tiny, test.stage, settings, "copy-\(processes)", processes: processes, isResumed: true)
        #expect(found.events.steps.map(\.step) == [3, 4, 5, 6])
        #expect(distance(found.model, unbroken.model) < 1e-4, "\(processes) processes")
        if processes == 4 { #expect(found.model == unbroken.model && found.moments == unbroken.moments) }
      }
    }
  }

  /// What each of three processes says that ends with an error, when it trains as `make` says for its rank.
  private func errors(
    _ make: @escaping (_ rank: Int) throws -> (plan: TrainingPlan, directory: RunDirectory)
  ) throws -> [String?] {
    try ThreadProcessGroup.run(3) { exchange -> String? in
      let (plan, directory) = try make(exchange.rank)
      let trainer = try Trainer(
        plan, run: directory, engines: CPUEngineProvider(threads: plan.settings.threads), exchange: exchange, sinks: [])
      do { _ = try trainer.train() } catch let error as ProcessError { return error.description }
      return nil
    }
  }

  @Test("processes that would make different runs stop before the first step, and say which one differs in what")
  func differentRuns() throws {
    try TinyRun.inFolder { tiny in
      var common = settings(.pretraining, tiny, from: nil)
      common.checkpointInterval = 3
      let usual = common
      let directory = try RunDirectory(creating: tiny.folder + "/new")
      func found(_ change: @escaping (inout TrainingSettings) -> Void) throws -> [String?] {
        try errors { rank in
          var changed = usual
          if rank == 2 { change(&changed) }
          return (plan: try TrainingPlan(.pretrain, changed), directory: directory)
        }
      }
      // Prepared from the same text, by another version of the program.
      let other = tiny.folder + "/other"
      try FileManager.default.copyItem(atPath: tiny.pretrainData, toPath: other)
      let manifest = try text(other + "/manifest.json").replacingOccurrences(of: "\"test\"", with: "\"later\"")
      try Data(manifest.utf8).write(to: URL(fileURLWithPath: other + "/manifest.json"))
      let byData = try found { $0.data = other }
      let byOption = try found { $0.seed = 43 }

      _ = try run(tiny, .pretrain, usual, "run", processes: 3, stopAfter: 4)
      let (path, stale) = (tiny.folder + "/run", tiny.folder + "/stale")
      try FileManager.default.copyItem(atPath: path, toPath: stale)
      try FileManager.default.removeItem(atPath: stale + "/checkpoints/step-4")
      let byCheckpoint = try errors { rank in
        let directory = RunDirectory(following: rank == 2 ? stale : path)
        let record = try RunRecord(of: directory)
        let plan = try TrainingPlan(resuming: directory, record: record, .pretrain, record.options)
        return (plan: plan, directory: directory)
      }

      let beginning = "process 2 would make another run than process 0. It differs in "
      for (errors, parts) in [
        (byData, ["data ("]), (byOption, ["--seed (43 instead of 42)", "weights ("]),
        (byCheckpoint, ["checkpoint (step 3 instead of step 4)", "place in the data (", "weights ("]),
      ] {
        let text = errors[0] ?? "no error"
        #expect(errors.allSatisfy { $0 == text }, "not all processes end alike")
        #expect(text.hasPrefix(beginning + parts[0]), "\(text)")
        #expect(text.components(separatedBy: " instead of ").count == parts.count + 1, "\(text)")
        for part in parts { #expect(text.contains(part), "\(text)") }
      }
    }
  }

  @Test("each process may have another number of threads")
  func threadsOfItsOwn() throws {
    try TinyRun.inFolder { tiny in
      let settings = settings(.muon, tiny, from: nil)
      let directory = try RunDirectory(creating: tiny.folder + "/run")
      // The weights are compared at each evaluation.
      let found = try errors { rank in
        var changed = settings
        changed.threads = rank + 1
        return (plan: try TrainingPlan(.pretrain, changed), directory: directory)
      }
      #expect(found.allSatisfy { $0 == nil }, "\(found)")
    }
  }
}
