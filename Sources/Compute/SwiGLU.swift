import Model
import VectorMath

/// y = silu(gate) ⊙ up with silu(g) = g·σ(g), the gated activation of Shazeer 2020 (arXiv 2002.05202).
///
/// - Parameters:
///   - gateUp: [rows, 2·hidden], the gates of a row, then its ups.
///   - output: [rows, hidden], of the same type, overwritten.
///   - rowWeights: [rows] what each row of y is multiplied with; nil for 1.
package func swiGLUForward(gateUp: MatrixView, output: MatrixView, rowWeights: UnsafePointer<Float>? = nil) {
  checkSwiGLU(gateUp, output)
  switch gateUp.type {
  case .float32: swiGLUForward(gateUp, output, rowWeights, Float.self)
  case .bfloat16: swiGLUForward(gateUp, output, rowWeights, BFloat16.self)
  }
}

/// The gradient of `swiGLUForward`, and y once more, which the gradient of the next weight needs.
///
///     ū = ȳ·g·σ        ḡ = ȳ·u·(σ + g·σ·(1 - σ))        since σ' = σ·(1 - σ)
///
/// Where rows have weights w, ȳ is the gradient of w·y: it is multiplied with w first, and w̄ = Σ ȳ·y.
///
/// All four views have the same type.
/// - Parameters:
///   - gateUp: [rows, 2·hidden].
///   - dOutput: [rows, hidden].
///   - dGateUp: [rows, 2·hidden], overwritten; may be `gateUp` itself.
///   - output: [rows, hidden], overwritten with y, times its weight; may be `dOutput` itself.
///   - rowWeights: w and w̄, [rows] each, the latter overwritten; nil where rows have no weights.
package func swiGLUBackward(
  gateUp: MatrixView, dOutput: MatrixView, dGateUp: MatrixView, output: MatrixView,
  rowWeights: (values: UnsafePointer<Float>, gradients: UnsafeMutablePointer<Float>)? = nil
) {
  checkSwiGLU(gateUp, output)
  checkSwiGLU(dGateUp, dOutput)
  precondition(gateUp.type == dGateUp.type && gateUp.rows == dGateUp.rows && gateUp.columns == dGateUp.columns)
  switch gateUp.type {
  case .float32: swiGLUBackward(gateUp, dOutput, dGateUp, output, rowWeights, Float.self)
  case .bfloat16: swiGLUBackward(gateUp, dOutput, dGateUp, output, rowWeights, BFloat16.self)
  }
}

private func checkSwiGLU(_ gateUp: MatrixView, _ output: MatrixView) {
  precondition(
    gateUp.type == output.type && gateUp.rows == output.rows && gateUp.columns == 2 * output.columns,
    "SwiGLU from [\(gateUp.rows), \(gateUp.columns)] to [\(output.rows), \(output.columns)], of one type")
}

private func swiGLUForward<Element: VectorElement>(
  _ gateUp: MatrixView, _ output: MatrixView, _ rowWeights: UnsafePointer<Float>?, _: Element.Type
) {
  let hidden = output.columns
  for row in 0..<output.rows {
    let gates = UnsafePointer(gateUp.row(row, of: Element.self))
    let ups = gates + hidden
    let y = output.row(row, of: Element.self)
    let weight = SIMD16(repeating: rowWeights?[row] ?? 1)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let gate = Element.load(gates + start, lanes)
      Element.store(gate * sigmoid(gate) * Element.load(ups + start, lanes) * weight, to: y + start, lanes)
    }
    forEachSixteen(hidden, step)
  }
}

private func swiGLUBackward<Element: VectorElement>(
  _ gateUp: MatrixView, _ dOutput: MatrixView, _ dGateUp: MatrixView, _ output: MatrixView,
  _ rowWeights: (values: UnsafePointer<Float>, gradients: UnsafeMutablePointer<Float>)?, _: Element.Type
) {
  let hidden = output.columns
  for row in 0..<output.rows {
    let gates = UnsafePointer(gateUp.row(row, of: Element.self))
    let ups = gates + hidden
    let dY = UnsafePointer(dOutput.row(row, of: Element.self))
    let dGates = dGateUp.row(row, of: Element.self)
    let dUps = dGates + hidden
    let y = output.row(row, of: Element.self)
    let weight = SIMD16(repeating: rowWeights?.values[row] ?? 1)
    /// ȳ·y of these places.
    @inline(__always) func differentiate(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
      let gate = Element.load(gates + start, lanes)
      let up = Element.load(ups + start, lanes)
      let dWeighted = Element.load(dY + start, lanes)
      let gradient = dWeighted * weight
      let share = sigmoid(gate)
      let activation = gate * share
      // σ·(1 + g·(1 - σ)) = σ + silu·(1 - σ)
      let slope = share.addingProduct(activation, 1 - share)
      Element.store(gradient * up * slope, to: dGates + start, lanes)
      Element.store(gradient * activation, to: dUps + start, lanes)
      let value = activation * up
      Element.store(value * weight, to: y + start, lanes)
      return dWeighted * value
    }
    if let gradients = rowWeights?.gradients {
      var sums = FourSums()
      @inline(__always) func step(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
        sum += differentiate(start, lanes)
      }
      sums.add(hidden, step)
      gradients[row] = sums.total
    } else {
      @inline(__always) func step(_ start: Int, _ lanes: Int) { _ = differentiate(start, lanes) }
      forEachSixteen(hidden, step)
    }
  }
}
