/// y = silu(gate) ⊙ up with silu(g) = g·σ(g), the gated activation of Shazeer 2020 (arXiv 2002.05202).
///
/// - Parameters:
///   - gateUp: [rows, 2·hidden], the gates of a row, then its ups.
///   - output: [rows, hidden], of the same type, overwritten.
package func swiGLUForward(gateUp: MatrixView, output: MatrixView) {
  checkSwiGLU(gateUp, output)
  switch gateUp.type {
  case .float32: swiGLUForward(gateUp, output, Float.self)
  case .bfloat16: swiGLUForward(gateUp, output, BFloat16.self)
  }
}

/// The gradient of `swiGLUForward`, and y once more, which the gradient of the next weight needs.
///
///     ū = ȳ·g·σ        ḡ = ȳ·u·(σ + g·σ·(1 - σ))        since σ' = σ·(1 - σ)
///
/// All four views have the same type.
/// - Parameters:
///   - gateUp: [rows, 2·hidden].
///   - dOutput: [rows, hidden].
///   - dGateUp: [rows, 2·hidden], overwritten; may be `gateUp` itself.
///   - output: [rows, hidden], overwritten with y; may be `dOutput` itself.
package func swiGLUBackward(gateUp: MatrixView, dOutput: MatrixView, dGateUp: MatrixView, output: MatrixView) {
  checkSwiGLU(gateUp, output)
  checkSwiGLU(dGateUp, dOutput)
  precondition(gateUp.type == dGateUp.type && gateUp.rows == dGateUp.rows && gateUp.columns == dGateUp.columns)
  switch gateUp.type {
  case .float32: swiGLUBackward(gateUp, dOutput, dGateUp, output, Float.self)
  case .bfloat16: swiGLUBackward(gateUp, dOutput, dGateUp, output, BFloat16.self)
  }
}

private func checkSwiGLU(_ gateUp: MatrixView, _ output: MatrixView) {
  precondition(
    gateUp.type == output.type && gateUp.rows == output.rows && gateUp.columns == 2 * output.columns,
    "SwiGLU from [\(gateUp.rows), \(gateUp.columns)] to [\(output.rows), \(output.columns)], of one type")
}

private func swiGLUForward<Element: VectorElement>(_ gateUp: MatrixView, _ output: MatrixView, _: Element.Type) {
  let hidden = output.columns
  for row in 0..<output.rows {
    let gates = UnsafePointer(gateUp.row(row, of: Element.self))
    let ups = gates + hidden
    let y = output.row(row, of: Element.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let gate = Element.load(gates + start, lanes)
      Element.store(gate * sigmoid(gate) * Element.load(ups + start, lanes), to: y + start, lanes)
    }
    forEachSixteen(hidden, step)
  }
}

private func swiGLUBackward<Element: VectorElement>(
  _ gateUp: MatrixView, _ dOutput: MatrixView, _ dGateUp: MatrixView, _ output: MatrixView, _: Element.Type
) {
  let hidden = output.columns
  for row in 0..<output.rows {
    let gates = UnsafePointer(gateUp.row(row, of: Element.self))
    let ups = gates + hidden
    let dY = UnsafePointer(dOutput.row(row, of: Element.self))
    let dGates = dGateUp.row(row, of: Element.self)
    let dUps = dGates + hidden
    let y = output.row(row, of: Element.self)
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let gate = Element.load(gates + start, lanes)
      let up = Element.load(ups + start, lanes)
      let gradient = Element.load(dY + start, lanes)
      let share = sigmoid(gate)
      let activation = gate * share
      // σ·(1 + g·(1 - σ)) = σ + silu·(1 - σ)
      let slope = share.addingProduct(activation, 1 - share)
      Element.store(gradient * up * slope, to: dGates + start, lanes)
      Element.store(gradient * activation, to: dUps + start, lanes)
      Element.store(activation * up, to: y + start, lanes)
    }
    forEachSixteen(hidden, step)
  }
}
