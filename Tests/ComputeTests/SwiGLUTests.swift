import Compute
import Model
import Reference
import TestSupport
import Testing
import VectorMath

struct SwiGLUTests {
  /// Four roundings' worth of error in the exponential, then the operations of the formula.
  private static let error = 16 * floatRoundoff

  private struct Case {
    let gateUp, dOutput, output, dGateUp: GuardedMatrix

    init(_ hidden: Int, _ type: ElementType, _ layout: Layout) {
      var generator = SeededGenerator(seed: UInt64(hidden))
      gateUp = GuardedMatrix(
        randomFloats(3 * 2 * hidden, in: -8...8, using: &generator), rows: 3, columns: 2 * hidden, type: type,
        layout: layout)
      dOutput = GuardedMatrix(
        randomFloats(3 * hidden, using: &generator), rows: 3, columns: hidden, type: type, layout: layout)
      output = GuardedMatrix(
        randomFloats(3 * hidden, using: &generator), rows: 3, columns: hidden, type: type, layout: layout)
      dGateUp = GuardedMatrix(
        randomFloats(3 * 2 * hidden, using: &generator), rows: 3, columns: 2 * hidden, type: type, layout: layout)
    }

    var isIntactOutside: Bool { [gateUp, dOutput, output, dGateUp].allSatisfy(\.isIntactOutside) }
  }

  @Test("both passes agree with the plain twin, in place as well", arguments: oddSizes, Layout.all)
  func agrees(hidden: Int, layout: Layout) {
    for type in ElementType.allCases {
      let data = Case(hidden, type, layout)
      let (gateUp, dOutput) = (data.gateUp.doubles, data.dOutput.doubles)
      let expected = Reference.swiGLUForward(gateUp: gateUp, hidden: hidden)
      swiGLUForward(gateUp: data.gateUp.view, output: data.output.view)
      let forward = data.output.values
      expectClose(forward, expected, storedAs: type, errors: expected.map { Self.error * abs($0) }, "\(type) output")

      data.output.values = [Float](repeating: -7, count: 3 * hidden)
      swiGLUBackward(
        gateUp: data.gateUp.view, dOutput: data.dOutput.view, dGateUp: data.dGateUp.view, output: data.output.view)
      #expect(data.output.values == forward, "the output computed again")
      #expect(data.gateUp.doubles == gateUp && data.dOutput.doubles == dOutput)
      #expect(data.isIntactOutside)
      // The terms of ȳ·u·(σ + g·σ·(1 - σ)) and ȳ·g·σ by their magnitudes.
      var errors = gateUp
      for row in 0..<3 {
        for column in 0..<hidden {
          let index = row * 2 * hidden + column
          let (gate, gradient) = (gateUp[index], abs(dOutput[row * hidden + column]))
          let share = Reference.sigmoid(gate)
          errors[index] = Self.error * gradient * abs(gateUp[index + hidden]) * share * (1 + abs(gate))
          errors[index + hidden] = Self.error * gradient * abs(gate) * share
        }
      }
      let dExpected = Reference.swiGLUBackward(gateUp: gateUp, dOutput: dOutput, hidden: hidden)
      expectClose(data.dGateUp.values, dExpected, storedAs: type, errors: errors, "\(type) dGateUp")

      let dGateUp = data.dGateUp.values
      swiGLUBackward(
        gateUp: data.gateUp.view, dOutput: data.dOutput.view, dGateUp: data.gateUp.view, output: data.dOutput.view)
      #expect(data.gateUp.values == dGateUp && data.dOutput.values == forward, "in place")
      #expect(data.isIntactOutside)
    }
  }

  @Test("weights of rows multiply the output, and have gradients", arguments: oddSizes, ElementType.allCases)
  func rowWeights(hidden: Int, type: ElementType) {
    let data = Case(hidden, type, Layout.all[0])
    let weights: [Float] = [0.25, 0, 1.5]
    let (gateUp, dOutput) = (data.gateUp.doubles, data.dOutput.doubles)
    let plain = Reference.swiGLUForward(gateUp: gateUp, hidden: hidden)
    let weighted = plain.indices.map { plain[$0] * Double(weights[$0 / hidden]) }
    swiGLUForward(gateUp: data.gateUp.view, output: data.output.view, rowWeights: weights)
    let errors = weighted.map { Self.error * abs($0) }
    expectClose(data.output.values, weighted, storedAs: type, errors: errors, "output")

    var gradients = [Float](repeating: -7, count: 3)
    data.output.values = [Float](repeating: -7, count: 3 * hidden)
    weights.withUnsafeBufferPointer { weights in
      gradients.withUnsafeMutableBufferPointer { gradients in
        swiGLUBackward(
          gateUp: data.gateUp.view, dOutput: data.dOutput.view, dGateUp: data.dGateUp.view, output: data.output.view,
          rowWeights: (weights.baseAddress!, gradients.baseAddress!))
      }
    }
    expectClose(data.output.values, weighted, storedAs: type, errors: errors, "the output computed again")
    let scaled = dOutput.indices.map { dOutput[$0] * Double(weights[$0 / hidden]) }
    let dExpected = Reference.swiGLUBackward(gateUp: gateUp, dOutput: scaled, hidden: hidden)
    // Every factor is below 20; the weights are exact.
    expectClose(data.dGateUp.values, dExpected, storedAs: type, error: 1000 * floatRoundoff, "dGateUp")
    for row in 0..<3 {
      let places = row * hidden..<(row + 1) * hidden
      let terms = places.map { plain[$0] * dOutput[$0] }
      let size = terms.reduce(0) { $0 + abs($1) }
      let difference = abs(Double(gradients[row]) - terms.reduce(0, +))
      #expect(difference <= size * (Self.error + Double(hidden) * floatRoundoff))
    }
    #expect(data.isIntactOutside)
  }

  @Test("gates far from zero shut or open fully; NaN goes through")
  func extremes() {
    let gates: [Float] = [-1e30, -100, 0, 100, 1e30, .nan]
    let gateUp = GuardedMatrix(gates + [1, 1, 1, 1, 1, 1], rows: 1, columns: 12)
    let output = GuardedMatrix(zeros: 1, columns: 6)
    let dGateUp = GuardedMatrix(zeros: 1, columns: 12)
    let dOutput = GuardedMatrix([1, 1, 1, 1, 1, 1], rows: 1, columns: 6)
    swiGLUBackward(gateUp: gateUp.view, dOutput: dOutput.view, dGateUp: dGateUp.view, output: output.view)
    #expect(output.values.dropLast() == [0, 0, 0, 100, 1e30])
    #expect(dGateUp.values[..<5] == [0, 0, 0.5, 1, 1])
    #expect(dGateUp.values[6..<11] == [0, 0, 0, 100, 1e30])
    #expect(output.values[5].isNaN && dGateUp.values[5].isNaN && dGateUp.values[11].isNaN)
  }
}
