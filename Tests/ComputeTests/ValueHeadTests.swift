import Compute
import Model
import TestSupport
import Testing

@Suite("Value head")
struct ValueHeadTests {
  @Test("values and gradients are those of plain sums, in either type, and gradients are added", arguments: oddSizes)
  func plain(width: Int) {
    var generator = SeededGenerator(seed: UInt64(width))
    for type in ElementType.allCases {
      let rows = GuardedMatrix(
        randomFloats(3 * width, using: &generator), rows: 3, columns: width, type: type, layout: Layout.all[1])
      let head = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width)
      let weights = GuardedMatrix([0.5, 0, -2], rows: 1, columns: 3)
      let values = GuardedMatrix(zeros: 1, columns: 3)
      valueForward(rows: rows.view, head: head.floats, values: values.floats)
      func dot(_ row: Int, _ change: (Double) -> Double = { $0 }) -> Double {
        (0..<width).reduce(0) { $0 + change(rows.doubles[row * width + $1] * head.doubles[$1]) }
      }
      let roundings = (Double(width) / 64 + 16) * floatRoundoff
      expectClose(values.values, (0..<3).map { dot($0) }, errors: (0..<3).map { roundings * dot($0, abs) }, "values")

      let dRows = GuardedMatrix(randomFloats(3 * width, using: &generator), rows: 3, columns: width)
      let dHead = GuardedMatrix(randomFloats(width, using: &generator), rows: 1, columns: width)
      let (rowsBefore, headBefore) = (dRows.doubles, dHead.doubles)
      valueBackward(
        rows: rows.view, head: head.floats, weights: weights.floats, dRows: dRows.view, dHead: dHead.floats)
      let expectedRows = (0..<3 * width).map {
        rowsBefore[$0] + weights.doubles[$0 / width] * head.doubles[$0 % width]
      }
      let expectedHead = (0..<width).map { column in
        headBefore[column] + (0..<3).reduce(0) { $0 + weights.doubles[$1] * rows.doubles[$1 * width + column] }
      }
      // Each is some products and additions of numbers up to about 8.
      expectClose(dRows.values, expectedRows, errors: expectedRows.map { _ in 64 * floatRoundoff }, "rows")
      expectClose(dHead.values, expectedHead, errors: expectedHead.map { _ in 64 * floatRoundoff }, "head")
      #expect(areIntactOutside(rows, head, weights, values, dRows, dHead))
    }
  }
}
