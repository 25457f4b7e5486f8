import Compute
import Machine
import Model
import Reference
import TestSupport
import Testing

/// Products of rows with weights as inference keeps them.
struct RowProductTests {
  /// Weights with memory of their own.
  final class Weights {
    let view: WeightMatrix
    private let buffer: AlignedBuffer

    init(_ values: [Float], rows: Int, columns: Int, type: WeightType) throws {
      let byteCount = WeightMatrix.byteCount(rows: rows, columns: columns, type: type)
      buffer = try AlignedBuffer(byteCount: byteCount + 64)
      view = WeightMatrix(buffer.base, rows: rows, columns: columns, type: type)
      (buffer.base + byteCount).storeBytes(of: 0x55, as: UInt8.self)
      let source = GuardedMatrix(values, rows: rows, columns: columns, layout: Layout(gap: 3, offset: 1))
      // In two pieces, as a file is read.
      let half = min(rows, WeightType.tileRows)
      view.store(source.view.rows(0..<half), at: 0)
      if half < rows { view.store(source.view.rows(half..<rows), at: half) }
    }

    var isIntactBehind: Bool { (buffer.base + view.byteCount).load(as: UInt8.self) == 0x55 }

    /// What is stored, by rows.
    var doubles: [Double] {
      (0..<view.rows).flatMap { row in
        [Float](unsafeUninitializedCapacity: view.columns) { values, count in
          view.copyRow(row, to: values.baseAddress!)
          count = view.columns
        }.map(Double.init)
      }
    }
  }

  /// Numbers in blocks of very different sizes, one of them all zeros.
  static func random(_ rows: Int, _ columns: Int, using generator: inout SeededGenerator) -> [Float] {
    (0..<rows * columns).map { index in
      let size: [Float] = [1, 1e-3, 30, 0]
      return Float.random(in: -2...2, using: &generator) * size[(index % columns / 32 + index / columns) % 4]
    }
  }

  static func roundToBFloat16(_ value: Double) -> Double { Double(BFloat16(Float(value)).float) }

  /// What weights of a type become.
  static func stored(_ values: [Float], columns: Int, type: WeightType) -> [Double] {
    let exact = values.map(Double.init)
    switch type {
    case .float32: return exact
    case .bfloat16: return exact.map(roundToBFloat16)
    case .q8, .q4:
      return Reference.quantizeWeights(
        exact, columns: columns, bits: type == .q8 ? 8 : 4, roundToBFloat16: roundToBFloat16)
    }
  }

  @Test("weights are stored as the plain rounding says", arguments: WeightType.allCases, oddSizes + [512])
  func storage(type: WeightType, columns: Int) throws {
    var generator = SeededGenerator(seed: UInt64(columns))
    for rows in [1, 15, 16, 35] {
      let values = Self.random(rows, columns, using: &generator)
      let weights = try Weights(values, rows: rows, columns: columns, type: type)
      let expected = Self.stored(values, columns: columns, type: type)
      let step = { (index: Int) -> Double in
        // A quotient in Float may fall on the other side of a half: then it is one step away.
        guard type == .q8 || type == .q4 else { return 0 }
        let start = index / columns * columns + index % columns / 32 * 32
        let block = values[start..<min(start + 32, index / columns * columns + columns)]
        return Double(block.map(abs).max()!) / (type == .q8 ? 126 : 7.9)
      }
      var different = 0
      for (index, (actual, expected)) in zip(weights.doubles, expected).enumerated() where actual != expected {
        different += 1
        #expect(abs(actual - expected) <= step(index), "\(rows) rows, at \(index)")
      }
      #expect(different <= rows * columns / 1000, "\(rows) rows")
      #expect(weights.isIntactBehind)
    }
  }

