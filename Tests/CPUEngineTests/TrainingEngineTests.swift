import CPUEngine
import Foundation
import Model
import PJRT
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing

/// What every training engine must do alike, over all of them, each within its own tolerance.
@Suite("Training engines")
struct TrainingEngineTests {
  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case reference, cpu, recomputing, program, replicas, plugin, pluginReplicas

    /// The last one where `MINIMIND_PJRT_PLUGIN` names a plugin.
    static var allCases: [Kind] {
      [.reference, .cpu, .recomputing, .program, .replicas] + (SharedPlugin.runner == nil ? [] : [.plugin])
    }

    /// And two devices where the plugin has them, whose programs take long to compile.
    static var withPairs: [Kind] { allCases + (SharedPlugin.pair == nil ? [] : [.pluginReplicas]) }

    var testDescription: String { rawValue }

    var provider: any TrainingEngineProvider {
      switch self {
      case .reference: ReferenceTrainingProvider()
      case .cpu, .recomputing: CPUEngineProvider(threads: 2)
      // Small, so that losses come in several chunks and experts have several blocks.
      case .program: ProgramEngineProvider(Interpreter(), ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
      case .replicas:
        ProgramEngineProvider(
          Interpreter(replicas: 3),
          ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4, attention: .kernel))
      case .plugin:
        ProgramEngineProvider(SharedPlugin.runner!, ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
      case .pluginReplicas:
        ProgramEngineProvider(SharedPlugin.pair!, ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
      }
    }

    /// The relative error of a loss, a gradient or a weight after five steps against PyTorch's, which computed in fp32: sums of
    /// up to a few hundred terms, each rounded to 6e-8 of its size, through two layers.
    var tolerance: Double { 1e-4 }

    /// The same of logits and of the first gradients, which no step has made larger.
    var firstTolerance: Double {
      switch self {
      case .reference, .cpu, .recomputing, .program, .replicas: 1e-4
      case .plugin, .pluginReplicas: 2e-6
      }
    }

    func engine(_ model: TrainableModel, _ optimizer: OptimizerKind = .adamW) throws -> any TrainingEngine {
      try provider.makeEngine(
        model,
        EngineSettings(
          precision: .float32, maximumTokens: 128, recomputesActivations: self == .recomputing, optimizer: optimizer))
    }
  }

  private func step(_ number: Int, scale: Double, rate: Double = 0.01) -> OptimizerStep {
    OptimizerStep(
      number: number, gradientScale: scale,
      adamW: .init(learningRate: rate, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1),
      muon: .init(learningRate: rate, weightDecay: 0.1))
  }

  @Test(
    "logits, losses, gradients, norms and five Adam steps are PyTorch's", arguments: Kind.withPairs,
    GoldenFixture.Name.allCases)
  func golden(kind: Kind, name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let engine = try kind.engine(.whole(try fixture.makeParameters()))
    let mask = try fixture.integers("loss_mask").map(Float.init)
    let batch = Batch(
      tokens: try fixture.integers("input_ids"), targets: try fixture.integers("target_ids"), lossWeights: mask,
      documentOffsets: [0, 40, 80, 120])
    let logits = engine.logits(batch, rows: Array(0..<batch.tokenCount))
    #expect(relativeError(logits, try fixture.floats("logits")) < kind.firstTolerance)
    let expected = zip(try fixture.floats("token_loss"), mask).map { $0 * $1 }
    #expect(relativeError(engine.forward(batch, lossWeights: nil).values, expected) < 1e-5)

    func setting(_ name: String) throws -> Double { try #require(fixture.settings[name]?.doubleValue) }
    let betas = fixture.numbers("betas")
    for number in 1...5 {
      engine.zeroGradients()
      let losses = engine.forwardBackward(batch, .known(mask), mean: .tokens, tokensBefore: 0)
      let sum = losses.sum(batch)
      #expect(abs(sum.loss / sum.weight - fixture.numbers("losses")[number - 1]) < kind.tolerance)
      if number == 1 {
        for entry in engine.trained.entries {
          let gradient = engine.read(.gradients, of: entry).map { $0 / Float(sum.weight) }
          let error = relativeError(gradient, try #require(fixture.gradients[entry.key]))
          #expect(error < kind.firstTolerance, "\(entry.key): relative error \(error)")
        }
      }
      let norm = engine.gradientNorm() / sum.weight
      #expect(abs(norm / fixture.numbers("grad_norms")[number - 1] - 1) < kind.tolerance)
      engine.step(
        OptimizerStep(
          number: number, gradientScale: min(1, try setting("grad_clip") / (norm + 1e-6)) / sum.weight,
          adamW: .init(
            learningRate: try setting("lr"), beta1: betas[0], beta2: betas[1], epsilon: try setting("eps"),
            weightDecay: 0),
          muon: .init(learningRate: 0, weightDecay: 0)))
    }
    for entry in engine.trained.entries {
      let error = relativeError(
        engine.read(.weights, of: entry), try #require(fixture.parametersAfter[entry.key]))
      #expect(error < kind.tolerance, "\(entry.key): relative error \(error)")
    }
  }

  /// Those engines that round the operands of products to bfloat16, which is what a device is for.
  @Test(
    "in bfloat16, losses and gradients are PyTorch's within roundings",
    arguments: Kind.allCases.filter { $0 != .reference }, GoldenFixture.Name.allCases)
  func goldenBFloat16(kind: Kind, name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let engine = try kind.provider.makeEngine(
      .whole(try fixture.makeParameters()),
      EngineSettings(precision: .bfloat16, maximumTokens: 128, optimizer: .adamW))
    let mask = try fixture.integers("loss_mask").map(Float.init)
    let batch = Batch(
      tokens: try fixture.integers("input_ids"), targets: try fixture.integers("target_ids"), lossWeights: mask,
      documentOffsets: [0, 40, 80, 120])
    let sum = engine.forwardBackward(batch, .known(mask), mean: .tokens, tokensBefore: 0).sum(batch)
    // 2⁻⁹ for each operand, through some ten products; a token that takes another expert adds more.
    let isMixture = engine.configuration.isMixture
    #expect(abs(sum.loss / sum.weight - fixture.numbers("losses")[0]) < (isMixture ? 1e-2 : 1e-3))
    for entry in engine.trained.entries where fixture.gradients[entry.key] != nil {
      let gradient = engine.read(.gradients, of: entry).map { $0 / Float(sum.weight) }
      let error = relativeError(gradient, fixture.gradients[entry.key]!)
      #expect(error < (isMixture ? 0.2 : 0.05), "\(entry.key): \(error)")
    }
  }

  @Test(
    "gradients, losses and the use of experts are those of the model on one page", arguments: Kind.allCases,
    ModelVariant.allCases)
  func onePage(kind: Kind, variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    var batch = Batch(lengths: [5, 1, 17, 9], vocabulary: 53, seed: 3)
    batch.embed(EmbeddedSpan(rows: 8..<11, values: (0..<3 * 24).map { Float($0 % 11) / 11 - 0.5 }))
    var page = ReferenceModel(parameters)
    let expected = page.forwardBackward(batch)
    let engine = try kind.engine(.whole(parameters))
    let names = engine.sums.names
    for _ in 0..<2 { _ = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0) }
    engine.zeroGradients()
    let losses = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
    #expect(abs(losses.sum(batch).loss / expected.loss - 1) < 1e-5)
    for entry in engine.trained.entries {
      let error = relativeError(engine.read(.gradients, of: entry), page.gradients[entry.range].map(Float.init))
      #expect(error < kind.tolerance, "\(entry.key): relative error \(error)")
    }
    #expect(engine.sums.names == names && names.isEmpty != parameters.configuration.isMixture)
    let balance = parameters.configuration.balanceLossWeight * expected.balance
    #expect(abs(engine.sums.sum(ExpertSums.balance) - balance) <= 1e-5 * balance)
  }

  @Test(
    "the most likely next tokens are those that MiniMind v1's code generates", arguments: Kind.allCases,
    GoldenFixture.Name.allCases)
  func goldenGreedy(kind: Kind, name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = parameters[key].update(fromContentsOf: values) }
    let engine = try kind.engine(.whole(parameters))
    var tokens = try fixture.integers("greedy_prompt")
    let expected = try fixture.integers("greedy_tokens")
    for _ in expected {
      let last = engine.logits(Batch(prompts: [tokens]), rows: [tokens.count - 1])
      tokens.append(Int32(last.indices.max { last[$0] < last[$1] }!))
    }
    #expect(tokens.suffix(expected.count) == expected[...])
  }

  @Test(
    "documents packed into one batch give what they give one by one", arguments: Kind.allCases,
    [ModelVariant.tied, .mixture])
  func packing(kind: Kind, variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [30, 7, 1, 50], vocabulary: 53, seed: 5)
    let (together, apart) = (try kind.engine(.whole(parameters)), try kind.engine(.whole(parameters)))
    let expected = together.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
    var sum = LossSum()
    for number in 0..<4 {
      let document = batch.document(number)
      sum += apart.forwardBackward(document, .known(document.lossWeights), mean: .tokens, tokensBefore: 0).sum(document)
    }
    #expect(abs(sum.loss / expected.loss - 1) < 1e-6)
    #expect(sum.weight == expected.weight && sum.tokens == expected.tokens)
    for entry in together.trained.entries {
      let error = relativeError(apart.read(.gradients, of: entry), together.read(.gradients, of: entry))
      #expect(error < 1e-5, "\(entry.key): relative error \(error)")
    }
    for name in together.sums.names {
      #expect(abs(together.sums.sum(name) - apart.sums.sum(name)) <= 1e-5 * abs(together.sums.sum(name)), "\(name)")
    }
  }

  @Test("a batch without anything to train on has no loss and leaves the gradients alone", arguments: Kind.allCases)
  func nothingTrained(kind: Kind) throws {
    let batch = Batch(lengths: [9], vocabulary: 53, seed: 9, trainedShare: 0)
    let engine = try kind.engine(.whole(try ModelVariant.tied.parameters()))
    let losses = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
    #expect(losses.sum(batch) == LossSum(loss: 0, weight: 0, tokens: 9))
    #expect(engine.gradientNorm() == 0)
  }

  @Test("weights that follow from the losses count as the same weights known beforehand", arguments: Kind.allCases)
  func weightsAfterForward(kind: Kind) throws {
    let parameters = try ModelVariant.mixture.parameters()
    let batch = Batch(lengths: [7, 12], vocabulary: 53, seed: 4)
    let (first, second) = (try kind.engine(.whole(parameters)), try kind.engine(.whole(parameters)))
    // As DPO's: a factor for each document, a function of its losses.
    func weights(_ losses: TokenLosses) -> [Float] {
      let sums = losses.documentSums(batch)
      let factor = Float(1 / (1 + exp(0.1 * (sums[0].loss - sums[1].loss))))
      return batch.lossWeights.enumerated().map { $1 * ($0 < 7 ? factor : -factor) }
    }
    let losses = first.forwardBackward(batch, .afterForward(weights), mean: .documents, tokensBefore: 0)
    #expect(losses == second.forward(batch, lossWeights: nil))
    _ = second.forwardBackward(batch, .known(weights(losses)), mean: .documents, tokensBefore: 0)
    for entry in first.trained.entries {
      #expect(
        relativeError(first.read(.gradients, of: entry), second.read(.gradients, of: entry)) < 1e-5, "\(entry.key)")
    }
  }

