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
}
