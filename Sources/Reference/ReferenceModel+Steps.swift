import Model

/// The steps that the model's page is written in: products, norms and rotations by the names of weights, and matrices
/// put side by side.
extension ReferenceModel {
  func weight(_ key: String) -> [Double] { Array(weights[entry(key).range]) }

  private func entry(_ key: String) -> ParameterEntry {
    guard let entry = table.entry(key) else { preconditionFailure("the model has no weight named \(key)") }
    return entry
  }

  /// Of what comes out of a product with the matrix.
  func columns(_ key: String) -> Int { entry(key).shape[0] }

  /// The matrix that makes logits.
  var outputKey: String { shape.tiesEmbeddings ? ParameterKey.embedding : ParameterKey.output(shape) }

  mutating func accumulate(_ gradient: [Double], _ key: String) {
    for (index, value) in zip(entry(key).range, gradient) { gradients[index] += value }
  }

  /// y = x·Wᵀ + b: x [rows, inputs], W [outputs, inputs], y [rows, outputs].
  ///
  /// - Parameter bias: the key of b, [outputs]; nothing is added where the model has no such weight.
  func project(_ x: [Double], _ key: String, bias: String? = nil) -> [Double] {
    let (outputs, inputs) = (entry(key).shape[0], entry(key).shape[1])
    let y = Reference.multiply(
      x, weight(key), bTransposed: true, rows: x.count / inputs, inner: inputs, columns: outputs)
    guard let b = bias.flatMap({ table.entry($0) }) else { return y }
    return y.indices.map { y[$0] + weights[b.offset + $0 % outputs] }
  }

  /// W̄ += ȳᵀ·x, and b̄ += Σ ȳ over rows
  ///
  /// - Returns: x̄ = ȳ·W.
  mutating func projectBackward(_ dY: [Double], _ x: [Double], _ key: String, bias: String? = nil) -> [Double] {
    let (outputs, inputs) = (entry(key).shape[0], entry(key).shape[1])
    let rows = x.count / inputs
    if let b = bias.flatMap({ table.entry($0) }) {
      for (index, value) in dY.enumerated() { gradients[b.offset + index % outputs] += value }
    }
    accumulate(
      Reference.multiply(dY, aTransposed: true, x, rows: outputs, inner: rows, columns: inputs), key)
    return Reference.multiply(dY, weight(key), rows: rows, inner: outputs, columns: inputs)
  }

  /// RMSNorm of rows as wide as the weight: of tokens, or of heads.
  func normalize(_ x: [Double], _ key: String) -> Normalized {
    let (output, reciprocals) = Reference.rmsNormForward(
      input: x, weight: weight(key), epsilon: Double(shape.rmsNormEpsilon))
    return Normalized(input: x, output: output, reciprocals: reciprocals)
  }

  mutating func normalizeBackward(_ dOutput: [Double], _ norm: Normalized, _ key: String) -> [Double] {
    let (dInput, dWeight) = Reference.rmsNormBackward(
      dOutput: dOutput, input: norm.input, weight: weight(key), reciprocalRootMeanSquare: norm.reciprocals)
    accumulate(dWeight, key)
    return dInput
  }

  /// [T][d/2] the angles of each document's tokens: position times the frequency of each pair.
  func angles(_ documentOffsets: [Int]) -> [[Double]] {
    documents(documentOffsets).flatMap { document in
      let frequencies = shape.rotarySettings().frequencies(length: document.count)
      return (0..<document.count).map { position in frequencies.map { Double(position) * $0 } }
    }
  }

  /// Turns every head by its token's angles; direction -1 turns back.
  func rotate(_ heads: [Double], _ angles: [[Double]], direction: Double = 1) -> [Double] {
    Reference.rotary(
      heads, width: heads.count / max(angles.count, 1), headSize: shape.headSize, angles: angles,
      amplitude: shape.rotarySettings().amplitude, direction: direction)
  }

  func attentionShape(_ documentOffsets: [Int]) -> Reference.AttentionShape {
    Reference.AttentionShape(
      headCount: shape.headCount, keyValueHeadCount: shape.keyValueHeadCount, headSize: shape.headSize,
      documentOffsets: documentOffsets)
  }

  /// [T] how much an expert counts for each token: 0 where it was not chosen.
  func shares(of expert: Int, _ routing: Reference.Routing<Double>) -> [Double] {
    zip(routing.experts, routing.weights).map { chosen, weights in
      chosen.firstIndex(of: expert).map { weights[$0] } ?? 0
    }
  }

  func documents(_ offsets: [Int]) -> [Range<Int>] { zip(offsets, offsets.dropFirst()).map { $0..<$1 } }

  /// [documents] Σ loss weight: how much the balance of experts counts in each.
  func documentWeights(_ batch: Batch) -> [Double] {
    (0..<batch.documentCount).map { batch.rows(ofDocument: $0).reduce(0) { $0 + Double(batch.lossWeights[$1]) } }
  }

  // MARK: - Matrices

  func add(_ values: [Double], to sum: inout [Double]) {
    for index in sum.indices { sum[index] += values[index] }
  }

  /// Every row times a number of its own.
  func scaleRows(_ matrix: [Double], _ factors: [Double]) -> [Double] {
    let width = matrix.count / max(factors.count, 1)
    return matrix.indices.map { matrix[$0] * factors[$0 / width] }
  }

  /// Rows of several matrices joined to longer rows.
  func sideBySide(_ matrices: [[Double]], rows: Int) -> [Double] {
    (0..<rows).flatMap { row in
      matrices.flatMap { matrix in
        let width = matrix.count / rows
        return matrix[row * width..<(row + 1) * width]
      }
    }
  }

  /// The matrices of these widths that `sideBySide` joined.
  func apart(_ matrix: [Double], widths: [Int]) -> [[Double]] {
    let width = widths.reduce(0, +)
    var first = 0
    return widths.map { part in
      defer { first += part }
      return stride(from: first, to: matrix.count, by: width).flatMap { matrix[$0..<$0 + part] }
    }
  }
}
