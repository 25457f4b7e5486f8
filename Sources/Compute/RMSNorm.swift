import Model
import VectorMath

/// y = x · r · w with r = 1 / √(mean of x² + ε), for each row; Zhang & Sennrich 2019 (arXiv 1910.07467).
///
/// - Parameters:
///   - input: x, [rows, columns].
///   - weight: w, [columns].
///   - output: y, [rows, columns], overwritten. The types are those of `input`, or bfloat16 from a float32 input. May be
///     `input` itself if the types are the same.
///   - reciprocalRootMeanSquare: r of each row, [rows], overwritten: what `rmsNormBackward` needs. nil at inference.
package func rmsNormForward(
  input: MatrixView, weight: UnsafePointer<Float>, epsilon: Float, output: MatrixView,
  reciprocalRootMeanSquare: UnsafeMutablePointer<Float>?
) {
  precondition(input.rows == output.rows && input.columns == output.columns, "RMSNorm of different shapes")
  switch (input.type, output.type) {
  case (.float32, .float32):
    rmsNormForward(input, weight, epsilon, output, reciprocalRootMeanSquare, Float.self, Float.self)
  case (.float32, .bfloat16):
    rmsNormForward(input, weight, epsilon, output, reciprocalRootMeanSquare, Float.self, BFloat16.self)
  case (.bfloat16, .bfloat16):
    rmsNormForward(input, weight, epsilon, output, reciprocalRootMeanSquare, BFloat16.self, BFloat16.self)
  case (.bfloat16, .float32):
    rmsNormForward(input, weight, epsilon, output, reciprocalRootMeanSquare, BFloat16.self, Float.self)
  }
}

/// The gradients of `rmsNormForward`, from the rows' r that it kept:
///
///     x̄ⱼ = r·ȳⱼ·wⱼ - r³·xⱼ/n · Σᵢ ȳᵢ·wᵢ·xᵢ        w̄ⱼ += ȳⱼ·xⱼ·r
///
/// - Parameters:
///   - dOutput: ȳ, [rows, columns].
///   - input: x. Types of (dOutput, input, dInput): all float32, all bfloat16, or bfloat16 dOutput with the other two
///     float32, which is the residual stream of a bfloat16 run.
///   - dInput: x̄, overwritten, or added to if `accumulates`: the residual connection has already added its gradient
///     there.
///     May be `dOutput` or, overwritten, `input` itself if the types are the same.
///   - dWeight: w̄, [columns], added to. Rows divided among workers need one accumulator for each worker, added up in a
///     fixed order; everything else here depends on its own row only.
package func rmsNormBackward(
  dOutput: MatrixView, input: MatrixView, weight: UnsafePointer<Float>,
  reciprocalRootMeanSquare: UnsafePointer<Float>, dInput: MatrixView, accumulates: Bool,
  dWeight: UnsafeMutablePointer<Float>
) {
  precondition(
    input.rows == dOutput.rows && input.columns == dOutput.columns && input.rows == dInput.rows
      && input.columns == dInput.columns, "RMSNorm of different shapes")
  let reciprocal = reciprocalRootMeanSquare
  switch (dOutput.type, input.type, dInput.type) {
  case (.float32, .float32, .float32):
    rmsNormBackward(
      dOutput, input, weight, reciprocal, dInput, accumulates, dWeight, Float.self, Float.self, Float.self)
  case (.bfloat16, .float32, .float32):
    rmsNormBackward(
      dOutput, input, weight, reciprocal, dInput, accumulates, dWeight, BFloat16.self, Float.self, Float.self)
  case (.bfloat16, .bfloat16, .bfloat16):
    rmsNormBackward(
      dOutput, input, weight, reciprocal, dInput, accumulates, dWeight, BFloat16.self, BFloat16.self, BFloat16.self)
  default:
    preconditionFailure("RMSNorm backward of \(dOutput.type), \(input.type) and \(dInput.type)")
  }
}

private func rmsNormForward<Input: VectorElement, Output: VectorElement>(
  _ input: MatrixView, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ output: MatrixView,
  _ reciprocals: UnsafeMutablePointer<Float>?, _: Input.Type, _: Output.Type
) {
  let columns = input.columns
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Input.self))
    let y = output.row(row, of: Output.self)

    // Four sums side by side, since one addition has to wait for the one before it.
    var sums = FourSums()
    @inline(__always) func square(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let value = Input.load(x + start, lanes)
      sum.addProduct(value, value)
    }
    sums.add(columns, square)
    let reciprocal = 1 / (sums.total / Float(columns) + epsilon).squareRoot()
    reciprocals?[row] = reciprocal

    @inline(__always) func scale(_ start: Int, _ lanes: Int) {
      let value = Input.load(x + start, lanes) * reciprocal * Float.load(weight + start, lanes)
      Output.store(value, to: y + start, lanes)
    }
    forEachSixteen(columns, scale)
  }
}

private func rmsNormBackward<DOutput: VectorElement, Input: VectorElement, DInput: VectorElement>(
  _ dOutput: MatrixView, _ input: MatrixView, _ weight: UnsafePointer<Float>, _ reciprocals: UnsafePointer<Float>,
  _ dInput: MatrixView, _ accumulates: Bool, _ dWeight: UnsafeMutablePointer<Float>,
  _: DOutput.Type, _: Input.Type, _: DInput.Type
) {
  let columns = input.columns
  for row in 0..<input.rows {
    let dY = UnsafePointer(dOutput.row(row, of: DOutput.self))
    let x = UnsafePointer(input.row(row, of: Input.self))
    let dX = dInput.row(row, of: DInput.self)
    let reciprocal = reciprocals[row]

    var sums = FourSums()
    @inline(__always) func project(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let weighted = DOutput.load(dY + start, lanes) * Float.load(weight + start, lanes)
      sum.addProduct(weighted, Input.load(x + start, lanes))
    }
    sums.add(columns, project)
    let slope = -reciprocal * reciprocal * reciprocal * (sums.total / Float(columns))

    @inline(__always) func step(_ start: Int, _ lanes: Int, _ accumulates: Bool) {
      let value = Input.load(x + start, lanes)
      let scaled = DOutput.load(dY + start, lanes) * reciprocal
      let before = accumulates ? DInput.load(dX + start, lanes) : .zero
      let throughProduct = before.addingProduct(scaled, Float.load(weight + start, lanes))
      DInput.store(throughProduct.addingProduct(value, SIMD16(repeating: slope)), to: dX + start, lanes)
      Float.store(
        Float.load(dWeight + start, lanes).addingProduct(scaled, value), to: dWeight + start, lanes)
    }
    @inline(__always) func overwrite(_ start: Int, _ lanes: Int) { step(start, lanes, false) }
    @inline(__always) func accumulate(_ start: Int, _ lanes: Int) { step(start, lanes, true) }
    if accumulates { forEachSixteen(columns, accumulate) } else { forEachSixteen(columns, overwrite) }
  }
}
