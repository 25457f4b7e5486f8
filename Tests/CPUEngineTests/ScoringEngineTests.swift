import CPUEngine
import Model
import ProgramEngine
import Programs
import TestSupport
import Testing

/// Models that score texts, as programs; on the processor `RewardRunTests` compares their gradients with differences.
@Suite("Scores by programs")
struct ScoringEngineTests {
  @Test(
    "the loss is minus the score, and its gradient that of the processor's engine",
    arguments: DistillationEngineTests.Kind.allCases.filter { $0 != .cpu }, [ModelVariant.tied, .normalizedHeads])
  func agrees(kind: DistillationEngineTests.Kind, variant: ModelVariant) throws {
    let source = try variant.parameters()
    let parameters = try Parameters(configuration: source.configuration.scoring, seed: 9)
    for entry in parameters.table.entries where source.table.entry(entry.key) != nil {
      _ = parameters[entry.key].update(fromContentsOf: source.copy(of: entry.key))
    }
    var batch = Batch()
    batch.removeAll(reserving: 128)
    for (number, length) in [5, 30, 1, 17].enumerated() {
      batch.append(scored: (0..<length).map { Int32(($0 * 7 + number) % 53) })
    }
    func run(_ provider: any TrainingEngineProvider) throws -> (losses: [Float], gradients: [[Float]], after: [Float]) {
      let engine = try provider.makeEngine(
        .whole(parameters), EngineSettings(precision: .float32, maximumTokens: 128, optimizer: .adamW))
      engine.zeroGradients()
      // As pairs are weighed: by the difference of two scores.
      let losses = engine.forwardBackward(
        batch,
        .afterForward { losses in
          let scores = losses.documentSums(batch).map { -$0.loss }
          return batch.lossWeights.enumerated().map { $1 * Float(1 + scores[0] - scores[1]) * ($0 < 35 ? 1 : -2) }
        }, mean: .documents, tokensBefore: 0)
      let gradients = engine.trained.entries.map { engine.read(.gradients, of: $0) }
      return (losses.values, gradients, engine.forward(batch, lossWeights: nil).values)
    }
    let (expected, found) = (try run(CPUEngineProvider(threads: 2)), try run(kind.provider))
    #expect(expected.losses.filter { $0 != 0 }.count == 4)
    #expect(relativeError(found.losses, expected.losses) < 1e-5)
    #expect(relativeError(found.after, expected.losses) < 1e-5)
    for (place, entry) in parameters.table.entries.enumerated() {
      let error = relativeError(found.gradients[place], expected.gradients[place])
      #expect(error < 1e-4, "\(entry.key): \(error)")
    }
  }
}
