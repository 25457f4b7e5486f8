import CPUEngine
import Model
import Reference
import TestSupport
import Testing

/// What is differentiated after the losses are known, as answers of the model's own are, whose derivatives may be negative or 0.
@Suite("Weights that follow from losses")
struct DerivativeWeightTests {
  @Test(
    "documents count in the balance of experts by the batch's weights, not by derivatives",
    arguments: DistillationEngineTests.Kind.allCases, [LossMean.tokens, .documents])
  func balance(kind: DistillationEngineTests.Kind, mean: LossMean) throws {
    let parameters = try ModelVariant.mixture.parameters()
    let batch = Batch(lengths: [5, 30, 17, 9], vocabulary: 53, seed: 12, trainedShare: 0.6)
    func run(_ provider: any TrainingEngineProvider) throws -> any TrainingEngine {
      let engine = try provider.makeEngine(
        .whole(try ModelVariant.mixture.parameters()),
        EngineSettings(precision: .float32, maximumTokens: 128, optimizer: .adamW))
      engine.zeroGradients()
      let losses = engine.forwardBackward(
        batch,
        .afterForward { losses in
          // Of the first document nothing, of the second what makes it less likely.
          losses.values.indices.map { row in
            batch.rows(ofDocument: 0).contains(row)
              ? 0 : batch.lossWeights[row] * (batch.rows(ofDocument: 1).contains(row) ? -0.7 : 1.3)
          }
        }, mean: mean, tokensBefore: 0)
      #expect(losses.sum(batch).weight > 0)
      return engine
    }
    let (page, found) = (try run(ReferenceTrainingProvider()), try run(kind.provider))
    for entry in parameters.table.entries {
      let error = relativeError(found.read(.gradients, of: entry), page.read(.gradients, of: entry))
      #expect(error < 1e-4, "\(entry.key): relative error \(error)")
    }
    #expect(page.sums.names.contains(ExpertSums.balance))
    for name in page.sums.names {
      #expect(abs(found.sums.sum(name) - page.sums.sum(name)) <= 1e-5 * abs(page.sums.sum(name)), "\(name)")
      #expect(abs(found.sums.weight(name) - page.sums.weight(name)) <= 1e-6 * abs(page.sums.weight(name)), "\(name)")
    }
  }
}
