import CKernels
import Model
import VectorMath

/// y = (x - μ) · r · w + b with μ the mean and r = 1 / √(variance + ε) of each row; Ba et al. 2016 (arXiv 1607.06450).
///
/// - Parameters:
///   - input: x, [rows, columns], float32: the residual stream.
///   - weight, bias: w and b, [columns].
///   - output: y, [rows, columns] of either type, overwritten. May be `input` itself.
///   - statistics: μ and r of each row, [rows, 2], overwritten: what `layerNormBackward` needs. Nil at inference.
package func layerNormForward(
  input: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, epsilon: Float, output: MatrixView,
  statistics: UnsafeMutablePointer<Float>?
) {
  precondition(
    input.rows == output.rows && input.columns == output.columns && input.type == .float32,
    "LayerNorm of different shapes, or of \(input.type)")
  switch output.type {
  case .float32: layerNormForward(input, weight, bias, epsilon, output, statistics, Float.self)
  case .bfloat16: layerNormForward(input, weight, bias, epsilon, output, statistics, BFloat16.self)
  }
}

/// The gradients of `layerNormForward`, from the rows' μ and r that it kept. With x̂ = (x - μ)·r and g = ȳ·w:
///
///     x̄ = r·(g - mean of g - x̂·mean of g·x̂)        w̄ += ȳ·x̂        b̄ += ȳ
///
/// - Parameters:
///   - dOutput: ȳ, [rows, columns], float32, as the other two matrices.
///   - dInput: x̄, overwritten, or added to if `accumulates`. May be `dOutput` itself.
///   - dWeight, dBias: w̄ and b̄, [columns], added to. Rows divided among workers need accumulators for each worker; everything
///     else here depends on its own row only.
package func layerNormBackward(
  dOutput: MatrixView, input: MatrixView, weight: UnsafePointer<Float>, statistics: UnsafePointer<Float>,
  dInput: MatrixView, accumulates: Bool, dWeight: UnsafeMutablePointer<Float>, dBias: UnsafeMutablePointer<Float>
) {
  precondition(
    input.rows == dOutput.rows && input.columns == dOutput.columns && input.rows == dInput.rows
      && input.columns == dInput.columns, "LayerNorm of different shapes")
  precondition(
    input.type == .float32 && dOutput.type == .float32 && dInput.type == .float32, "LayerNorm backward in fp32 only")
  let columns = input.columns
  for row in 0..<input.rows {
    let dY = UnsafePointer(dOutput.row(row, of: Float.self))
    let x = UnsafePointer(input.row(row, of: Float.self))
    let dX = dInput.row(row, of: Float.self)
    let (mean, reciprocal) = (statistics[2 * row], statistics[2 * row + 1])

    var gradients = FourSums()
    var projections = FourSums()
    @inline(__always) func add(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      sum.addProduct(Float.load(dY + start, lanes), Float.load(weight + start, lanes))
    }
    @inline(__always) func project(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let weighted = Float.load(dY + start, lanes) * Float.load(weight + start, lanes)
      sum.addProduct(weighted, (Float.load(x + start, lanes) - mean) * reciprocal)
    }
    gradients.add(columns, add)
    projections.add(columns, project)
    let average = gradients.total / Float(columns)
    let slope = SIMD16(repeating: -projections.total / Float(columns))

    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let normalized = (Float.load(x + start, lanes) - mean) * reciprocal
      let gradient = Float.load(dY + start, lanes)
      let before = accumulates ? Float.load(dX + start, lanes) : .zero
      let centred = (gradient * Float.load(weight + start, lanes) - average).addingProduct(normalized, slope)
      Float.store(before.addingProduct(centred, SIMD16(repeating: reciprocal)), to: dX + start, lanes)
      Float.store(Float.load(dWeight + start, lanes).addingProduct(gradient, normalized), to: dWeight + start, lanes)
      Float.store(Float.load(dBias + start, lanes) + gradient, to: dBias + start, lanes)
    }
    forEachSixteen(columns, step)
  }
}

private func layerNormForward<Output: VectorElement>(
  _ input: MatrixView, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
  _ output: MatrixView, _ statistics: UnsafeMutablePointer<Float>?, _: Output.Type
) {
  let columns = input.columns
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Float.self))
    let y = output.row(row, of: Output.self)

    var sums = FourSums()
    @inline(__always) func add(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      sum += Float.load(x + start, lanes)
    }
    sums.add(columns, add)
    let mean = sums.total / Float(columns)
    var squares = FourSums()
    @inline(__always) func square(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      // Lanes beyond the end hold the mean, and add nothing.
      let distance = ckLoadFloatsOr(x + start, lanes, mean) - mean
      sum.addProduct(distance, distance)
    }
    squares.add(columns, square)
    let variance = squares.total / Float(columns)
    let reciprocal = 1 / (variance + epsilon).squareRoot()
    statistics?[2 * row] = mean
    statistics?[2 * row + 1] = reciprocal

    @inline(__always) func scale(_ start: Int, _ lanes: Int) {
      let normalized = (Float.load(x + start, lanes) - mean) * reciprocal
      Output.store(
        Float.load(bias + start, lanes).addingProduct(normalized, Float.load(weight + start, lanes)), to: y + start,
        lanes)
    }
    forEachSixteen(columns, scale)
  }
}
