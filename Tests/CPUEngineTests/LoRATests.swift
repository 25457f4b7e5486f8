import CPUEngine
import Compute
import Foundation
import Model
import ModelFiles
import TestSupport
import Testing

@Suite("LoRA")
struct LoRATests {
  private typealias Variant = ModelVariant

  private static let base = LoRABase(path: "/base", contentHash: "0123")

  /// An adapter whose B is not zero any more, so that all of it matters.
  private func adapter(
    _ model: ModelConfiguration, rank: Int = 3, dropout: Double = 0, targets: [LoRATarget] = LoRATarget.allCases
  ) throws -> LoRAAdapter {
    let adapter = try LoRAAdapter(
      LoRAConfiguration(rank: rank, alpha: 5, dropout: dropout, targets: targets), model: model, base: Self.base,
      seed: 11)
    var generator = SeededGenerator(seed: 12)
    for entry in adapter.table.entries where !entry.isLoRAA {
      for index in entry.range { adapter.block.values[index] = Float.random(in: -0.3...0.3, using: &generator) }
    }
    return adapter
  }

  private func pass(
    _ parameters: Parameters, _ adapter: LoRAAdapter, _ precision: ElementType = .float32, workers: Int = 2
  ) throws -> TrainingPass {
    try TrainingPass(
      .adapter(adapter, on: TrainedModel.whole(parameters).frozenCopy(type: precision)), precision: precision,
      maximumTokens: 80, team: WorkerTeam(count: workers), seed: 5)
  }

  /// W + alpha/rank · B·A for every weight, in another model.
  private func merged(_ parameters: Parameters, _ adapter: LoRAAdapter) throws -> Parameters {
    let result = try Parameters(zeroed: parameters.configuration)
    result.values.update(from: parameters.values, count: parameters.table.totalCount)
    for (key, a, b) in pairs(adapter) {
      let weight = result[key]
      addLowRankProduct(
        adapter.block.values + b.offset, adapter.block.values + a.offset, outputs: b.shape[0], rank: a.shape[0],
        inputs: a.shape[1], scale: adapter.configuration.scale, to: weight.baseAddress!)
    }
    return result
  }

  /// The adapted weights with their A and B.
  private func pairs(_ adapter: LoRAAdapter) -> [(key: String, a: ParameterEntry, b: ParameterEntry)] {
    adapter.table.entries.filter(\.isLoRAA).map { a in
      let name = a.key.dropFirst("base_model.model.".count).dropLast(".lora_A.weight".count)
      return ("\(name).weight", a, adapter.table.entry("base_model.model.\(name).lora_B.weight")!)
    }
  }