  @Test("a product of rows agrees with the plain product", arguments: WeightType.allCases, oddSizes + [512])
  func product(type: WeightType, columns: Int) throws {
    var generator = SeededGenerator(seed: UInt64(columns + 1))
    for (outputs, rows) in [(1, 1), (16, 2), (33, 3), (96, 5), (150, 7), (64, 13), (17, 40)] {
      let weights = try Weights(
        Self.random(outputs, columns, using: &generator), rows: outputs, columns: columns, type: type)
      let scratch = try RowScratch(rows: rows, columns: columns)
      for inputType in type == .float32 ? [ElementType.float32] : ElementType.allCases {
        let input = GuardedMatrix(
          Self.random(rows, columns, using: &generator), rows: rows, columns: columns, type: inputType,
          layout: Layout(gap: 5, offset: 1))
        for (outputType, accumulates) in [(ElementType.float32, false), (.float32, true), (.bfloat16, false)] {
          let output = GuardedMatrix(
            randomFloats(rows * outputs, using: &generator), rows: rows, columns: outputs, type: outputType,
            layout: Layout(gap: 3, offset: 1))
          let before = accumulates ? output.doubles : output.doubles.map { _ in 0 }
          multiplyRows(
            weights.view, scratch.prepare(input.view, for: type), into: output.view, accumulates: accumulates)

          let x = Self.prepared(input.values, columns, type)
          func product(_ change: (Double) -> Double) -> [Double] {
            Reference.multiply(
              x.map(change), weights.doubles.map(change), bTransposed: true, rows: rows, inner: columns,
              columns: outputs)
          }
          let expected = zip(before, product { $0 }).map { $0 + $1 }
          let size = zip(before, product(abs)).map { abs($0) + $1 }
          let roundings = Double(columns) + 8
          expectClose(
            output.values, expected, storedAs: outputType, errors: size.map { $0 * roundings * floatRoundoff },
            "[\(rows), \(columns)] · [\(outputs), \(columns)] of \(inputType)")
          #expect(areIntactOutside(input, output))
        }
      }
    }
  }

  /// What the product makes of its input. (In Float, as there: in Double halves would be rounded another way.)
  static func prepared(_ values: [Float], _ columns: Int, _ type: WeightType) -> [Double] {
    switch type {
    case .float32: values.map(Double.init)
    case .bfloat16: values.map { roundToBFloat16(Double($0)) }
    case .q8, .q4: Reference.quantizeInput(values, columns: columns).map(Double.init)
    }
  }

  @Test(
    "a row's product has the same bits with any other rows, and with any part of the weights",
    arguments: WeightType.allCases)
  func independence(type: WeightType) throws {
    var generator = SeededGenerator(seed: 5)
    let (rows, columns, outputs) = (29, 200, 150)
    let weights = try Weights(
      randomFloats(outputs * columns, using: &generator), rows: outputs, columns: columns, type: type)
    let scratch = try RowScratch(rows: rows, columns: columns)
    let input = GuardedMatrix(randomFloats(rows * columns, using: &generator), rows: rows, columns: columns)
    let start = randomFloats(rows * outputs, using: &generator)
    let whole = GuardedMatrix(start, rows: rows, columns: outputs)
    multiplyRows(weights.view, scratch.prepare(input.view, for: type), into: whole.view, accumulates: true)
    for partRows in [1, 2, 3, 5, 8, 11] {
      for cut in [16, 48, 144] {
        let parts = GuardedMatrix(start, rows: rows, columns: outputs)
        for first in stride(from: 0, to: rows, by: partRows) {
          let some = first..<min(rows, first + partRows)
          let prepared = scratch.prepare(input.view.rows(some), for: type)
          for part in [0..<cut, cut..<outputs] {
            multiplyRows(
              weights.view.rows(part), prepared, into: parts.view.rows(some).columns(part), accumulates: true)
          }
        }
        #expect(parts.values == whole.values, "\(partRows) rows at a time, cut at \(cut)")
      }
    }
  }

  @Test("numbers as large and as small as Float has leave no other block wrong", arguments: [WeightType.q8, .q4])
  func extremes(type: WeightType) throws {
    let columns = 128
    var weights = [Float](repeating: 1, count: columns)
    var input = weights
    for column in 0..<32 {
      (weights[column], input[column]) = (1e-38, 1e30)
      (weights[32 + column], input[32 + column]) = (1e30, 1e-38)
    }
    let matrix = try Weights(weights, rows: 1, columns: columns, type: type)
    let scratch = try RowScratch(rows: 1, columns: columns)
    let row = GuardedMatrix(input, rows: 1, columns: columns)
    let output = GuardedMatrix(zeros: 1, columns: 1)
    multiplyRows(matrix.view, scratch.prepare(row.view, for: type), into: output.view)
    #expect(abs(output.values[0] - 64) < 1)
  }
}