  @Test("the gradients of an adapter are those of differences of the loss", arguments: Kind.allCases)
  func adapter(kind: Kind) throws {
    let parameters = try ModelVariant.normalizedHeads.parameters()
    let lora = try LoRAAdapter(
      LoRAConfiguration(rank: 3, alpha: 6, dropout: 0), model: parameters.configuration,
      base: LoRABase(path: "", contentHash: ""), seed: 5)
    var generator = SeededGenerator(seed: 6)
    for entry in lora.table.entries {
      for index in entry.range { lora.block.values[index] = Float.random(in: -0.2...0.2, using: &generator) }
    }
    let engine = try kind.engine(
      .adapter(lora, baseTable: parameters.table) { entry, target in
        target.update(from: parameters.values + entry.offset, count: entry.count)
      })
    let batch = Batch(lengths: [6, 11], vocabulary: 53, seed: 7)
    _ = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
    for entry in engine.trained.entries {
      let original = engine.read(.weights, of: entry)
      let gradient = engine.read(.gradients, of: entry)
      let direction = original.map { _ in Float.random(in: -1...1, using: &generator) }
      func loss(_ step: Float) -> Double {
        engine.write(.weights, of: entry, zip(original, direction).map { $0 + step * $1 })
        return engine.forward(batch, lossWeights: nil).sum(batch).loss
      }
      // A loss of some fp32 numbers around 4 is exact to 1e-6 or so; the third derivative adds about step².
      let slope = (loss(0.01) - loss(-0.01)) / 0.02
      engine.write(.weights, of: entry, original)
      let terms = zip(gradient, direction).map { Double($0 * $1) }
      let scale = terms.reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(abs(slope - terms.reduce(0, +)) < 0.02 * max(scale, 0.05), "\(entry.key)")
    }
  }