  @Test(
    "the gradients of A and B are those that the merged model's weights have, through W = W₀ + s·B·A",
    arguments: ModelVariant.allCases,
    [LoRATarget.allCases, [.query, .value], [.key, .up, .down], [.attentionOutput]])
  func gradients(variant: ModelVariant, targets: [LoRATarget]) throws {
    let parameters = try variant.parameters()
    let adapter = try adapter(parameters.configuration, targets: targets)
    let places = parameters.configuration.loraPlaces.flatMap(\.site.targets).filter(targets.contains)
    #expect(adapter.table.entries.count == 2 * 2 * places.count)
    #expect(
      adapter.configuration.parameterCount(parameters.configuration)
        == adapter.table.entries.reduce(0) { $0 + $1.count })
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 7)
    for kind in [TrainingEngineTests.Kind.reference, .cpu] {
      try compareGradients(kind, parameters, adapter, batch)
    }
  }

  private func compareGradients(
    _ kind: TrainingEngineTests.Kind, _ parameters: Parameters, _ adapter: LoRAAdapter, _ batch: Batch
  ) throws {
    func train(_ model: TrainableModel) throws -> (engine: any TrainingEngine, sum: LossSum) {
      let engine = try kind.engine(model)
      let losses = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
      return (engine, losses.sum(batch))
    }
    let (engine, sum) = try train(
      .adapter(adapter, baseTable: parameters.table) { entry, target in
        target.update(from: parameters.values + entry.offset, count: entry.count)
      })
    let (whole, expectedSum) = try train(.whole(merged(parameters, adapter)))
    #expect(abs(sum.loss - expectedSum.loss) / expectedSum.loss < 1e-5)
    #expect(sum.weight == expectedSum.weight)

    let rank = adapter.configuration.rank
    let scale = adapter.configuration.scale
    for (key, a, b) in pairs(adapter) {
      let (outputs, inputs) = (b.shape[0], a.shape[1])
      let dWeight = whole.read(.gradients, of: try #require(whole.trained.entry(key)))
      let (aValues, bValues) = (adapter.block.values + a.offset, adapter.block.values + b.offset)
      var dA = [Float](repeating: 0, count: a.count)
      var dB = [Float](repeating: 0, count: b.count)
      for output in 0..<outputs {
        for index in 0..<rank {
          for input in 0..<inputs {
            dA[index * inputs + input] += scale * bValues[output * rank + index] * dWeight[output * inputs + input]
            dB[output * rank + index] += scale * dWeight[output * inputs + input] * aValues[index * inputs + input]
          }
        }
      }
      #expect(relativeError(engine.read(.gradients, of: a), dA) < kind.tolerance, "\(kind) \(a.key)")
      #expect(relativeError(engine.read(.gradients, of: b), dB) < kind.tolerance, "\(kind) \(b.key)")
    }
  }

  @Test(
    "with dropout, the loss changes along each weight as its gradient says",
    arguments: [ModelVariant.tied, .mixtureOfOne])
  func dropoutGradients(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let adapter = try adapter(parameters.configuration, dropout: 0.4)
    let batch = Batch(lengths: [30, 3, 25], vocabulary: 53, seed: 8)
    let pass = try pass(parameters, adapter)
    _ = pass.forwardBackward(batch, tokensBefore: 1000)
    let gradient = pass.gradientValues
    var generator = SeededGenerator(seed: 9)
    for entry in adapter.table.entries {
      let direction = entry.range.map {
        Float(gradient[$0].sign == .minus ? -1 : 1) * .random(in: 0.5...1, using: &generator)
      }
      let original = entry.range.map { adapter.block.values[$0] }
      // A tenth of a percent of the loss: far above fp32's noise in it, and within the linear range.
      let predicted = zip(entry.range, direction).reduce(0) { $0 + Double(gradient[$1.0] * $1.1) }
      let step = Float(0.05 / predicted)
      func lossAt(_ step: Float) -> Double {
        for (place, index) in entry.range.enumerated() {
          adapter.block.values[index] = original[place] + step * direction[place]
        }
        return pass.forwardBackward(batch, tokensBefore: 1000).loss
      }
      let slope = (lossAt(step) - lossAt(-step)) / Double(2 * step)
      _ = lossAt(0)
      #expect(abs(slope - predicted) < 0.02 * abs(predicted), "\(entry.key): \(slope) against \(predicted)")
    }
  }

  @Test(
    "a new adapter changes nothing: not a bit of the loss or the logits", arguments: ElementType.allCases,
    [ModelVariant.normalizedHeads, .normalizedMixture])
  func beginsAtNothing(precision: ElementType, variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 9)
    let adapter = try LoRAAdapter(
      LoRAConfiguration(rank: 4, alpha: 16, dropout: 0.1), model: parameters.configuration, base: Self.base, seed: 1)
    let base = try TrainingPass(parameters, precision: precision, maximumTokens: 80, team: WorkerTeam(count: 2))
    let pass = try pass(parameters, adapter, precision)
    #expect(pass.forward(batch) == base.forward(batch))
    // B's gradient is not zero, or nothing would be learned; A's is, until B moves.
    #expect(pass.forwardBackward(batch) == base.forwardBackward(batch))
    for entry in adapter.table.entries {
      let isZero = pass.gradientValues[entry.range].allSatisfy { $0 == 0 }
      #expect(isZero == entry.isLoRAA, "\(entry.key)")
    }
    for entry in adapter.table.entries where entry.isLoRAA {
      let values = entry.range.map { adapter.block.values[$0] }
      let bound = 1 / Float(entry.shape[1]).squareRoot()
      #expect(values.allSatisfy { abs($0) <= bound } && values.contains { abs($0) > 0.8 * bound })
    }
  }

  @Test("the adapter merged into its base gives the same logits")
  func merging() throws {
    let parameters = try Variant.untied.parameters()
    let adapter = try adapter(parameters.configuration)
    let batch = Batch(lengths: [40, 25], vocabulary: 53, seed: 10)
    let pass = try pass(parameters, adapter)
    let whole = try TrainingPass(
      merged(parameters, adapter), precision: .float32, maximumTokens: 80, team: WorkerTeam(count: 2), trains: false)
    let expected = whole.logits(batch)
    #expect(relativeError(pass.logits(batch), expected) < 1e-5)
    let copy = try TrainedModel.adapter(
      adapter, on: TrainedModel.whole(parameters).frozenCopy(type: .float32)
    ).frozenCopy(type: .float32)
    // The same sums in the same order.
    let mergedTable = whole.parameters.table
    for entry in copy.exactTable.entries {
      let expected = mergedTable.entry(entry.key)!.range.map { whole.parameters.values[$0] }
      #expect(entry.range.map { copy.exactValues[$0] } == expected)
    }
  }

  @Test(
    "a step repeats to the bit, the workers' number changes only the rounding, and masks depend on the place only",
    arguments: [ModelVariant.tied, .mixtureOfOne])
  func workers(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 6)
    func run(_ workers: Int, _ precision: ElementType, _ tokensBefore: Int) throws -> (LossSum, [Float]) {
      let adapter = try adapter(parameters.configuration, dropout: 0.2)
      let pass = try pass(parameters, adapter, precision, workers: workers)
      let sum = pass.forwardBackward(batch, tokensBefore: tokensBefore)
      return (sum, pass.gradientValues)
    }
    for precision in ElementType.allCases {
      let single = try run(1, precision, 500)
      for workers in 1...3 {
        let first = try run(workers, precision, 500)
        let second = try run(workers, precision, 500)
        #expect(first == second)
        #expect(relativeError(first.1, single.1) < (precision == .float32 ? 1e-5 : 1e-2))
      }
      let elsewhere = try run(1, precision, 501)
      #expect(elsewhere.0 != single.0 && relativeError(elsewhere.1, single.1) > 0.05)
    }
  }

  @Test("evaluation drops nothing, before a step and after it")
  func evaluation() throws {
    let parameters = try Variant.tied.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 6)
    let dropping = try pass(parameters, adapter(parameters.configuration, dropout: 0.5))
    let plain = try pass(parameters, adapter(parameters.configuration))
    let before = dropping.forward(batch)
    #expect(dropping.forwardBackward(batch).loss != before.loss)
    #expect(dropping.forward(batch) == before)
    #expect(plain.forward(batch) == before)
  }

  @Test("bfloat16 follows fp32: the loss to a thousandth, the gradient to a few percent")
  func bfloat16() throws {
    let parameters = try Variant.normalizedHeads.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 7)
    let exact = try pass(parameters, adapter(parameters.configuration))
    let rounded = try pass(parameters, adapter(parameters.configuration), .bfloat16)
    let exactSum = exact.forwardBackward(batch)
    let roundedSum = rounded.forwardBackward(batch)
    #expect(abs(exactSum.loss - roundedSum.loss) / exactSum.loss < 2e-3)
    #expect(relativeError(rounded.gradientValues, exact.gradientValues) < 0.05)
  }

  @Test("micro-batches add up")
  func accumulation() throws {
    let parameters = try Variant.tied.parameters()
    let batch = Batch(lengths: [30, 7, 1, 40], vocabulary: 53, seed: 5)
    let pass = try pass(parameters, adapter(parameters.configuration))
    let together = pass.forwardBackward(batch)
    let packed = pass.gradientValues
    pass.zeroGradients()
    var apart = LossSum()
    for document in 0..<4 { apart += pass.forwardBackward(batch.document(document)) }
    #expect(abs(together.loss - apart.loss) / apart.loss < 1e-6)
    #expect(relativeError(packed, pass.gradientValues) < 1e-5)
  }

  @Test("an adapter needs a fraction of the memory of the whole model's training")
  func memory() throws {
    let base = try ModelConfiguration.named("base")
    let lora = LoRAConfiguration(rank: 8, alpha: 16, dropout: 0.1)
    func bytes(_ lora: LoRAConfiguration?) -> Int {
      TrainingPass.memoryBytes(base, precision: .bfloat16, maximumTokens: 512, workers: 2, lora: lora)
        + (lora?.parameterCount(base) ?? base.parameterCount) * 12
    }
    #expect(lora.parameterCount(base) == 16 * 8 * (768 * 2 + 2 * (768 + 384) + 768 * 2 + 3 * (768 + 2048)))
    #expect(bytes(lora) < bytes(nil) / 3)
    let adapter = try LoRAAdapter(lora, model: base, base: Self.base, seed: 1)
    #expect(adapter.table.entries.reduce(0) { $0 + $1.count } == lora.parameterCount(base))
  }
}

extension TrainedModel {
  /// A copy of the model as it is now, an adapter merged into it.
  fileprivate func frozenCopy(type: ElementType) throws -> FrozenWeights {
    try FrozenWeights(configuration, table, type: type, read: copy)
  }
}

extension ParameterEntry {
  /// Whether it is an A of an adapter, rather than a B.
  fileprivate var isLoRAA: Bool { if case .loraA = role { true } else { false } }
}
