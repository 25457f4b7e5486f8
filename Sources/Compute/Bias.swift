import Model
import VectorMath

/// y = x + b for each row, in place.
///
/// - Parameters:
///   - matrix: x, [rows, columns], of either type.
///   - bias: b, [columns].
package func biasForward(_ matrix: MatrixView, bias: UnsafePointer<Float>) {
  switch matrix.type {
  case .float32: biasForward(matrix, bias, Float.self)
  case .bfloat16: biasForward(matrix, bias, BFloat16.self)
  }
}

/// The gradient of `biasForward`: b̄ += Σ over rows of ȳ, in their order. x̄ is ȳ.
///
/// - Parameters:
///   - dOutput: ȳ, [rows, columns], of either type.
///   - dBias: b̄, [columns], added to. Rows divided among workers need one accumulator for each worker.
package func biasBackward(dOutput: MatrixView, dBias: UnsafeMutablePointer<Float>) {
  switch dOutput.type {
  case .float32: biasBackward(dOutput, dBias, Float.self)
  case .bfloat16: biasBackward(dOutput, dBias, BFloat16.self)
  }
}

private func biasForward<Element: VectorElement>(
  _ matrix: MatrixView, _ bias: UnsafePointer<Float>, _: Element.Type
) {
  for row in 0..<matrix.rows {
    let x = matrix.row(row, of: Element.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Element.store(Element.load(x + start, lanes) + Float.load(bias + start, lanes), to: x + start, lanes)
    }
    forEachSixteen(matrix.columns, step)
  }
}

private func biasBackward<Element: VectorElement>(
  _ dOutput: MatrixView, _ dBias: UnsafeMutablePointer<Float>, _: Element.Type
) {
  for row in 0..<dOutput.rows {
    let dY = UnsafePointer(dOutput.row(row, of: Element.self))
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Float.store(Float.load(dBias + start, lanes) + Element.load(dY + start, lanes), to: dBias + start, lanes)
    }
    forEachSixteen(dOutput.columns, step)
  }
}
