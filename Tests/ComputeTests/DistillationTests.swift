import Compute
import Model
import Reference
import TestSupport
import Testing

/// Both ends of β, the middle, and a temperature of 1 and others.
private let distillations = [
  Distillation(textShare: 0.5, temperature: 1.5, mixture: 0), Distillation(textShare: 0, temperature: 1, mixture: 1),
  Distillation(textShare: 0.25, temperature: 0.7, mixture: 0.5),
  Distillation(textShare: 0, temperature: 3, mixture: 0.1),
  Distillation(textShare: 1, temperature: 2, mixture: 0),
]

@Suite("Distillation loss")
struct DistillationTests {
  private static let range: Float = 9

  @Test("the plain twin's gradient is that of its losses", arguments: distillations)
  func finiteDifferences(_ distillation: Distillation) {
    var generator = SeededGenerator(seed: 2)
    let (rows, vocabulary) = (2, 7)
    let logits = randomFloats(rows * vocabulary, in: -3...3, using: &generator).map(Double.init)
    let teacher = randomFloats(rows * vocabulary, in: -3...3, using: &generator).map(Double.init)
    let weights = [0.5, 2]
    func run(_ logits: [Double]) -> (losses: [Double], crossEntropies: [Double], dLogits: [Double]) {
      Reference.distillation(
        distillation, logits: logits, teacher: teacher, targets: [3, 0], lossWeights: weights, vocabulary: vocabulary)
    }
    func value(_ logits: [Double]) -> Double { zip(run(logits).losses, weights).reduce(0) { $0 + $1.0 * $1.1 } }
    let gradient = run(logits).dLogits
    for index in logits.indices {
      var (more, less) = (logits, logits)
      more[index] += 1e-4
      less[index] -= 1e-4
      #expect(abs((value(more) - value(less)) / 2e-4 - gradient[index]) < 1e-7)
    }
  }

  @Test("losses and gradients agree with the plain twin", arguments: [1, 3, 16, 17, 65, 1000], distillations)
  func agrees(vocabulary: Int, _ distillation: Distillation) {
    var generator = SeededGenerator(seed: UInt64(vocabulary))
    let rows = 3
    func matrix() -> GuardedMatrix {
      GuardedMatrix(
        randomFloats(rows * vocabulary, in: -Self.range...Self.range, using: &generator), rows: rows,
        columns: vocabulary)
    }
    let (logits, teacher) = (matrix(), matrix())
    let targets = (0..<rows).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &generator) }
    let weights: [Float] = [0.5, 0, 2]
    let expected = Reference.distillation(
      distillation, logits: logits.doubles, teacher: teacher.doubles, targets: targets.map(Int.init),
      lossWeights: weights.map(Double.init), vocabulary: vocabulary)
    // An exponent is up to twice the range over the temperature, and is a probability's relative error and a logarithm's
    // absolute one; a divergence is at most such a logarithm, and T² of it counts.
    let exponent = 2 * Double(Self.range) / min(1, distillation.temperature)
    let square = max(1, distillation.temperature * distillation.temperature)
    let error = (2 * exponent + Double(vocabulary) / 64 + 40) * floatRoundoff * (1 + exponent) * square
    expectDistillation(of: logits, expected, error: error, using: &generator) { losses, crossEntropies, dLogits in
      distillationLoss(
        distillation, logits: logits.view, teacher: teacher.view, targets: targets, lossWeights: weights,
        losses: losses, crossEntropies: crossEntropies, dLogits: dLogits)
    }
  }

  @Test("a teacher that says the same teaches nothing; probabilities of 0 on either side stay finite; NaN shows")
  func extremes() {
    func run(_ student: [Float], _ teacher: [Float], _ distillation: Distillation) -> (Float, [Float]) {
      let logits = GuardedMatrix(student, rows: 1, columns: student.count)
      let other = GuardedMatrix(teacher, rows: 1, columns: student.count)
      var (loss, crossEntropy): (Float, Float) = (0, 0)
      distillationLoss(
        distillation, logits: logits.view, teacher: other.view, targets: [0], lossWeights: [1], losses: &loss,
        crossEntropies: &crossEntropy, dLogits: logits.view)
      return (loss, logits.values)
    }
    let values = (0..<37).map { Float($0 % 5) }
    for mixture in [0, 0.3, 1] {
      let distillation = Distillation(textShare: 0, temperature: 1, mixture: mixture)
      let (same, still) = run(values, values, distillation)
      #expect(abs(same) < 1e-5 && still.allSatisfy { abs($0) < 1e-6 })
      var far = values
      far[3] = 400
      for (loss, gradient) in [run(values, far, distillation), run(far, values, distillation)] {
        #expect(loss.isFinite && loss > 0 && gradient.allSatisfy(\.isFinite))
      }
      var broken = values
      broken[20] = .nan
      #expect(run(broken, values, distillation).0.isNaN && run(values, broken, distillation).0.isNaN)
    }
  }
}

/// Checks losses and the gradient of each type against a plain twin's, and that nothing else is written to.
///
/// - Parameters:
///   - logits: [rows, vocabulary] of the student.
///   - error: of a loss; a gradient may have twice that.
///   - run: computes losses and cross-entropies, [rows] each, and the gradient, which may be asked for in the logits' place.
func expectDistillation(
  of logits: GuardedMatrix, _ expected: (losses: [Double], crossEntropies: [Double], dLogits: [Double]), error: Double,
  using generator: inout SeededGenerator,
  _ run: (
    _ losses: UnsafeMutablePointer<Float>, _ crossEntropies: UnsafeMutablePointer<Float>, _ dLogits: MatrixView
  ) -> Void
) {
  let (rows, vocabulary) = (logits.view.rows, logits.view.columns)
  let before = logits.values
  for type in ElementType.allCases {
    let losses = GuardedMatrix([Float](repeating: -7, count: 2 * rows), rows: 2, columns: rows)
    let dLogits = GuardedMatrix(
      randomFloats(rows * vocabulary, using: &generator), rows: rows, columns: vocabulary, type: type)
    run(losses.floats, losses.floats + rows, dLogits.view)
    expectClose(losses.values, expected.losses + expected.crossEntropies, error: error, "losses")
    expectClose(
      dLogits.values, expected.dLogits, storedAs: type, errors: expected.dLogits.map { _ in 2 * error }, "dLogits")
    #expect(losses.isIntactOutside && areIntactOutside(logits, dLogits) && logits.values == before)
    guard type == .float32 else { continue }
    let gradient = dLogits.values
    run(losses.floats, losses.floats + rows, logits.view)
    #expect(logits.values == gradient, "in place")
    logits.values = before
  }
}
