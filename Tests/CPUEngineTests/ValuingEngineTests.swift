import CPUEngine
import Foundation
import Model
import Reference
import TestSupport
import Testing

/// Values beside logits, by all engines that compute them.
@Suite("Engines with values")
struct ValuingEngineTests {
  private func head(_ width: Int) -> [Float] {
    var generator = SeededGenerator(seed: 21)
    return (0..<width).map { _ in Float.random(in: -0.5...0.5, using: &generator) }
  }

  /// As PPO's: functions of what the forward pass finds.
  private func weights(_ tokens: ValuedTokens, _ batch: Batch) -> ValuedWeights {
    ValuedWeights(
      losses: zip(tokens.losses.values, batch.lossWeights).map { $1 * tanh($0 - 3) },
      values: zip(tokens.values, batch.lossWeights).map { $1 * ($0 - 0.3) })
  }

  private func engine(
    _ provider: any TrainingEngineProvider, _ model: TrainableModel, recomputes: Bool = false
  ) throws -> any ValuingEngine {
    let settings = EngineSettings(
      precision: .float32, maximumTokens: 128, recomputesActivations: recomputes, optimizer: .adamW)
    return try #require(try provider.makeEngine(model, settings) as? any ValuingEngine)
  }

  private func adapter(_ parameters: Parameters) throws -> TrainableModel {
    let lora = try LoRAAdapter(
      LoRAConfiguration(rank: 3, alpha: 6, dropout: 0), model: parameters.configuration,
      base: LoRABase(path: "", contentHash: ""), seed: 5)
    var generator = SeededGenerator(seed: 6)
    for entry in lora.table.entries {
      for index in entry.range { lora.block.values[index] = Float.random(in: -0.2...0.2, using: &generator) }
    }
    return .adapter(lora, baseTable: parameters.table) { entry, target in
      target.update(from: parameters.values + entry.offset, count: entry.count)
    }
  }

  @Test(
    "values, losses and all gradients are those of the model on one page, with few losses and many",
    arguments: DistillationEngineTests.Kind.allCases, [ModelVariant.tied, .mixture])
  func agree(kind: DistillationEngineTests.Kind, variant: ModelVariant) throws {
    for share in [0.3, 1] { try agree(kind: kind, variant: variant, share: share) }
  }

  private func agree(kind: DistillationEngineTests.Kind, variant: ModelVariant, share: Double) throws {
    for isAdapter in [false, true] {
      let parameters = try variant.parameters()
      let batch = Batch(lengths: [5, 30, 17, 9], vocabulary: 53, seed: 12, trainedShare: share)
      let head = head(parameters.configuration.hiddenSize)
      let page = try engine(
        ReferenceTrainingProvider(), isAdapter ? adapter(parameters) : .whole(try variant.parameters()))
      let expected = page.forward(batch, valueHead: head)
      let dHead = page.forwardBackward(batch, valueHead: head, mean: .tokens, tokensBefore: 0) { weights($0, batch) }
      for recomputes in [false, true] {
        let tried = try engine(
          kind.provider, isAdapter ? adapter(parameters) : .whole(parameters), recomputes: recomputes)
        let found = tried.forward(batch, valueHead: head)
        #expect(relativeError(found.values, expected.values) < 1e-5)
        #expect(relativeError(found.losses.values, expected.losses.values) < 1e-5)
        #expect(zip(found.values, batch.lossWeights).allSatisfy { ($0 == 0) == ($1 == 0) })
        var given: ValuedTokens?
        let gradient = tried.forwardBackward(batch, valueHead: head, mean: .tokens, tokensBefore: 0) {
          given = $0
          return weights($0, batch)
        }
        // Programs with gradients and without sum in other orders.
        if kind == .cpu { #expect(given == found) }
        #expect(relativeError(gradient, dHead) < 1e-4)
        for entry in tried.trained.entries {
          let error = relativeError(tried.read(.gradients, of: entry), page.read(.gradients, of: entry))
          #expect(error < 1e-4, "\(entry.key): relative error \(error)")
        }
        for name in tried.sums.names {
          #expect(abs(tried.sums.sum(name) - page.sums.sum(name)) <= 1e-5 * abs(page.sums.sum(name)), "\(name)")
        }
      }
    }
  }

  @Test("the gradients of the page are those of differences of the loss, of head and model")
  func differences() throws {
    let parameters = try ModelVariant.tied.parameters()
    let batch = Batch(lengths: [6, 11], vocabulary: 53, seed: 7)
    let head = head(parameters.configuration.hiddenSize)
    let page = try engine(ReferenceTrainingProvider(), .whole(parameters))
    // Σ w·loss + Σ u·value, with weights that are fixed.
    let fixed = weights(page.forward(batch, valueHead: head), batch)
    func value(_ head: [Float]) -> Double {
      let found = page.forward(batch, valueHead: head)
      return zip(found.losses.values, fixed.losses).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        + zip(found.values, fixed.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let dHead = page.forwardBackward(batch, valueHead: head, mean: .tokens, tokensBefore: 0) { _ in fixed }
    func expectSlope(_ gradient: [Float], _ name: String, _ value: ([Float]) -> Double) {
      let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      let direction = gradient.map { $0 / Float(norm) }
      let slope = (value(direction.map { $0 * 0.01 }) - value(direction.map { $0 * -0.01 })) / 0.02
      // Losses are rounded to fp32, and the third derivative adds about step².
      #expect(abs(slope - norm) < 0.01 * norm, "\(name): \(slope) against \(norm)")
    }
    expectSlope(dHead, "head") { step in value(zip(head, step).map { $0 + $1 }) }
    for entry in page.trained.entries where entry.role.isDecayed {
      let original = page.read(.weights, of: entry)
      expectSlope(page.read(.gradients, of: entry), entry.key) { step in
        page.write(.weights, of: entry, zip(original, step).map { $0 + $1 })
        defer { page.write(.weights, of: entry, original) }
        return value(head)
      }
    }
  }

  @Test("in bfloat16 values and gradients are those of fp32 within roundings")
  func halfPrecision() throws {
    let batch = Batch(lengths: [20, 9], vocabulary: 53, seed: 8)
    func found(_ precision: ElementType) throws -> (values: [Float], head: [Float], gradients: [Float]) {
      let parameters = try ModelVariant.tied.parameters()
      let head = head(parameters.configuration.hiddenSize)
      let engine = try #require(
        try CPUEngineProvider(threads: 2).makeEngine(
          .whole(parameters), EngineSettings(precision: precision, maximumTokens: 128, optimizer: .adamW))
          as? any ValuingEngine)
      let values = engine.forward(batch, valueHead: head).values
      let dHead = engine.forwardBackward(batch, valueHead: head, mean: .tokens, tokensBefore: 0) { weights($0, batch) }
      return (values, dHead, engine.trained.entries.flatMap { engine.read(.gradients, of: $0) })
    }
    let (exact, rounded) = (try found(.float32), try found(.bfloat16))
    #expect(relativeError(rounded.values, exact.values) < 0.03)
    #expect(relativeError(rounded.head, exact.head) < 0.05)
    #expect(relativeError(rounded.gradients, exact.gradients) < 0.05)
  }
}
