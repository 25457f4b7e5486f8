import Foundation
import Model
import Reference
import TestSupport
import Testing

/// The whole model on one page, against PyTorch's numbers and against itself.
@Suite("Reference model")
struct ReferenceModelTests {
  /// ‖found - expected‖ / ‖expected‖
  private func relativeError(_ found: some Sequence<Double>, _ expected: [Float]) -> Double {
    var (difference, size) = (0.0, 0.0)
    for (left, right) in zip(found, expected) {
      difference += (left - Double(right)) * (left - Double(right))
      size += Double(right) * Double(right)
    }
    return (difference / size).squareRoot()
  }

  /// PyTorch computed in fp32: sums of up to a few hundred terms, each rounded to 6e-8 of its size, through two layers.
  private static let float32Error = 1e-4

  @Test(
    "logits, losses, gradients and five Adam steps are those of MiniMind v1's PyTorch code",
    arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    var model = ReferenceModel(try fixture.makeParameters())
    let mask = try fixture.integers("loss_mask").map(Float.init)
    let batch = Batch(
      tokens: try fixture.integers("input_ids"), targets: try fixture.integers("target_ids"), lossWeights: mask,
      documentOffsets: [0, 40, 80, 120])
    let logits = model.forward(batch).logits
    #expect(relativeError(logits, try fixture.floats("logits")) < Self.float32Error)

    func setting(_ name: String) throws -> Double { try #require(fixture.settings[name]?.doubleValue) }
    let betas = fixture.numbers("betas")
    let trained = Double(mask.reduce(0, +))
    for step in 1...5 {
      model.gradients = model.gradients.map { _ in 0 }
      let loss = model.forwardBackward(batch).loss
      #expect(abs(loss / trained - fixture.numbers("losses")[step - 1]) < 1e-4)
      if step == 1 {
        for entry in model.table.entries {
          let error = relativeError(
            model.gradients[entry.range].map { $0 / trained }, try #require(fixture.gradients[entry.key]))
          #expect(error < Self.float32Error, "\(entry.key): relative error \(error)")
        }
      }
      let norm = model.gradients.reduce(0) { $0 + $1 * $1 }.squareRoot() / trained
      #expect(abs(norm / fixture.numbers("grad_norms")[step - 1] - 1) < Self.float32Error)
      model.adamWStep(
        learningRate: try setting("lr"), beta1: betas[0], beta2: betas[1], epsilon: try setting("eps"),
        gradientScale: min(1, try setting("grad_clip") / (norm + 1e-6)) / trained, step: step)
    }
    for entry in model.table.entries {
      let error = relativeError(model.weights[entry.range], try #require(fixture.parametersAfter[entry.key]))
      #expect(error < Self.float32Error, "\(entry.key): relative error \(error)")
    }
  }

  @Test("the most likely next tokens are those that v1 generates", arguments: GoldenFixture.Name.allCases)
  func goldenGreedy(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = parameters[key].update(fromContentsOf: values) }
    let model = ReferenceModel(parameters)
    var tokens = try fixture.integers("greedy_prompt").map(Int.init)
    let expected = try fixture.integers("greedy_tokens").map(Int.init)
    for _ in expected {
      let logits = model.forward(tokens: tokens, documentOffsets: [0, tokens.count]).logits
      let last = Array(logits.suffix(fixture.configuration.vocabularySize))
      tokens.append(last.indices.max { last[$0] < last[$1] }!)
    }
    #expect(tokens.suffix(expected.count) == expected[...])
  }

  @Test("every gradient is that of central differences of the loss", arguments: ModelVariant.allCases)
  func differences(variant: ModelVariant) throws {
    var model = ReferenceModel(try variant.parameters())
    var generator = SeededGenerator(seed: 3)
    func tokens() -> [Int32] { (0..<15).map { _ in Int32.random(in: 0..<53, using: &generator) } }
    let weights = (0..<15).map { _ in Float.random(in: 0..<1, using: &generator) < 0.2 ? 0 : Float(1.5) }
    var batch = Batch(tokens: tokens(), targets: tokens(), lossWeights: weights, documentOffsets: [0, 5, 6, 15])
    batch.embed(
      EmbeddedSpan(
        rows: 8..<10, values: (0..<2 * 24).map { _ in Float.random(in: -1...1, using: &generator) }))
    _ = model.forwardBackward(batch)

    // Along a random direction inside each weight, the loss must change as the gradient says.
    let original = model.weights
    for entry in model.table.entries {
      let direction = entry.range.map { _ in Double.random(in: -1...1, using: &generator) }
      func lossAt(_ step: Double) -> Double {
        for (index, move) in zip(entry.range, direction) { model.weights[index] = original[index] + step * move }
        defer { model.weights = original }
        let sums = model.loss(batch)
        return sums.loss + model.shape.balanceLossWeight * sums.balance
      }
      // The difference errs by step² times the third derivative, and by the rounding of a loss of about 50, 1e-14, over
      // the step.
      let step = 1e-5
      let slope = (lossAt(step) - lossAt(-step)) / (2 * step)
      let terms = zip(entry.range, direction).map { model.gradients[$0] * $1 }
      let scale = terms.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let predicted = terms.reduce(0, +)
      #expect(abs(slope - predicted) <= 1e-6 * max(scale, 1e-2), "\(entry.key): \(slope) against \(predicted)")
    }
  }
}
