import Programs

/// The loss of each row, log Σ e^z - z[target].
///
///     z̄ = w·(softmax(z) - [target])
package struct CrossEntropy {
  /// e^(z - max) and its sum, [rows, vocabulary] and [rows, 1]
  private let exponentials, sum: Tensor
  /// [rows, vocabulary] 1 at the target, else 0.
  private let isTarget: Tensor
  /// [rows, 1] in nats.
  package let losses: Tensor

  /// - Parameters:
  ///   - logits: z, float32, [rows, vocabulary].
  ///   - targets: int32, [rows, 1].
  package init(logits: Tensor, targets: Tensor) {
    let maximum = logits.maximum(1)
    exponentials = (logits - maximum).exponential
    sum = exponentials.sum(1)
    isTarget = (logits.indices(1) .== targets).float32
    losses = sum.logarithm + maximum - (logits * isTarget).sum(1)
  }

  /// - Parameter weights: w, [rows, 1].
  /// - Returns: the gradient of Σ w · loss with respect to the logits.
  package func backward(weights: Tensor) -> Tensor { (exponentials / sum - isTarget) * weights }
}
