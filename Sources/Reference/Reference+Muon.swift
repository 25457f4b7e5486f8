extension Reference {
  /// One step of Muon for one matrix, as PyTorch's `torch.optim.Muon` states it, with Nesterov's look ahead and the
  /// rate adjusted to match AdamW's root mean square.
  @inlinable
  package static func muonStep<Scalar: BinaryFloatingPoint>(
    parameters: inout [Scalar], gradients: [Scalar], momentum: inout [Scalar], rows: Int, columns: Int,
    learningRate: Scalar, momentumShare: Scalar, weightDecay: Scalar
  ) {
    var update = gradients
    for index in parameters.indices {
      momentum[index] += (1 - momentumShare) * (gradients[index] - momentum[index])
      update[index] += momentumShare * (momentum[index] - gradients[index])
    }
    let orthogonal = orthogonalized(update, rows: rows, columns: columns)
    let rate = learningRate * 0.2 * Scalar(max(rows, columns)).squareRoot()
    for index in parameters.indices {
      parameters[index] *= 1 - learningRate * weightDecay
      parameters[index] -= rate * orthogonal[index]
    }
  }

  /// Five iterations of Newton–Schulz with the quintic of `quintic`, on a matrix divided by its norm.
  @inlinable
  package static func orthogonalized<Scalar: BinaryFloatingPoint>(
    _ matrix: [Scalar], rows: Int, columns: Int
  ) -> [Scalar] {
    if rows > columns {
      return transposed(
        orthogonalized(transposed(matrix, rows: rows, columns: columns), rows: columns, columns: rows),
        rows: columns, columns: rows)
    }
    let norm = matrix.reduce(0) { $0 + $1 * $1 }.squareRoot()
    var x = matrix.map { $0 / max(norm, 1e-7) }
    for _ in 0..<5 {
      let gram = multiply(x, x, bTransposed: true, rows: rows, inner: columns, columns: rows)
      let gramX = multiply(gram, x, rows: rows, inner: rows, columns: columns)
      let gramGramX = multiply(gram, gramX, rows: rows, inner: rows, columns: columns)
      for index in x.indices { x[index] = 3.4445 * x[index] - 4.775 * gramX[index] + 2.0315 * gramGramX[index] }
    }
    return x
  }

  /// What the iterations make of a singular value.
  @inlinable
  package static func quintic(_ value: Double) -> Double {
    (0..<5).reduce(value) { s, _ in 3.4445 * s - 4.775 * s * s * s + 2.0315 * s * s * s * s * s }
  }

  @inlinable
  static func transposed<Scalar>(_ matrix: [Scalar], rows: Int, columns: Int) -> [Scalar] {
    (0..<columns).flatMap { column in (0..<rows).map { matrix[$0 * columns + column] } }
  }
}
