import Compute
import Model
import TestSupport
import Testing

@Suite("Dropout")
struct DropoutTests {
  private func values(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return randomFloats(count, using: &generator)
  }

  @Test("an element is zero or scaled up, as the mask's plain twin says", arguments: ElementType.allCases, Layout.all)
  func twin(type: ElementType, layout: Layout) {
    for columns in oddSizes {
      let (rows, firstRow) = (5, 1_000_003)
      let mask = DropoutMask(rate: 0.25, seed: 7, stream: 3)
      let input = GuardedMatrix(
        values(rows * columns, seed: 1), rows: rows, columns: columns, type: type, layout: layout)
      let output = GuardedMatrix(zeros: rows, columns: columns, type: type, layout: layout)
      dropoutForward(input: input.view, output: output.view, mask: mask, firstRow: firstRow)
      let expected = input.values.enumerated().map { place, value in
        mask.isDropped(row: firstRow + place / columns, column: place % columns)
          ? 0 : type == .float32 ? value * mask.keptScale : BFloat16(value * mask.keptScale).float
      }
      #expect(output.values == expected)
      #expect(areIntactOutside(input, output))
    }
  }

  @Test("the gradient goes where the value went, and is added", arguments: [ElementType.float32, .bfloat16])
  func backward(type: ElementType) {
    let (rows, columns) = (7, 33)
    let mask = DropoutMask(rate: 0.5, seed: 9, stream: 0)
    let gradient = GuardedMatrix(values(rows * columns, seed: 2), rows: rows, columns: columns, type: type)
    let before = values(rows * columns, seed: 3)
    for target in Set([type, .float32]) {
      let dInput = GuardedMatrix(before, rows: rows, columns: columns, type: target)
      let start = dInput.values
      dropoutBackward(dOutput: gradient.view, dInput: dInput.view, mask: mask, firstRow: 20)
      let expected = zip(start, gradient.values).enumerated().map { place, pair in
        let kept = mask.isDropped(row: 20 + place / columns, column: place % columns) ? 0 : pair.1 * mask.keptScale
        return target == .float32 ? pair.0 + kept : BFloat16(pair.0 + kept).float
      }
      #expect(dInput.values == expected)
    }
  }

  @Test("zeros come at the rate asked for, in every row and column, and streams and seeds are independent")
  func statistics() {
    let (rows, columns, rate) = (600, 600, 0.1)
    func zeros(_ mask: DropoutMask) -> [[Bool]] {
      (0..<rows).map { row in (0..<columns).map { mask.isDropped(row: row, column: $0) } }
    }
    let mask = zeros(DropoutMask(rate: Float(rate), seed: 1, stream: 0))
    let deviation = (rate * (1 - rate) / Double(columns)).squareRoot()
    for index in 0..<rows {
      let inRow = Double(mask[index].count(where: { $0 })) / Double(columns)
      let inColumn = Double(mask.count(where: { $0[index] })) / Double(rows)
      // Of 1200 such shares of independent draws, one beyond 5 deviations comes once in 1400 times.
      #expect(abs(inRow - rate) < 5 * deviation && abs(inColumn - rate) < 5 * deviation, "row or column \(index)")
    }
    let others = [
      DropoutMask(rate: Float(rate), seed: 1, stream: 1), DropoutMask(rate: Float(rate), seed: 2, stream: 0),
    ].map(zeros)
    for other in others {
      let both = zip(mask, other).reduce(0) { $0 + zip($1.0, $1.1).count(where: { $0 && $1 }) }
      let share = Double(both) / Double(rows * columns)
      #expect(abs(share - rate * rate) < 5 * (rate * rate / Double(rows * columns)).squareRoot())
    }
    // A row's zeros say nothing of the next row's, nor of the column beside.
    let below = (1..<rows).reduce(0) { sum, row in sum + zip(mask[row], mask[row - 1]).count(where: { $0 && $1 }) }
    let beside = mask.reduce(0) { sum, row in sum + zip(row, row.dropFirst()).count(where: { $0 && $1 }) }
    for count in [below, beside] {
      #expect(abs(Double(count) / Double(rows * columns) - rate * rate) < 0.001)
    }
  }

  @Test("a rate of 0 leaves everything as it is")
  func none() {
    let input = GuardedMatrix(values(99, seed: 4), rows: 3, columns: 33)
    dropoutForward(
      input: input.view, output: input.view, mask: DropoutMask(rate: 0, seed: 1, stream: 1), firstRow: 0)
    #expect(input.values == values(99, seed: 4))
  }
}
