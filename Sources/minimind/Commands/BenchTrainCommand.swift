import CPUEngine
import Compute
import Corpus
import Foundation
import Machine
import Model
import Storage
import Training

/// `minimind bench train`: the speed of optimizer steps, compared with that of their matrix products alone.
let benchTrainCommand: Command = {
  let model = Option.text(
    "model", "NAME|FILE", default: "small",
    help: "\(ModelConfiguration.names.joined(separator: ", ")), or a config.json.")
  let data = Option.optional("data", "DIR", help: "Prepared data to train on, instead of random full sequences.")
  let recompute = Option(SettingList.shared.recomputeActivations, of: .pretrain)
  let optimizer = Option.choice(
    "optimizer", default: OptimizerKind.adamW, help: SettingList.shared.optimizer.description.help)
  let batchTokens = Option.integer(
    "batch-tokens", default: 16384, in: 2...1 << 24, help: "The most tokens of an optimizer step.")
  let microBatchTokens = Option.integer(
    "micro-batch-tokens", default: 2048, in: 2...1 << 20, help: "The most tokens that go through the model at once.")
  let sequenceLength = Option.integer(
    "sequence-length", default: 512, in: 2...1 << 20, help: "The most tokens of a document.")
  let steps = Option.integer("steps", default: 5, in: 1...1000, help: "Optimizer steps to time, after one that is not.")
  let profile = Option.flag("profile", help: "Also shows where the time of a step goes.")
  return Command(
    "bench", "train", summary: "measures training, and how close it comes to the speed of its matrix products alone",
    options: [
      model, data, EvaluationOptions.device, EvaluationOptions.precision, optimizer, batchTokens,
      microBatchTokens, sequenceLength, recompute, steps, profile, Option.json, Option.threads,
    ], example: "minimind bench train --model small --profile"
  ) { invocation in
    let micro = invocation[microBatchTokens]
    guard invocation[sequenceLength] <= micro, micro <= invocation[batchTokens] else {
      throw UsageError(
        "--sequence-length is \(invocation[sequenceLength]), --micro-batch-tokens \(micro) and --batch-tokens "
          + "\(invocation[batchTokens]); each must be at least the one before.")
    }
    let stage = Stage.pretrain.computed(by: invocation[EvaluationOptions.device].engines)
    let shape = try BenchmarkShape(
      model: invocation[model], data: invocation[data], precision: EvaluationOptions.precision(invocation),
      optimizer: invocation[optimizer], batchTokens: invocation[batchTokens], microBatchTokens: micro,
      sequenceLength: invocation[sequenceLength], recomputes: invocation[recompute] || stage.recomputesByDefault)
    if invocation[EvaluationOptions.device] == .gpu {
      guard !invocation[profile] else { throw UsageError("--profile is of the processor; leave out it or --device.") }
      let result = try DeviceBenchmarkResult(shape, steps: invocation[steps], threads: threadCount(invocation))
      return try invocation[Option.json] ? printJSON(result) : Console.standardOutput.write(result.summary)
    }
    let benchmark = try TrainingBenchmark(shape, threads: threadCount(invocation))
    let result = benchmark.run(steps: invocation[steps])
    if invocation[Option.json] {
      try printJSON(result)
    } else {
      try Console.standardOutput.write(result.summary + (invocation[profile] ? result.profileTable : ""))
    }
  }
}()

/// What was measured. Rates are medians over the steps.
private struct TrainingBenchmarkResult: Encodable {
  var tokensPerSecond = 0.0
  /// Tokens a second if the step were nothing but its matrix products, computed again in the same run.
  var productsTokensPerSecond = 0.0
  var rooflineShare = 0.0
  var peakMemoryBytes = 0
  var model: String
  var precision: String
  var threads: Int
  var batchTokens: Int
  var sequenceLength: Int
  /// Shares of the time of all workers, by what they did.
  var profile: [String: Double] = [:]

  enum CodingKeys: String, CodingKey {
    case tokensPerSecond = "tokens_per_second"
    case productsTokensPerSecond = "products_tokens_per_second"
    case rooflineShare = "roofline_share"
    case peakMemoryBytes = "peak_memory_bytes"
    case model, precision, threads
    case batchTokens = "batch_tokens"
    case sequenceLength = "sequence_length"
    case profile
  }

