import Compute
import Model
import Reference
import TestSupport
import Testing

struct RMSNormTests {
  /// Roundings in Float on the way to one number: a chain of additions a sixty-fourth of the row long, then the fold of
  /// 64 sums and the few operations of the formula.
  private func roundings(_ width: Int) -> Double { Double(width) / 64 + 16 }

  @Test("the forward pass agrees with the plain twin", arguments: oddSizes, Layout.all)
  func forward(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    for inputType in ElementType.allCases {
      for outputType in ElementType.allCases {
        let input = GuardedMatrix(
          randomFloats(3 * width, using: &generator), rows: 3, columns: width, type: inputType, layout: layout)
        let weight = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width, layout: layout)
        let output = GuardedMatrix(zeros: 3, columns: width, type: outputType, layout: layout)
        let reciprocals = GuardedMatrix(zeros: 1, columns: 3)
        let before = input.values
        rmsNormForward(
          input: input.view, weight: weight.floats, epsilon: 1e-5, output: output.view,
          reciprocalRootMeanSquare: reciprocals.floats)
        let expected = Reference.rmsNormForward(
          input: input.doubles, weight: weight.doubles, epsilon: Double(Float(1e-5)))
        let error = roundings(width) * floatRoundoff
        expectClose(
          output.values, expected.output, storedAs: outputType, errors: expected.output.map { error * abs($0) },
          "output, \(inputType) to \(outputType)")
        expectClose(
          reciprocals.values, expected.reciprocalRootMeanSquare,
          errors: expected.reciprocalRootMeanSquare.map { error * $0 }, "reciprocals")
        #expect(input.values == before)
        #expect(areIntactOutside(input, weight, output, reciprocals))

        if inputType == outputType {
          let result = output.values
          rmsNormForward(
            input: input.view, weight: weight.floats, epsilon: 1e-5, output: input.view, reciprocalRootMeanSquare: nil)
          #expect(input.values == result, "in place")
        }
      }
    }
  }

  @Test("the backward pass agrees with the plain twin and adds to what is there", arguments: oddSizes, Layout.all)
  func backward(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    let types: [(ElementType, ElementType)] = [(.float32, .float32), (.bfloat16, .float32), (.bfloat16, .bfloat16)]
    for (gradientType, type) in types {
      for accumulates in [false, true] {
        func random(_ type: ElementType) -> GuardedMatrix {
          GuardedMatrix(
            randomFloats(3 * width, using: &generator), rows: 3, columns: width, type: type, layout: layout)
        }
        let (dOutput, input, dInput) = (random(gradientType), random(type), random(type))
        let weight = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width, layout: layout)
        let dWeight = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width, layout: layout)
        let reciprocals = GuardedMatrix(randomFloats(3, in: 0.1...2, using: &generator), rows: 1, columns: 3)
        let inputsBefore = [dOutput, input, weight, reciprocals].map(\.values)
        let (dInputBefore, dWeightBefore) = (dInput.doubles, dWeight.doubles)
        rmsNormBackward(
          dOutput: dOutput.view, input: input.view, weight: weight.floats,
          reciprocalRootMeanSquare: reciprocals.floats, dInput: dInput.view, accumulates: accumulates,
          dWeight: dWeight.floats)

        // The twin on the magnitudes, with signs that let nothing cancel, is the size of what was added up.
        func twin(_ change: (Double) -> Double, _ sign: Double) -> (dInput: [Double], dWeight: [Double]) {
          Reference.rmsNormBackward(
            dOutput: dOutput.doubles.map(change), input: input.doubles.map { sign * change($0) },
            weight: weight.doubles.map(change), reciprocalRootMeanSquare: reciprocals.doubles)
        }
        let expected = twin({ $0 }, 1)
        let before = accumulates ? dInputBefore : dInputBefore.map { _ in 0 }
        var size = [Double](repeating: 0, count: 3 * width)
        for row in 0..<3 {
          let range = row * width..<(row + 1) * width
          let r = reciprocals.doubles[row]
          let terms = range.map { abs(dOutput.doubles[$0] * weight.doubles[$0 - row * width] * input.doubles[$0]) }
          let projection = terms.reduce(0, +) / Double(width)
          for index in range {
            size[index] =
              abs(before[index]) + r * abs(dOutput.doubles[index] * weight.doubles[index - row * width])
              + r * r * r * abs(input.doubles[index]) * projection
          }
        }
        let error = roundings(width) * floatRoundoff
        expectClose(
          dInput.values, zip(before, expected.dInput).map { $0 + $1 }, storedAs: type, errors: size.map { error * $0 },
          "dInput, \(gradientType) over \(type)")
        let dWeightSize = zip(dWeightBefore, twin(abs, 1).dWeight).map { abs($0) + $1 }
        expectClose(
          dWeight.values, zip(dWeightBefore, expected.dWeight).map { $0 + $1 }, errors: dWeightSize.map { error * $0 },
          "dWeight")
        #expect([dOutput, input, weight, reciprocals].map(\.values) == inputsBefore)
        #expect(areIntactOutside(dOutput, input, dInput, weight, dWeight, reciprocals))
      }
    }
  }

  @Test("the rows' results do not depend on how the rows are shared out")
  func splitting() {
    var generator = SeededGenerator(seed: 5)
    let width = 100
    let input = GuardedMatrix(randomFloats(7 * width, using: &generator), rows: 7, columns: width)
    let weight = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width)
    let dOutput = GuardedMatrix(
      randomFloats(7 * width, using: &generator), rows: 7, columns: width, type: .bfloat16)
    func run(_ pieces: [Range<Int>]) -> [[Float]] {
      let output = GuardedMatrix(zeros: 7, columns: width, type: .bfloat16)
      let dInput = GuardedMatrix(zeros: 7, columns: width)
      let reciprocals = GuardedMatrix(zeros: 1, columns: 7)
      let dWeight = GuardedMatrix(zeros: 1, columns: width)
      for rows in pieces {
        rmsNormForward(
          input: input.view.rows(rows), weight: weight.floats, epsilon: 1e-5, output: output.view.rows(rows),
          reciprocalRootMeanSquare: reciprocals.floats + rows.lowerBound)
        rmsNormBackward(
          dOutput: dOutput.view.rows(rows), input: input.view.rows(rows), weight: weight.floats,
          reciprocalRootMeanSquare: reciprocals.floats + rows.lowerBound, dInput: dInput.view.rows(rows),
          accumulates: true, dWeight: dWeight.floats)
      }
      return [output.values, dInput.values, reciprocals.values]
    }
    #expect(run([0..<7]) == run([0..<1, 1..<4, 4..<4, 4..<7]))
  }

  @Test("rows of zeros, of huge numbers and with a NaN")
  func extremes() {
    let width = 17
    var values = [Float](repeating: 0, count: 3 * width)
    for index in width..<2 * width { values[index] = 1e18 }
    values[2 * width + 3] = .nan
    let input = GuardedMatrix(values, rows: 3, columns: width)
    let weight = GuardedMatrix([Float](repeating: 1, count: width), rows: 1, columns: width)
    let output = GuardedMatrix(zeros: 3, columns: width)
    rmsNormForward(
      input: input.view, weight: weight.floats, epsilon: 1e-5, output: output.view, reciprocalRootMeanSquare: nil)
    #expect(output.values[..<width].allSatisfy { $0 == 0 })
    #expect(output.values[width..<2 * width].allSatisfy { abs($0 - 1) < 1e-5 })
    #expect(output.values[(2 * width)...].allSatisfy { $0.isNaN })
  }
}