  @Test(
    "an adapter's dropout leaves out the same, whichever engine computes",
    arguments: Kind.allCases.filter { $0 != .reference },
    [ModelVariant.normalizedHeads, .mixture, .mixtureWithoutShared])
  func dropout(kind: Kind, variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let lora = try LoRAAdapter(
      LoRAConfiguration(rank: 3, alpha: 6, dropout: 0.4), model: parameters.configuration,
      base: LoRABase(path: "", contentHash: ""), seed: 5)
    var generator = SeededGenerator(seed: 6)
    for entry in lora.table.entries {
      for index in entry.range { lora.block.values[index] = Float.random(in: -0.2...0.2, using: &generator) }
    }
    let model = TrainableModel.adapter(lora, baseTable: parameters.table) { entry, target in
      target.update(from: parameters.values + entry.offset, count: entry.count)
    }
    let batch = Batch(lengths: [6, 11, 21], vocabulary: 53, seed: 7)
    func gradients(_ kind: Kind, tokensBefore: Int, after: Bool = false) throws -> (losses: [Float], values: [Float]) {
      let engine = try kind.engine(model)
      let weights = after ? TokenWeights.afterForward { _ in batch.lossWeights } : .known(batch.lossWeights)
      let losses = engine.forwardBackward(batch, weights, mean: .tokens, tokensBefore: tokensBefore)
      return (losses.values, engine.trained.entries.flatMap { engine.read(.gradients, of: $0) })
    }
    let expected = try gradients(.cpu, tokensBefore: 1_000_003)
    for after in [false, true] {
      let found = try gradients(kind, tokensBefore: 1_000_003, after: after)
      #expect(relativeError(found.losses, expected.losses) < 1e-5)
      #expect(relativeError(found.values, expected.values) < kind.tolerance)
    }
    #expect(relativeError(try gradients(kind, tokensBefore: 0).values, expected.values) > 0.01)
    // Not in an evaluation.
    let losses = try kind.engine(model).forward(batch, lossWeights: nil).values
    #expect(relativeError(losses, try Kind.cpu.engine(model).forward(batch, lossWeights: nil).values) < 1e-5)
    #expect(relativeError(losses, expected.losses) > 1e-3)
  }

