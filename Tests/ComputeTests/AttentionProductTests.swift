import CKernels
import Compute
import Model
import Reference
import TestSupport
import Testing
import VectorMath

/// The small C functions of which attention is made, against loops over single numbers.
struct AttentionProductTests {
  /// Elements in a unit of four bytes.
  private static func unitElements(_ type: ElementType) -> Int { type == .bfloat16 ? 2 : 1 }

  /// Numbers in memory with the bytes of their type, at an address that is aligned to those only.
  private struct Elements {
    let matrix: GuardedMatrix
    let values: [Float]

    init(_ count: Int, _ type: ElementType, _ generator: inout SeededGenerator) {
      let layout = Layout(gap: 0, offset: 1)
      matrix = GuardedMatrix(
        randomFloats(count, using: &generator), rows: 1, columns: count, type: type, layout: layout)
      values = matrix.values
    }
  }

  @Test("the tile product agrees with its plain twin", arguments: ElementType.allCases, [1, 2, 3, 4, 5, 7, 8, 16])
  func product(type: ElementType, vectors: Int) {
    var generator = SeededGenerator(seed: UInt64(vectors))
    let pair = Self.unitElements(type)
    for rows in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 31, 64] {
      for depth in [0, 1, 2, 17, 32] {
        let (aStride, bStride, cStride) = (depth + 3, 16 * vectors + 2, 16 * vectors + 1)
        let a = Elements(max(1, rows) * aStride * pair, type, &generator)
        let b = Elements(max(1, depth) * bStride * pair, type, &generator)
        let start = randomFloats(max(1, rows) * cStride, using: &generator)
        for accumulates in [false, true] {
          let c = GuardedMatrix(start, rows: 1, columns: start.count, layout: Layout(gap: 0, offset: 1))
          ckTileProduct(
            type == .bfloat16, rows, depth, vectors, a.matrix.view.base, 4 * aStride, b.matrix.view.base, bStride,
            c.floats, cStride, accumulates)
          var expected = start.map(Double.init)
          var errors = [Double](repeating: 0, count: start.count)
          for row in 0..<rows {
            for column in 0..<16 * vectors {
              let place = row * cStride + column
              var sum = accumulates ? expected[place] : 0
              var magnitude = abs(sum)
              for unit in 0..<depth {
                for half in 0..<pair {
                  let product =
                    Double(a.values[(row * aStride + unit) * pair + half])
                    * Double(b.values[(unit * bStride + column) * pair + half])
                  sum += product
                  magnitude += abs(product)
                }
              }
              expected[place] = sum
              errors[place] = Double(pair * depth + 1) * floatRoundoff * magnitude
            }
          }
          expectClose(
            c.values, expected, errors: errors,
            "\(type) rows \(rows) depth \(depth) vectors \(vectors) accumulates \(accumulates)")
          #expect(areIntactOutside(c))
        }
      }
    }
  }

  @Test("the transpose agrees with its plain twin", arguments: [1, 2, 15, 16, 17, 40])
  func transpose(rows: Int) {
    for columns in [1, 3, 16, 24, 33] {
      var generator = SeededGenerator(seed: 1)
      let layout = Layout(gap: 5, offset: 1)
      let source = GuardedMatrix(
        randomFloats(rows * columns, using: &generator), rows: rows, columns: columns, layout: layout)
      let padded = (rows + 15) / 16 * 16
      let target = GuardedMatrix(
        [Float](repeating: -7, count: columns * padded), rows: columns, columns: padded, layout: layout)
      ckTranspose(
        source.view.base, 4 * source.view.rowStride, rows, columns, target.view.base, target.view.rowStride)
      let values = source.values
      let expected = (0..<columns * padded).map { index in
        index % padded < rows ? values[index % padded * columns + index / padded] : 0
      }
      #expect(target.values == expected)
      #expect(areIntactOutside(source, target))
    }
  }

  @Test("rows are interleaved and scaled as their plain twins do", arguments: ElementType.allCases, [1, 2, 15, 16, 17])
  func rows(type: ElementType, rows: Int) {
    let pair = Self.unitElements(type)
    for columns in [2, 16, 20, 48] {
      var generator = SeededGenerator(seed: 1)
      let layout = Layout(gap: 3, offset: 1)
      let source = GuardedMatrix(
        randomFloats(rows * columns, using: &generator), rows: rows, columns: columns, type: type, layout: layout)
      let width = (columns + 15) / 16 * 16
      let paddedRows = (rows + 15) / 16 * 16
      let target = GuardedMatrix(
        [Float](repeating: -7, count: paddedRows * width), rows: paddedRows / pair, columns: pair * width, type: type)
      ckInterleaveRows(
        type == .bfloat16, source.view.base, source.view.rowStride * type.byteCount, rows, columns, target.view.base,
        width, paddedRows)
      let values = source.values
      let expected = (0..<paddedRows * width).map { index in
        let row = index / (pair * width) * pair + index % pair
        let column = index % (pair * width) / pair
        return row < rows && column < columns ? values[row * columns + column] : 0
      }
      #expect(target.values == expected)

      let floats = randomFloats(rows * width, using: &generator)
      let scaled = GuardedMatrix(zeros: rows, columns: columns, type: type, layout: layout)
      ckScaleRows(
        type == .bfloat16, floats, width, 0.3, rows, columns, scaled.view.base,
        scaled.view.rowStride * type.byteCount)
      let products = (0..<rows * columns).map { floats[$0 / columns * width + $0 % columns] * 0.3 }
      #expect(scaled.values == products.map { type == .bfloat16 ? BFloat16($0).float : $0 })
      #expect(areIntactOutside(source, target, scaled))
    }
  }

  @Test("the power of two is within two units in the last place, and exact at whole numbers")
  func powers() {
    var generator = SeededGenerator(seed: 1)
    var worst = 0.0
    for _ in 0..<20_000 {
      var x = SIMD16<Float>()
      for lane in 0..<16 { x[lane] = Float.random(in: -125...127, using: &generator) }
      x[0] /= 100
      let actual = powerOfTwo(x)
      for lane in 0..<16 {
        let exact = Reference.exponential(Double(x[lane]) * 0.693147180559945309)
        worst = max(worst, abs(Double(actual[lane]) - exact) / Double(Float(exact).ulp))
      }
    }
    #expect(worst <= 2)
    for whole in -126...127 {
      #expect(powerOfTwo(SIMD16(repeating: Float(whole)))[0] == Float(sign: .plus, exponent: whole, significand: 1))
    }
    for x in [-200, -1e30, -.greatestFiniteMagnitude] as [Float] { #expect(powerOfTwo(SIMD16(repeating: x))[5] == 0) }
    #expect(powerOfTwo(SIMD16(repeating: .nan))[0].isNaN)
  }

  @Test("the logarithm is within two units in the last place, near 1 within two roundings of 1")
  func logarithms() {
    var generator = SeededGenerator(seed: 1)
    var worst = 0.0
    for _ in 0..<20_000 {
      var x = SIMD16<Float>()
      for lane in 0..<16 {
        x[lane] = Float(
          sign: .plus, exponent: Int.random(in: -126...127, using: &generator),
          significand: Float.random(in: 1..<2, using: &generator))
      }
      x[0] = Float.random(in: 0.5...2, using: &generator)
      let actual = logarithm(x)
      for lane in 0..<16 {
        let exact = Reference.logarithm(Double(x[lane]))
        worst = max(worst, abs(Double(actual[lane]) - exact) / max(Double(Float(exact).ulp), floatRoundoff))
      }
    }
    #expect(worst <= 2)
    #expect(logarithm(SIMD16(repeating: 1))[0] == 0)
    #expect(logarithm(SIMD16(repeating: .nan))[0].isNaN && logarithm(SIMD16(repeating: .infinity))[0].isNaN)
  }
}
