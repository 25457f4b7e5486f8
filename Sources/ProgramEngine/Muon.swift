import Programs

/// One step of Muon for one matrix: momentum whose singular values are all made about 1 before it moves the matrix (Jordan et
/// al. 2024, https://kellerjordan.github.io/posts/muon/).
///
///     m ← μ·m + (1 - μ)·g        u = μ·m + (1 - μ)·g        (Nesterov: the new mean, looking one gradient ahead)
///     W ← W·(1 - η·λ) - η·0.2·√(max(rows, columns)) · orthogonal(u)
///
/// The factor gives an update the root mean square that AdamW's have (Liu et al. 2025, arXiv 2502.16982, equation 4).
package struct Muon {
  /// W and m after the step.
  package let weight, momentum: Tensor

  private static let momentumShare = 0.95

  /// - Parameters:
  ///   - weight: W, float32, [rows, columns]; gradient and momentum alike.
  ///   - precision: what the products of the iteration take.
  package init(
    weight: Tensor, gradient: Tensor, momentum: Tensor, _ numbers: StepNumbers, _ precision: TensorElement
  ) {
    let share = Self.momentumShare
    let g = gradient * numbers.gradientScale
    let m = momentum * share + g * (1 - share)
    let ahead = m * share + g * (1 - share)
    let rate = numbers.muonRate * (0.2 * Double(max(weight.shape[0], weight.shape[1])).squareRoot())
    self.weight = weight - weight * numbers.muonDecay - Self.orthogonalized(ahead, precision) * rate
    self.momentum = m
  }

  /// Brings the singular values of X near 1 and leaves its singular vectors, by Newton–Schulz: five times
  ///
  ///     X ← (a·I + b·G + c·G²)·X    with G = X·Xᵀ
  ///
  /// of X divided by its norm, with its shorter side on the left.
  private static func orthogonalized(_ matrix: Tensor, _ precision: TensorElement) -> Tensor {
    let isTall = matrix.shape[0] > matrix.shape[1]
    // PyTorch's guard against a gradient of nothing.
    let norm = (matrix * matrix).sum(1).sum(0).squareRoot
    var x = matrix / .maximum(norm, norm.filled(1e-7))
    if isTall { x = x.transposed([1, 0]) }
    for _ in 0..<5 {
      let rounded = x.converted(to: precision)
      let gram = rounded.timesTransposed(rounded)
      let half = gram.converted(to: precision)
      let polynomial = gram * -4.775 + half.timesMatrix(half) * 2.0315
      x = x * 3.4445 + polynomial.converted(to: precision).timesMatrix(rounded)
    }
    return isTall ? x.transposed([1, 0]) : x
  }
}
