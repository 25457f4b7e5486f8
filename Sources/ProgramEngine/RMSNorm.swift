import Programs

/// y = x · r · w with r = 1 / √(mean of x² + ε), for each row; Zhang & Sennrich 2019 (arXiv 1910.07467).
///
///     x̄ = r·ȳ·w - r³·x · mean of (ȳ·w·x)        w̄ = Σ ȳ·x·r over rows
package struct RMSNorm {
  private let input, weight: Tensor
  /// r [rows, 1]
  private let reciprocal: Tensor
  /// y [rows, columns]
  package let output: Tensor

  /// - Parameters:
  ///   - input: x, float32, [rows, columns].
  ///   - weight: w, [columns].
  package init(_ input: Tensor, weight: Tensor, epsilon: Double) {
    self.input = input
    self.weight = weight
    reciprocal = ((input * input).mean(1) + epsilon).reciprocalSquareRoot
    output = input * reciprocal * weight
  }

  package func backward(_ dOutput: Tensor) -> (dInput: Tensor, dWeight: Tensor) {
    let projection = (dOutput * weight * input).mean(1)
    return (
      dInput: reciprocal * dOutput * weight - reciprocal * reciprocal * reciprocal * input * projection,
      dWeight: (dOutput * input * reciprocal).sum(0)
    )
  }
}
