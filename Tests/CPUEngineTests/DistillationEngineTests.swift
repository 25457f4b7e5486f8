import CPUEngine
import Model
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing

@Suite("Training by a teacher's logits")
struct DistillationEngineTests {
  private func model(_ layers: Int, seed: UInt64, experts: Bool = false) throws -> Parameters {
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: layers, headCount: 4, keyValueHeadCount: 2, intermediateSize: 48, vocabularySize: 97)
    if experts {
      (configuration.expertCount, configuration.expertsPerToken, configuration.sharedExpertCount) = (4, 2, 1)
    }
    let parameters = try Parameters(configuration: configuration, seed: seed)
    for entry in parameters.table.entries where entry.role.isDecayed {
      for index in entry.range { parameters.values[index] *= 5 }
    }
    return parameters
  }

  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case cpu, program, replicas, plugin

    /// The last one where `MINIMIND_PJRT_PLUGIN` names a plugin.
    static var allCases: [Kind] { [.cpu, .program, .replicas] + (SharedPlugin.runner == nil ? [] : [.plugin]) }

    var testDescription: String { rawValue }
    var provider: any TrainingEngineProvider {
      switch self {
      case .cpu: CPUEngineProvider(threads: 2)
      case .program: ProgramEngineProvider(Interpreter(), ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
      case .replicas:
        ProgramEngineProvider(
          Interpreter(replicas: 3),
          ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4, attention: .kernel))
      case .plugin:
        ProgramEngineProvider(SharedPlugin.runner!, ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
      }
    }
  }

  @Test(
    "losses, cross-entropies and gradients are those of the plain engine, dense and with experts",
    arguments: Kind.allCases, [(false, 0.0), (false, 0.5), (false, 1), (true, 0.5)])
  func agrees(kind: Kind, _ test: (experts: Bool, mixture: Double)) throws {
    let (experts, mixture) = test
    let batch = Batch(lengths: [20, 3, 40, 1, 31], vocabulary: 97, seed: 8)
    let weights = batch.lossWeights.enumerated().map { $1 * Float(1 + $0 % 3) }
    let distillation = Distillation(textShare: 0.3, temperature: 1.7, mixture: mixture)
    func run(_ provider: any TrainingEngineProvider) throws -> (TokenLosses, TokenLosses, [Float], MetricSums) {
      var settings = EngineSettings(precision: .float32, maximumTokens: 128, optimizer: .adamW)
      let engine = try provider.makeEngine(.whole(model(2, seed: 3, experts: experts)), settings)
      settings.optimizer = nil
      let teacher = try provider.makeEngine(.whole(model(3, seed: 4)), settings)
      guard let engine = engine as? any DistillingEngine else { throw TestFailure() }
      engine.zeroGradients()
      let (losses, crossEntropies) = engine.forwardBackward(
        batch, lossWeights: weights, distillation, teacher: teacher, tokensBefore: 0)
      // The teacher has no share in what a batch without it gives.
      let alone = engine.forward(batch, lossWeights: weights)
      #expect(
        zip(alone.values, crossEntropies.values).allSatisfy { abs($0 - $1) <= (kind == .cpu ? 0 : 1e-5) }
          || provider is ReferenceTrainingProvider)
      return (losses, crossEntropies, engine.trained.entries.flatMap { engine.read(.gradients, of: $0) }, engine.sums)
    }
    let expected = try run(ReferenceTrainingProvider())
    let found = try run(kind.provider)
    for (one, other) in zip(found.0.values + found.1.values, expected.0.values + expected.1.values) {
      #expect(abs(one - other) < 2e-5 * max(1, abs(other)))
    }
    let norm = expected.2.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    let error = zip(found.2, expected.2).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }.squareRoot()
    #expect(error < 1e-4 * norm && norm > 0.1)
    for (one, other) in zip(found.3.numbers, expected.3.numbers) {
      #expect(abs(one - other) < 1e-4 * max(1, abs(other)))
    }
  }

  @Test(
    "by a teacher's likeliest tokens, computed or stored, losses and gradients are those of the plain engine",
    arguments: [0.0, 0.5, 1], [1, 7, 96])
  func likeliest(mixture: Double, top: Int) throws {
    var batch = Batch(lengths: [20, 3, 40, 1, 31], vocabulary: 97, seed: 8, trainedShare: 0.7)
    let distillation = Distillation(textShare: 0.3, temperature: 1.7, mixture: mixture, top: top)
    var settings = EngineSettings(precision: .float32, maximumTokens: 128, optimizer: .adamW)
    func run(
      _ provider: any TrainingEngineProvider, isStored: Bool
    ) throws -> (losses: [Float], gradients: [Float]) {
      settings.optimizer = .adamW
      let engine = try #require(try provider.makeEngine(.whole(model(2, seed: 3)), settings) as? any DistillingEngine)
      settings.optimizer = nil
      let teacher = try provider.makeEngine(.whole(model(3, seed: 4)), settings)
      batch.teacherRows = nil
      if isStored, let teacher = teacher as? any TeachingEngine {
        batch.teacherRows = teacher.largestProbabilities(batch, count: top, temperature: 1.7)
      }
      engine.zeroGradients()
      let found = engine.forwardBackward(
        batch, lossWeights: batch.lossWeights, distillation, teacher: isStored ? nil : teacher, tokensBefore: 0)
      return (
        found.losses.values + found.crossEntropies.values,
        engine.trained.entries.flatMap { engine.read(.gradients, of: $0) }
      )
    }
    let expected = try run(ReferenceTrainingProvider(), isStored: false)
    for isStored in [false, true] {
      let found = try run(CPUEngineProvider(threads: 2), isStored: isStored)
      for (one, other) in zip(found.losses, expected.losses) { #expect(abs(one - other) < 2e-5 * max(1, abs(other))) }
      #expect(relativeError(found.gradients, expected.gradients) < 1e-4)
    }
  }

  private struct TestFailure: Error {}
}
