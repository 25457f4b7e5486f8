import Machine
import Model
import PJRT
import ProgramEngine
import Programs
import Storage
import Training

/// The speed of optimizer steps on a device, through the engine that training uses. The rate is the median over the steps.
struct DeviceBenchmarkResult: Encodable {
  let tokensPerSecond: Double
  /// From the beginning to the end of the first step, in which programs are compiled.
  let firstStepSeconds: Double
  /// Additions and multiplications of the products of a token, those that are computed twice included.
  let operationsPerToken: Double
  /// Of the peak that its makers publish for products of bfloat16; nil for a device that is not among `GPUCard.all`.
  let shareOfPeak: Double?
  /// What the programs need of the device's memory.
  let deviceBytes: Int
  let device: String
  /// How it is computed, and seconds of that of one layer, forward and backward; nil where there is no choice.
  let attention: String?
  let attentionSeconds: AttentionSeconds?
  let model: String
  let precision: String
  let batchTokens: Int
  let microBatchTokens: Int
  let sequenceLength: Int

  struct AttentionSeconds: Encodable {
    var composed: Double
    var kernel: Double
  }

  enum CodingKeys: String, CodingKey {
    case device, attention, model, precision
    case attentionSeconds = "attention_seconds"
    case tokensPerSecond = "tokens_per_second"
    case firstStepSeconds = "first_step_seconds"
    case operationsPerToken = "operations_per_token"
    case shareOfPeak = "share_of_peak"
    case deviceBytes = "device_bytes"
    case batchTokens = "batch_tokens"
    case microBatchTokens = "micro_batch_tokens"
    case sequenceLength = "sequence_length"
  }

  /// - Throws: why the device cannot, or has failed.
  init(_ shape: BenchmarkShape, steps: Int, threads: Int) throws {
    let engines = try TrainingEngines(.gpu, threads: threads)
    let settings = EngineSettings(
      precision: shape.precision, maximumTokens: shape.microBatchTokens, longestDocument: shape.sequenceLength,
      recomputesActivations: shape.recomputes, optimizer: shape.optimizer)
    let provider = ProgramEngineProvider(engines.runner!)
    let programs = try StepPrograms(
      shape.configuration, lora: nil, settings, provider.sizes(of: shape.configuration, settings))
    let engine = try engines.provider.makeEngine(
      .whole(try Parameters(configuration: shape.configuration, seed: 1)), settings)
    func step(_ number: Int) throws {
      engine.zeroGradients()
      var sum = LossSum()
      for batch in shape.batches {
        sum += engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
      }
      let norm = engine.gradientNorm() / sum.weight
      engine.step(BenchmarkShape.step(number, norm: norm, weight: sum.weight))
      // The step is done when its numbers can be read.
      _ = engine.read(.weights, of: engine.trained.entries[engine.trained.entries.count - 1])
      try engines.check()
    }
    firstStepSeconds = try measuredSeconds { try step(1) }
    let seconds = try (0..<steps).map { number in try measuredSeconds { try step(number + 2) } }
    let rate = Double(shape.batchTokens) / median(seconds)
    let operations =
      Double(programs.pass.productOperations) / Double(shape.microBatchTokens)
      + Double(programs.step?.productOperations ?? 0) / Double(shape.batchTokens)
    let card = GPUCard.all.first { $0.kind == engines.kind }
    shareOfPeak = card.map { rate * operations / $0.productRate }
    (tokensPerSecond, operationsPerToken) = (rate, operations)
    deviceBytes =
      try engines.provider.deviceMemory(shape.configuration, lora: nil, settings)?.neededBytes
      ?? engines.provider.memoryBytes(shape.configuration, lora: nil, settings)
    attention = engines.provider.attention
    attentionSeconds = attention.flatMap { _ in Self.attentionSeconds(shape, on: engines.runner!) }
    (device, model, precision) = (engines.device ?? "", shape.model, shape.precision.rawValue)
    (batchTokens, microBatchTokens, sequenceLength) = (
      shape.batchTokens, shape.microBatchTokens, shape.sequenceLength
    )
  }

  /// Nil where one of the forms cannot be had.
  private static func attentionSeconds(_ shape: BenchmarkShape, on runner: PJRTRunner) -> AttentionSeconds? {
    let model = shape.configuration
    let trial = AttentionTrial(
      AttentionShape(
        tokens: shape.microBatchTokens, heads: model.headCount, groups: model.keyValueHeadCount, size: model.headSize,
        TensorElement(shape.precision)), documentLength: shape.sequenceLength)
    guard let composed = try? trial.seconds(.composed, on: runner), let kernel = try? trial.seconds(.kernel, on: runner)
    else { return nil }
    return AttentionSeconds(composed: composed, kernel: kernel)
  }

  private var attentionText: String {
    guard let attention else { return "composed" }
    guard let seconds = attentionSeconds else { return attention }
    return String(
      format: "%@; of a layer %.2f ms composed, %.2f ms by the kernel", attention, 1000 * seconds.composed,
      1000 * seconds.kernel)
  }

  var summary: String {
    renderPairs([
      (name: "device", value: device), (name: "attention", value: attentionText),
      (name: "model", value: "\(model), \(precision)"),
      (name: "step", value: "\(batchTokens) tokens in sequences of up to \(sequenceLength)"),
      (name: "training", value: "\(Int(tokensPerSecond.rounded())) tokens/s"),
      (name: "products", value: "\(formatCount(Int(operationsPerToken))) operations a token"),
      (name: "share of the peak", value: shareOfPeak.map { String(format: "%.0f%%", 100 * $0) } ?? "not known"),
      (name: "first step", value: formatDuration(firstStepSeconds)),
      (name: "device memory", value: formatBytes(deviceBytes)),
    ])
  }
}