  var summary: String {
    renderPairs([
      (name: "model", value: "\(model), \(precision), \(threads) threads"),
      (name: "step", value: "\(batchTokens) tokens in sequences of up to \(sequenceLength)"),
      (name: "training", value: "\(Int(tokensPerSecond.rounded())) tokens/s"),
      (name: "products alone", value: "\(Int(productsTokensPerSecond.rounded())) tokens/s"),
      (name: "share of that", value: String(format: "%.2f", rooflineShare)),
      (name: "peak memory", value: formatBytes(peakMemoryBytes)),
    ])
  }

  var profileTable: String {
    var table = TextTable([("where a step's time goes", .left), ("share", .right)])
    for (name, share) in profile.sorted(by: { $0.value > $1.value }) {
      table.add([name, String(format: "%.1f%%", share * 100)])
    }
    return "\n" + table.render()
  }
}

private struct TrainingBenchmark {
  private let pass: TrainingPass
  private let optimizer: Optimizer
  private let team: WorkerTeam
  private let batches: [Batch]
  private var blank: TrainingBenchmarkResult

  init(_ shape: BenchmarkShape, threads: Int) throws {
    team = WorkerTeam(count: threads)
    batches = shape.batches
    let parameters = try Parameters(configuration: shape.configuration, seed: 1)
    pass = try TrainingPass(
      parameters, precision: shape.precision, maximumTokens: shape.microBatchTokens, team: team,
      recomputes: shape.recomputes)
    optimizer = try Optimizer(parameters.table, shape.optimizer, precision: shape.precision, workers: threads)
    blank = TrainingBenchmarkResult(
      model: shape.model, precision: shape.precision.rawValue, threads: threads, batchTokens: shape.batchTokens,
      sequenceLength: shape.sequenceLength)
  }

  func run(steps: Int) -> TrainingBenchmarkResult {
    var result = blank
    step(1)
    let times = PassTimes(workers: team.count)
    pass.times = times
    var optimizerSeconds = 0.0
    var seconds: [Double] = []
    for number in 0..<steps {
      seconds.append(measuredSeconds { optimizerSeconds += step(number + 2) })
    }
    pass.times = nil
    let total = seconds.reduce(0, +)
    for phase in PassPhase.allCases {
      result.profile["\(phase)"] = times.seconds(phase) / total / Double(team.count)
    }
    result.profile["optimizer"] = optimizerSeconds / total
    result.profile["rest"] = 1 - result.profile.values.reduce(0, +)

    let productSeconds = productsAlone(repetitions: steps)
    result.tokensPerSecond = Double(result.batchTokens) / median(seconds)
    result.productsTokensPerSecond = Double(result.batchTokens) / productSeconds
    result.rooflineShare = result.tokensPerSecond / result.productsTokensPerSecond
    result.peakMemoryBytes = MachineMemory.peakBytes
    return result
  }

  /// One optimizer step; returns the seconds that followed the last backward pass.
  @discardableResult
  private func step(_ number: Int) -> Double {
    pass.zeroGradients()
    var sum = LossSum()
    for batch in batches { sum += forwardBackward(batch) }
    guard let gradients = pass.gradients else { return 0 }
    return measuredSeconds {
      let norm = optimizer.norm(of: gradients, team: team) / sum.weight
      optimizer.step(pass, BenchmarkShape.step(number, norm: norm, weight: sum.weight), team: team)
    }
  }

  private func forwardBackward(_ batch: Batch) -> LossSum {
    pass.forwardBackward(batch)
  }

  /// The median seconds that the matrix products of one optimizer step take with nothing around them.
  private func productsAlone(repetitions: Int) -> Double {
    team.products.forEach { $0.startRecording() }
    for batch in batches { _ = forwardBackward(batch) }
    let seconds = (0..<repetitions).map { _ in
      measuredSeconds { team.run { worker in team.products[worker].replay() } }
    }
    team.products.forEach { $0.stopRecording() }
    return median(seconds)
  }
}
