import Compute
import Model
import Reference
import TestSupport
import Testing

struct LayerNormTests {
  /// Roundings on the way to one number: chains of additions a sixty-fourth of the row long, twice, and the formula's.
  private func error(_ width: Int) -> Double { (Double(width) / 16 + 32) * floatRoundoff }

  @Test(
    "both passes agree with the plain twin, and the backward one adds to what is there", arguments: oddSizes, Layout.all
  )
  func agrees(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    func random(_ rows: Int, _ range: ClosedRange<Float> = -2...2) -> GuardedMatrix {
      GuardedMatrix(
        randomFloats(rows * width, in: range, using: &generator), rows: rows, columns: width, layout: layout)
    }
    // Of one column the variance is zero, and the epsilon alone decides.
    let epsilon: Float = 0.01
    let (input, weight, bias, dOutput) = (random(3, -1...3), random(1), random(1), random(3))
    let statistics = GuardedMatrix(zeros: 3, columns: 2)
    let expected = Reference.layerNormForward(
      input: input.doubles, weight: weight.doubles, bias: bias.doubles, epsilon: Double(epsilon))
    for type in ElementType.allCases {
      let output = GuardedMatrix(zeros: 3, columns: width, type: type, layout: layout)
      layerNormForward(
        input: input.view, weight: weight.floats, bias: bias.floats, epsilon: epsilon, output: output.view,
        statistics: statistics.floats)
      // x - μ loses what both are large by, times r and w.
      let errors = expected.output.indices.map { index in
        error(width) * (5 * expected.reciprocals[index / width] * 2 + abs(expected.output[index]) + 2)
      }
      expectClose(output.values, expected.output, storedAs: type, errors: errors, "\(type) output")
      #expect(areIntactOutside(input, weight, bias, output, statistics))
    }
    for row in 0..<3 {
      #expect(abs(Double(statistics.values[2 * row]) - expected.means[row]) < 10 * error(width))
      #expect(abs(Double(statistics.values[2 * row + 1]) / expected.reciprocals[row] - 1) < 100 * error(width))
    }

    for accumulates in [false, true] {
      let (dInput, dWeight, dBias) = (random(3), random(1), random(1))
      let before = (dInput.doubles, dWeight.doubles, dBias.doubles)
      layerNormBackward(
        dOutput: dOutput.view, input: input.view, weight: weight.floats, statistics: statistics.floats,
        dInput: dInput.view, accumulates: accumulates, dWeight: dWeight.floats, dBias: dBias.floats)
      let twin = Reference.layerNormBackward(
        dOutput: dOutput.doubles, input: input.doubles, weight: weight.doubles, means: expected.means,
        reciprocals: expected.reciprocals)
      func sum(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map(+) }
      // Each of the three terms is at most r·4·(1 + x̂²), and x̂ loses what x - μ does.
      let scale = expected.reciprocals.max()!
      let size = 100 * error(width) * scale * (1 + scale)
      expectClose(dInput.values, accumulates ? sum(before.0, twin.dInput) : twin.dInput, error: size, "dInput")
      expectClose(dWeight.values, sum(before.1, twin.dWeight), error: size, "dWeight")
      expectClose(dBias.values, sum(before.2, twin.dBias), error: 100 * floatRoundoff, "dBias")
      #expect(areIntactOutside(dInput, dWeight, dBias, dOutput, input))
    }
  }
}
