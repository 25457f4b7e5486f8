import Compute
import Model
import Reference
import TestSupport
import Testing

struct CrossEntropyTests {
  private static let range: Float = 12

  /// Relative error of a probability: the rounding of z - m, at most twice the range, becomes one of the exponential;
  /// then the exponential itself, a chain of additions a sixty-fourth of the row long and the rest of the formula.
  private func error(_ vocabulary: Int) -> Double {
    (2 * Double(Self.range) + Double(vocabulary) / 64 + 24) * floatRoundoff
  }

  @Test("losses and gradients agree with the plain twin", arguments: oddSizes + [1000], Layout.all)
  func agrees(vocabulary: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(vocabulary))
    let rows = 4
    let logits = GuardedMatrix(
      randomFloats(rows * vocabulary, in: -Self.range...Self.range, using: &generator), rows: rows,
      columns: vocabulary, layout: layout)
    let targets = (0..<rows).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &generator) }
    let weights: [Float] = [1, 0.25, 0, 3]
    let before = logits.values
    let expected = Reference.softmaxCrossEntropy(
      logits: logits.doubles, targets: targets.map(Int.init), lossWeights: weights.map(Double.init), gradientScale: 1,
      vocabulary: vocabulary)
    let error = error(vocabulary)
    // |p - [j = target]| · weight with nothing cancelled.
    var sizes = expected.dLogits
    for row in 0..<rows {
      for column in 0..<vocabulary {
        let isTarget = column == Int(targets[row])
        sizes[row * vocabulary + column] =
          abs(sizes[row * vocabulary + column]) + (isTarget ? 2 * Double(weights[row]) : 0)
      }
    }

    func run(_ dLogits: MatrixView?) -> [Float] {
      let losses = GuardedMatrix([Float](repeating: -7, count: rows), rows: 1, columns: rows)
      softmaxCrossEntropy(
        logits: logits.view, targets: targets, lossWeights: weights, losses: losses.floats, dLogits: dLogits)
      #expect(losses.isIntactOutside)
      return losses.values
    }
    let losses = run(nil)
    expectClose(losses, expected.losses, errors: expected.losses.map { error * (1 + abs($0)) }, "losses")
    #expect(losses[2] == 0)
    for type in ElementType.allCases {
      let dLogits = GuardedMatrix(
        randomFloats(rows * vocabulary, using: &generator), rows: rows, columns: vocabulary, type: type,
        layout: layout)
      #expect(run(dLogits.view) == losses)
      expectClose(
        dLogits.values, expected.dLogits, storedAs: type, errors: sizes.map { error * $0 }, "\(type) dLogits")
      #expect(dLogits.values[2 * vocabulary..<3 * vocabulary].allSatisfy { $0 == 0 })
      #expect(logits.values == before)
      #expect(areIntactOutside(logits, dLogits))
      if type == .float32 {
        let gradient = dLogits.values
        #expect(run(logits.view) == losses)
        #expect(logits.values == gradient, "in place")
        #expect(logits.isIntactOutside)
        logits.values = before
      }
    }
  }

  @Test("adding a number to all logits changes nothing, however large", arguments: [-200, 200, 1e4] as [Float])
  func shift(by shift: Float) {
    // Quarters, so that the shifted logits are exact.
    let values = (0..<20).map { Float($0 % 7) / 4 }
    func run(_ values: [Float]) -> [[Float]] {
      let logits = GuardedMatrix(values, rows: 1, columns: 20)
      let losses = GuardedMatrix(zeros: 1, columns: 1)
      softmaxCrossEntropy(
        logits: logits.view, targets: [3], lossWeights: [1], losses: losses.floats, dLogits: logits.view)
      return [losses.values, logits.values]
    }
    let (plain, shifted) = (run(values), run(values.map { $0 + shift }))
    expectClose(shifted[0], plain[0].map(Double.init), error: 4 * floatRoundoff * Double(abs(shift)), "loss")
    #expect(shifted[1] == plain[1])
  }

  @Test("a gradient's row adds up to zero")
  func sumsToZero() {
    var generator = SeededGenerator(seed: 3)
    let logits = GuardedMatrix(randomFloats(6400, in: -9...9, using: &generator), rows: 1, columns: 6400)
    var loss: Float = 0
    softmaxCrossEntropy(logits: logits.view, targets: [17], lossWeights: [1], losses: &loss, dLogits: logits.view)
    #expect(abs(logits.doubles.reduce(0, +)) <= 2 * error(6400))
  }

  @Test("NaN and infinite logits make the loss NaN or infinite, except -∞ beside the target")
  func extremes() {
    func run(_ change: (inout [Float]) -> Void, weight: Float = 1) -> (loss: Float, gradient: [Float]) {
      var values = (0..<37).map { Float($0) / 10 }
      change(&values)
      let logits = GuardedMatrix(values, rows: 1, columns: 37)
      var loss: Float = -1
      softmaxCrossEntropy(
        logits: logits.view, targets: [5], lossWeights: [weight], losses: &loss, dLogits: logits.view)
      return (loss, logits.values)
    }
    for index in [0, 5, 15, 16, 36] {
      #expect(run { $0[index] = .nan }.loss.isNaN)
      #expect(run { $0[index] = .infinity }.loss.isNaN)
      let masked = run { $0[index] = -.infinity }
      #expect(masked.loss == .infinity || index != 5 && masked.loss.isFinite && masked.gradient[index] == 0)
      // Nobody reads a row without weight.
      let skipped = run({ $0[index] = .nan }, weight: 0)
      #expect(skipped.loss == 0 && skipped.gradient.allSatisfy { $0 == 0 })
    }
    #expect(run { $0 = [Float](repeating: -.infinity, count: 37) }.loss.isNaN)
    let certain = run { $0[5] = 200 }
    #expect(certain.loss == 0 && certain.gradient.allSatisfy { $0 == 0 })
  }
}
