import CPUEngine
import Compute
import Model
import TestSupport
import Testing

/// A language model with a tower, trained on batches with pictures.
@Suite("Training a model that sees")
struct SightTrainingTests {
  private static let configuration: ModelConfiguration = {
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 3, headCount: 4, keyValueHeadCount: 2, intermediateSize: 48, vocabularySize: 40)
    configuration.sight = SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: .siglip, hiddenSize: 16, intermediateSize: 24, layerCount: 3, headCount: 2, imageSize: 8, patchSize: 4,
        feature: .init(layer: 2, isNormalized: false, dropsClassToken: false)),
      projector: ProjectorConfiguration(kind: .mlp), placeholderIDs: [5])
    return configuration
  }()

  private static func engine(_ parameters: Parameters, _ learning: SightTraining, _ precision: ElementType = .float32)
    throws -> any TrainingEngine
  {
    try CPUEngineProvider(threads: 2).makeEngine(
      .whole(parameters),
      EngineSettings(precision: precision, maximumTokens: 64, optimizer: .adamW, learning: learning))
  }

  private static func pixels(_ seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<3 * 64).map { _ in Float.random(in: -1...1, using: &generator) }
  }

  /// Two documents with a picture each, and one without.
  private static func batch(_ values: [BatchPicture.Values]) -> Batch {
    var batch = Batch()
    let picture = [Int32](repeating: 5, count: 4)
    batch.append(document: [1, 20] + picture + [21, 22, 2])
    batch.append(document: [1, 7, 8, 9, 2])
    batch.append(document: [1] + picture + [23, 24, 25, 2])
    batch.see(BatchPicture(rows: 2..<6, values: values[0]))
    batch.see(BatchPicture(rows: 13..<17, values: values[1]))
    return batch
  }

  private static let pictures: [BatchPicture.Values] = [.pixels(pixels(1)), .pixels(pixels(2))]

  private static func step(_ engine: any TrainingEngine, _ batch: Batch, _ number: Int) -> Double {
    engine.zeroGradients()
    let sum = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
    engine.step(
      OptimizerStep(
        number: number, gradientScale: 1 / sum.weight,
        adamW: .init(learningRate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1),
        muon: .init(learningRate: 0.01, weightDecay: 0.1)))
    return sum.loss / sum.weight
  }

  @Test("what is to learn learns, and nothing else changes or has moments", arguments: SightTraining.allCases)
  func parts(learning: SightTraining) throws {
    let parameters = try Parameters(configuration: Self.configuration, seed: 1)
    let before = (0..<parameters.table.totalCount).map { parameters.values[$0] }
    let engine = try Self.engine(parameters, learning)
    let batch = Self.batch(Self.pictures)
    let losses = (1...20).map { Self.step(engine, batch, $0) }
    #expect(losses[19] < losses[0])
    for entry in parameters.table.entries {
      let isLearned = learning.trains(entry, layerCount: 3)
      let isSame = entry.range.allSatisfy { parameters.values[$0] == before[$0] }
      #expect(engine.keeps(.firstMoment, of: entry) == isLearned, "\(entry.key)")
      // Norms of a layer that is not used have no gradient and no decay.
      let isUnused = entry.key.contains("encoder.layers.2.") || entry.key.contains("post_layernorm")
      // A bias of keys is the same for all of them: softmax does not see it.
      if !isUnused && !entry.key.hasSuffix("k_proj.bias") { #expect(isSame != isLearned, "\(entry.key)") }
      if !isLearned { #expect(isSame, "\(entry.key)") }
    }
    let names = Set(parameters.table.learned(Self.configuration, learning).entries.map(\.key))
    switch learning {
    case .projector: #expect(names.allSatisfy { $0.hasPrefix("multi_modal_projector.") } && names.count == 4)
    case .projectorAndEnds:
      #expect(names.contains(ParameterKey.Layer(2).query) && !names.contains(ParameterKey.Layer(1).query))
      #expect(!names.contains(ParameterKey.embedding))
    case .allButTower: #expect(!names.contains { $0.hasPrefix("vision_tower.") })
    case .everything: #expect(names.count == parameters.table.entries.count)
    }
  }

  @Test("what learns has the gradient that it has when everything does, to the bit", arguments: ElementType.allCases)
  func gradients(precision: ElementType) throws {
    func gradients(_ learning: SightTraining) throws -> [String: [Float]] {
      let parameters = try Parameters(configuration: Self.configuration, seed: 1)
      let engine = try Self.engine(parameters, learning, precision)
      engine.zeroGradients()
      let batch = Self.batch(Self.pictures)
      _ = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
      return Dictionary(uniqueKeysWithValues: engine.trained.entries.map { ($0.key, engine.read(.gradients, of: $0)) })
    }
    let all = try gradients(.everything)
    for learning in [SightTraining.projector, .projectorAndEnds, .allButTower] {
      let some = try gradients(learning)
      for entry in try ParameterTable(Self.configuration).learned(Self.configuration, learning).entries {
        #expect(some[entry.key] == all[entry.key], "\(learning) \(entry.key)")
      }
    }
  }

  @Test("features of a tower that has been run give the bits of its pixels")
  func features() throws {
    let parameters = try Parameters(configuration: Self.configuration, seed: 1)
    let encoder = try CPUPictureEncoder(
      Self.configuration, precision: .float32, team: WorkerTeam(count: 2)
    ) { entry, target in
      target.update(from: parameters[entry.key].baseAddress!, count: entry.count)
    }
    let features = try encoder.features([Self.pixels(1), Self.pixels(2)])
    let engine = try Self.engine(parameters, .allButTower)
    let ofPixels = engine.forward(Self.batch(Self.pictures), lossWeights: nil)
    let ofFeatures = engine.forward(Self.batch(features.map { .features($0) }), lossWeights: nil)
    #expect(ofPixels == ofFeatures)
    let others = engine.forward(Self.batch(Self.pictures.reversed()), lossWeights: nil)
    #expect(ofPixels != others)
  }

  /// An adapter whose B is not zero any more, and the model with it merged.
  private static func adapted(_ parameters: Parameters) throws -> (adapter: LoRAAdapter, merged: Parameters) {
    let adapter = try LoRAAdapter(
      LoRAConfiguration(rank: 3, alpha: 5, dropout: 0), model: configuration,
      base: LoRABase(path: "/base", contentHash: "0123"), seed: 11)
    var generator = SeededGenerator(seed: 12)
    for entry in adapter.table.entries {
      guard case .loraB = entry.role else { continue }
      for index in entry.range { adapter.block.values[index] = Float.random(in: -0.3...0.3, using: &generator) }
    }
    let merged = try Parameters(zeroed: configuration)
    merged.values.update(from: parameters.values, count: parameters.table.totalCount)
    for entry in merged.table.entries { adapter.merge(into: entry.key, merged.values + entry.offset) }
    return (adapter, merged)
  }

  private static func adapterEngine(
    _ adapter: LoRAAdapter, on parameters: Parameters, _ precision: ElementType = .float32
  ) throws -> any TrainingEngine {
    try CPUEngineProvider(threads: 2).makeEngine(
      .adapter(adapter, baseTable: parameters.table) { entry, target in
        target.update(from: parameters.values + entry.offset, count: entry.count)
      },
      EngineSettings(precision: precision, maximumTokens: 64, optimizer: .adamW, learning: .allButTower))
  }

  @Test("an adapter's gradients are those of the merged model's weights, through W = W₀ + s·B·A")
  func adapterGradients() throws {
    let parameters = try Parameters(configuration: Self.configuration, seed: 1)
    let (adapter, merged) = try Self.adapted(parameters)
    let batch = Self.batch(Self.pictures)
    let engine = try Self.adapterEngine(adapter, on: parameters)
    let losses = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
    let whole = try Self.engine(merged, .allButTower)
    let expected = whole.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
    #expect(abs(losses.loss - expected.loss) < 1e-5 * expected.loss)
    let scale = adapter.configuration.scale
    var compared = 0
    for entry in whole.trained.entries {
      guard let a = adapter.table.entry(LoRAKey.a(entry.key)), let b = adapter.table.entry(LoRAKey.b(entry.key)) else {
        continue
      }
      let (outputs, rank, inputs) = (b.shape[0], a.shape[0], a.shape[1])
      let dWeight = whole.read(.gradients, of: entry)
      var (dA, dB) = ([Float](repeating: 0, count: a.count), [Float](repeating: 0, count: b.count))
      for output in 0..<outputs {
        for index in 0..<rank {
          for input in 0..<inputs {
            let slope = scale * dWeight[output * inputs + input]
            dA[index * inputs + input] += adapter.block.values[b.offset + output * rank + index] * slope
            dB[output * rank + index] += adapter.block.values[a.offset + index * inputs + input] * slope
          }
        }
      }
      #expect(relativeError(engine.read(.gradients, of: a), dA) < 1e-4, "\(a.key)")
      #expect(relativeError(engine.read(.gradients, of: b), dB) < 1e-4, "\(b.key)")
      compared += 1
    }
    #expect(compared == 3 * LoRATarget.allCases.count)
  }

  @Test("an adapter learns, and tower, projector and language model stay to the bit", arguments: ElementType.allCases)
  func adapterAlone(precision: ElementType) throws {
    let parameters = try Parameters(configuration: Self.configuration, seed: 1)
    let adapter = try LoRAAdapter(
      LoRAConfiguration(rank: 3, alpha: 5, dropout: 0), model: Self.configuration,
      base: LoRABase(path: "/base", contentHash: "0123"), seed: 11)
    let engine = try Self.adapterEngine(adapter, on: parameters, precision)
    let batch = Self.batch(Self.pictures)
    // It changes nothing yet: the losses are those of the model itself.
    let plain = try Self.engine(parameters, .allButTower, precision)
    #expect(engine.forward(batch, lossWeights: nil) == plain.forward(batch, lossWeights: nil))
    let before = engine.table.entries.map { engine.modelWeight($0) }
    let losses = (1...20).map { Self.step(engine, batch, $0) }
    #expect(losses[19] < losses[0])
    #expect(engine.trained.entries.allSatisfy { engine.keeps(.firstMoment, of: $0) })
    for (entry, values) in zip(engine.table.entries, before) {
      let isAdapted = adapter.table.entry(LoRAKey.a(entry.key)) != nil
      #expect((engine.modelWeight(entry) == values) != isAdapted, "\(entry.key)")
    }
    #expect(engine.forward(batch, lossWeights: nil) != plain.forward(batch, lossWeights: nil))
  }
}
