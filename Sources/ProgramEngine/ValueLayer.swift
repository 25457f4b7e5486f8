import Programs

/// The values of rows: their products with a vector, the value head.
struct ValueLayer {
  private let rows, head: Tensor
  /// [rows]
  let values: Tensor

  /// - Parameters:
  ///   - rows: x, [rows, hidden].
  ///   - head: w, [1, hidden].
  init(_ rows: Tensor, head: Tensor) {
    (self.rows, self.head) = (rows, head)
    values = (rows * head).sum(1).reshaped([rows.shape[0]])
  }

  /// x̄ₜ = cₜ·w and w̄ = Σ cₜ·xₜ.
  ///
  /// - Parameter weights: c, [rows] how much each value counts.
  /// - Returns: [rows, hidden] and [hidden].
  func backward(weights: Tensor) -> (dRows: Tensor, dHead: Tensor) {
    let counts = weights.reshaped([rows.shape[0], 1])
    return (counts * head, (counts * rows).sum(0).reshaped([rows.shape[1]]))
  }
}
