import Model
import VectorMath

/// Which elements dropout zeroes: a pure function of a seed and an element's place (`DropoutKeys`), so that the backward pass
/// repeats the forward pass's choice without storing it, whichever worker computes the row; sixteen elements at a time.
package struct DropoutMask: Sendable {
  /// The probability of a zero, in 0..<1.
  package let rate: Float
  private let keys: DropoutKeys
  private let threshold: UInt32

  /// What the elements that stay are multiplied by, so that the mean stays too: 1 / (1 - rate).
  package var keptScale: Float { DropoutKeys.keptScale(rate: rate) }

  /// - Parameters:
  ///   - stream: numbers one of the independent masks of a seed.
  package init(rate: Float, seed: UInt64, stream: UInt64) {
    precondition(rate >= 0 && rate < 1, "a dropout rate of \(rate)")
    self.rate = rate
    keys = DropoutKeys(seed: seed, stream: stream)
    threshold = DropoutKeys.threshold(rate: rate)
  }

  /// Whether an element becomes zero.
  ///
  /// - Parameter row: counted from the first row that the mask covers, which may be far above the first row of a
  ///   matrix.
  package func isDropped(row: Int, column: Int) -> Bool {
    let key = key(ofRow: row)
    var bits = key.low &+ UInt32(truncatingIfNeeded: column) &* DropoutKeys.columnFactor
    bits = (bits ^ (bits >> 16)) &* DropoutKeys.firstFactor
    bits = (bits ^ (bits >> 15) ^ key.high) &* DropoutKeys.secondFactor
    return bits ^ (bits >> 16) < threshold
  }

  fileprivate func key(ofRow row: Int) -> (low: UInt32, high: UInt32) { keys.ofRow(row) }

  /// `isDropped` for sixteen columns from `start`: `values` or zero.
  @inline(__always)
  fileprivate func apply(_ values: SIMD16<Float>, _ key: (low: UInt32, high: UInt32), _ start: Int) -> SIMD16<Float> {
    let first = UInt32(truncatingIfNeeded: start) &* DropoutKeys.columnFactor &+ key.low
    var bits = Self.columnSteps &+ SIMD16(repeating: first)
    bits = (bits ^ (bits &>> 16)) &* DropoutKeys.firstFactor
    bits = (bits ^ (bits &>> 15) ^ SIMD16(repeating: key.high)) &* DropoutKeys.secondFactor
    bits = bits ^ (bits &>> 16)
    return values.replacing(with: 0, where: bits .< SIMD16(repeating: threshold))
  }

  private static var columnSteps: SIMD16<UInt32> {
    @inline(__always)
    get { SIMD16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) &* DropoutKeys.columnFactor }
  }
}

/// y = x ⊙ mask / (1 - rate); Srivastava et al. 2014, "Dropout", scaled in training as all frameworks do.
///
/// - Parameters:
///   - input: x, [rows, columns].
///   - output: y, [rows, columns] of the same type, overwritten; may be `input` itself.
///   - firstRow: which row of the mask the first row of the matrices is.
package func dropoutForward(input: MatrixView, output: MatrixView, mask: DropoutMask, firstRow: Int) {
  check(input, output)
  precondition(input.type == output.type, "dropout from \(input.type) to \(output.type)")
  switch input.type {
  case .float32: dropOut(input, output, mask, firstRow, Float.self, Float.self, accumulates: false)
  case .bfloat16: dropOut(input, output, mask, firstRow, BFloat16.self, BFloat16.self, accumulates: false)
  }
}

/// x̄ += ȳ ⊙ mask / (1 - rate), the gradient of `dropoutForward`.
///
/// - Parameters:
///   - dOutput: ȳ, [rows, columns].
///   - dInput: x̄, of the same type or float32, added to.
package func dropoutBackward(dOutput: MatrixView, dInput: MatrixView, mask: DropoutMask, firstRow: Int) {
  check(dOutput, dInput)
  switch (dOutput.type, dInput.type) {
  case (.float32, .float32): dropOut(dOutput, dInput, mask, firstRow, Float.self, Float.self, accumulates: true)
  case (.bfloat16, .float32): dropOut(dOutput, dInput, mask, firstRow, BFloat16.self, Float.self, accumulates: true)
  case (.bfloat16, .bfloat16):
    dropOut(dOutput, dInput, mask, firstRow, BFloat16.self, BFloat16.self, accumulates: true)
  case (.float32, .bfloat16): preconditionFailure("dropout backward from float32 to bfloat16")
  }
}

private func check(_ source: MatrixView, _ target: MatrixView) {
  precondition(
    source.rows == target.rows && source.columns == target.columns,
    "dropout from [\(source.rows), \(source.columns)] to [\(target.rows), \(target.columns)]")
}

@inline(__always)
private func dropOut<Source: VectorElement, Target: VectorElement>(
  _ source: MatrixView, _ target: MatrixView, _ mask: DropoutMask, _ firstRow: Int, _: Source.Type, _: Target.Type,
  accumulates: Bool
) {
  let scale = mask.keptScale
  for row in 0..<source.rows {
    let from = UnsafePointer(source.row(row, of: Source.self))
    let to = target.row(row, of: Target.self)
    let key = mask.key(ofRow: firstRow + row)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let kept = mask.apply(Source.load(from + start, lanes) * scale, key, start)
      Target.store(accumulates ? Target.load(to + start, lanes) + kept : kept, to: to + start, lanes)
    }
    forEachSixteen(source.columns, step)
  }
}
