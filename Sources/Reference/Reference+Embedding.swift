extension Reference {
  /// The row of the table [vocabulary, width] for each token.
  @inlinable
  package static func embeddingForward<Scalar: BinaryFloatingPoint>(
    tokens: [Int], table: [Scalar], width: Int
  ) -> [Scalar] {
    tokens.flatMap { token in table[token * width..<(token + 1) * width] }
  }

  /// The gradient of the table; tokens below 0 are rows that did not come from it.
  @inlinable
  package static func embeddingBackward<Scalar: BinaryFloatingPoint>(
    tokens: [Int], dOutput: [Scalar], vocabulary: Int, width: Int
  ) -> [Scalar] {
    var dTable = [Scalar](repeating: 0, count: vocabulary * width)
    for (row, token) in tokens.enumerated() where token >= 0 {
      for column in 0..<width { dTable[token * width + column] += dOutput[row * width + column] }
    }
    return dTable
  }
}
