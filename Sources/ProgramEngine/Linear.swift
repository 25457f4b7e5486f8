import Programs

/// The weights of a linear layer: W [outputs, inputs], a bias b [outputs], an adapter.
package struct LinearWeight {
  package var matrix: Tensor
  package var bias: Tensor?
  package var adapter: LowRankProduct.Weight?

  package init(matrix: Tensor, bias: Tensor? = nil, adapter: LowRankProduct.Weight? = nil) {
    self.matrix = matrix
    self.bias = bias
    self.adapter = adapter
  }
}

/// The gradients of a `LinearWeight`.
package struct LinearGradient {
  package var matrix, bias: Tensor
  package var a, b: Tensor?
}

/// y = x·Wᵀ + b, and what an adapter adds.
///
///     x̄ = ȳ·W        W̄ = ȳᵀ·x        b̄ = Σ ȳ over rows
///
/// The operands of the products are rounded to the engine's precision; sums are fp32. With an axis in front, x [blocks, rows,
/// inputs] and W [blocks, outputs, inputs], each block has a product of its own.
package struct Linear {
  private let input, matrix: Tensor
  private let adapter: LowRankProduct?
  /// y, float32, [rows, outputs]
  package let output: Tensor

  /// - Parameter precision: what the products take.
  package init(_ input: Tensor, _ weight: LinearWeight, _ precision: TensorElement) {
    self.input = input.converted(to: precision)
    matrix = weight.matrix.converted(to: precision)
    var output = self.input.timesTransposed(matrix)
    if let bias = weight.bias { output = output + bias }
    adapter = weight.adapter.map { [x = self.input] in LowRankProduct(x, $0) }
    if let adapter { output = output + adapter.output }
    self.output = output
  }

  /// - Parameter dOutput: ȳ, [rows, outputs].
  /// - Returns: x̄, float32, and the gradients of the weights.
  package func backward(_ dOutput: Tensor) -> (dInput: Tensor, gradient: LinearGradient) {
    let dY = dOutput.converted(to: input.type.element)
    var dInput = dY.timesMatrix(matrix)
    var gradient = LinearGradient(
      matrix: dY.transposedTimes(input), bias: dOutput.float32.sum(dOutput.shape.count - 2))
    if let adapter {
      let low = adapter.backward(dY)
      dInput = dInput + low.dInput
      (gradient.a, gradient.b) = (low.dA, low.dB)
    }
    return (dInput, gradient)
  }
}

/// Products of matrices, one for each index of the axes in front of the last two.
extension Tensor {
  private func product(_ right: Tensor, contracted left: Int, _ other: Int) -> Tensor {
    let batch = Array(0..<shape.count - 2)
    return product(
      right,
      ProductAxes(
        leftBatch: batch, rightBatch: batch, leftContracted: [batch.count + left],
        rightContracted: [batch.count + other]))
  }

  /// x·Wᵀ
  func timesTransposed(_ right: Tensor) -> Tensor { product(right, contracted: 1, 1) }
  /// x·W
  func timesMatrix(_ right: Tensor) -> Tensor { product(right, contracted: 1, 0) }
  /// xᵀ·W
  func transposedTimes(_ right: Tensor) -> Tensor { product(right, contracted: 0, 0) }
}