  @Test(
    "where few tokens have a loss, losses and gradients are those of the model on one page",
    arguments: Kind.allCases, [0.1, 0.2, 0.45])
  func fewLosses(kind: Kind, share: Double) throws {
    let parameters = try ModelVariant.mixture.parameters()
    let batch = Batch(lengths: [5, 30, 17, 9], vocabulary: 53, seed: 12, trainedShare: share)
    var page = ReferenceModel(parameters)
    let expected = page.forwardBackward(batch)
    let engine = try kind.engine(.whole(parameters))
    let losses = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
    #expect(losses.sum(batch).weight > 0 && abs(losses.sum(batch).loss / expected.loss - 1) < 1e-5)
    #expect(zip(losses.values, batch.lossWeights).allSatisfy { ($0 == 0) == ($1 == 0) })
    #expect(relativeError(engine.forward(batch, lossWeights: nil).values, losses.values) < 1e-6)
    for entry in engine.trained.entries {
      let error = relativeError(engine.read(.gradients, of: entry), page.gradients[entry.range].map(Float.init))
      #expect(error < kind.tolerance, "\(entry.key): relative error \(error)")
    }
  }

  @Test(
    "an engine that is given another's weights and moments goes on with the same bits", arguments: Kind.allCases,
    OptimizerKind.allCases)
  func resume(kind: Kind, optimizer: OptimizerKind) throws {
    let parameters = try ModelVariant.mixture.parameters()
    let batch = Batch(lengths: [20, 9], vocabulary: 53, seed: 8)
    func train(_ engine: any TrainingEngine, _ steps: ClosedRange<Int>) {
      for number in steps {
        engine.zeroGradients()
        _ = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
        engine.step(step(number, scale: 1 / 20))
      }
    }
    let unbroken = try kind.engine(.whole(parameters), optimizer)
    train(unbroken, 1...2)
    let resumed = try kind.engine(.whole(try ModelVariant.mixture.parameters()), optimizer)
    for entry in unbroken.trained.entries {
      for values in [EngineValues.weights, .firstMoment, .secondMoment] where unbroken.keeps(values, of: entry) {
        resumed.write(values, of: entry, unbroken.read(values, of: entry))
      }
    }
    train(unbroken, 3...4)
    train(resumed, 3...4)
    for entry in unbroken.trained.entries {
      #expect(unbroken.read(.weights, of: entry) == resumed.read(.weights, of: entry), "\(entry.key)")
      #expect(unbroken.modelWeight(entry) == resumed.modelWeight(entry))
      #expect(unbroken.keeps(.secondMoment, of: entry) == !entry.isMovedByMuon(optimizer))
    }
  }
}
