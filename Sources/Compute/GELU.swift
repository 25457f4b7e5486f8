import Model
import VectorMath

/// y = gelu(x), in one of the three forms of `GELU`: x·s(x) with s the form's share.
///
/// - Parameters:
///   - input: x, [rows, columns], of either type.
///   - output: y, of the same shape and type, overwritten. May be `input` itself.
package func geluForward(_ kind: GELU, input: MatrixView, output: MatrixView) {
  precondition(
    input.rows == output.rows && input.columns == output.columns && input.type == output.type,
    "GELU of different shapes")
  switch input.type {
  case .float32: geluForward(kind, input, output, Float.self)
  case .bfloat16: geluForward(kind, input, output, BFloat16.self)
  }
}

/// The gradient of `geluForward`: x̄ = ȳ·(s(x) + x·s'(x)).
///
/// - Parameters:
///   - dOutput: ȳ, [rows, columns]. All three are of one type.
///   - dInput: x̄, overwritten. May be `dOutput` or `input` itself.
package func geluBackward(_ kind: GELU, input: MatrixView, dOutput: MatrixView, dInput: MatrixView) {
  precondition(
    input.rows == dOutput.rows && input.columns == dOutput.columns && input.rows == dInput.rows
      && input.columns == dInput.columns && input.type == dOutput.type && input.type == dInput.type,
    "GELU of different shapes")
  switch input.type {
  case .float32: geluBackward(kind, input, dOutput, dInput, Float.self)
  case .bfloat16: geluBackward(kind, input, dOutput, dInput, BFloat16.self)
  }
}

private func geluForward<Element: VectorElement>(
  _ kind: GELU, _ input: MatrixView, _ output: MatrixView, _: Element.Type
) {
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Element.self))
    let y = output.row(row, of: Element.self)
    @inline(__always) func exact(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      Element.store(value * normalDistribution(value).share, to: y + start, lanes)
    }
    @inline(__always) func tanh(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      Element.store(value * sigmoid(tanhArgument(value)), to: y + start, lanes)
    }
    @inline(__always) func quick(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      Element.store(value * sigmoid(1.702 * value), to: y + start, lanes)
    }
    switch kind {
    case .exact: forEachSixteen(input.columns, exact)
    case .tanh: forEachSixteen(input.columns, tanh)
    case .quick: forEachSixteen(input.columns, quick)
    }
  }
}

private func geluBackward<Element: VectorElement>(
  _ kind: GELU, _ input: MatrixView, _ dOutput: MatrixView, _ dInput: MatrixView, _: Element.Type
) {
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Element.self))
    let dY = UnsafePointer(dOutput.row(row, of: Element.self))
    let dX = dInput.row(row, of: Element.self)
    @inline(__always) func store(_ slope: SIMD16<Float>, _ start: Int, _ lanes: Int) {
      Element.store(Element.load(dY + start, lanes) * slope, to: dX + start, lanes)
    }
    @inline(__always) func exact(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      let (share, density) = normalDistribution(value)
      store(share.addingProduct(value, density), start, lanes)
    }
    // With s = σ(a): s' = σ·(1 - σ)·a'.
    @inline(__always) func tanh(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      let share = sigmoid(tanhArgument(value))
      let argumentSlope = SIMD16<Float>(repeating: 1.5957691).addingProduct(
        value * value, SIMD16(repeating: 0.21406445))
      store(share.addingProduct(value * share * argumentSlope, 1 - share), start, lanes)
    }
    @inline(__always) func quick(_ start: Int, _ lanes: Int) {
      let value = Element.load(x + start, lanes)
      let share = sigmoid(1.702 * value)
      store(share.addingProduct(1.702 * value * share, 1 - share), start, lanes)
    }
    switch kind {
    case .exact: forEachSixteen(input.columns, exact)
    case .tanh: forEachSixteen(input.columns, tanh)
    case .quick: forEachSixteen(input.columns, quick)
    }
  }
}

/// 2·√(2/π)·(x + 0.044715·x³), since ½·(1 + tanh u) = σ(2u).
@inline(__always)
private func tanhArgument(_ x: SIMD16<Float>) -> SIMD16<Float> {
  x * SIMD16<Float>(repeating: 1.5957691).addingProduct(x * x, SIMD16(repeating: 0.071354816))
}
