import Compute
import Model
import Reference
import TestSupport
import Testing

struct GELUTests {
  @Test("all three agree with the plain twins in both passes, in place as well", arguments: GELU.allCases, Layout.all)
  func agrees(kind: GELU, layout: Layout) {
    for type in ElementType.allCases {
      for width in oddSizes {
        var generator = SeededGenerator(seed: UInt64(width))
        func random(_ range: ClosedRange<Float>) -> GuardedMatrix {
          GuardedMatrix(
            randomFloats(3 * width, in: range, using: &generator), rows: 3, columns: width, type: type, layout: layout)
        }
        let (input, dOutput, output, dInput) = (random(-8...8), random(-2...2), random(-2...2), random(-2...2))
        let x = input.doubles
        geluForward(kind, input: input.view, output: output.view)
        // A sixtieth of a unit in the exponent's argument, at most 32 there, and a few operations.
        let relative = 64 * floatRoundoff
        let expected = Reference.geluForward(kind, input: x)
        expectClose(
          output.values, expected, storedAs: type, errors: expected.map { relative * abs($0) + 1e-12 },
          "\(kind) of \(type)")
        geluBackward(kind, input: input.view, dOutput: dOutput.view, dInput: dInput.view)
        expectClose(
          dInput.values, Reference.geluBackward(kind, input: x, dOutput: dOutput.doubles), storedAs: type,
          errors: x.map { 64 * floatRoundoff * (1 + abs($0)) }, "gradient of \(kind), \(type)")
        #expect(input.doubles == x && areIntactOutside(input, dOutput, output, dInput))

        let (values, gradients) = (output.values, dInput.values)
        geluBackward(kind, input: input.view, dOutput: dOutput.view, dInput: dOutput.view)
        geluForward(kind, input: input.view, output: input.view)
        #expect(input.values == values && dOutput.values == gradients, "in place")
      }
    }
  }
}
