import Programs

/// x = E[token], or rows from elsewhere in place of some. Ē is the sum of the rows' gradients by token.
package struct Embedding {
  /// Rows that do not come from the table, such as those of an image.
  package struct Outside {
    /// [tokens, 1] booleans, and [tokens, hidden] what these rows hold.
    package var isOutside, values: Tensor

    package init(isOutside: Tensor, values: Tensor) {
      self.isOutside = isOutside
      self.values = values
    }
  }

  private let tokens, table: Tensor
  private let outside: Outside?
  /// x, float32, [tokens, hidden]
  package let output: Tensor

  /// - Parameters:
  ///   - tokens: int32, [tokens].
  ///   - table: E, [vocabulary, hidden].
  package init(tokens: Tensor, table: Tensor, outside: Outside?) {
    self.tokens = tokens
    self.table = table
    self.outside = outside
    let rows = table.rows(tokens).float32
    output = outside.map { $0.values.kept(where: $0.isOutside, else: rows) } ?? rows
  }

  /// - Returns: Ē, [vocabulary, hidden].
  package func backward(_ dOutput: Tensor) -> Tensor {
    let rows = outside.map { dOutput.filled(0).kept(where: $0.isOutside, else: dOutput) } ?? dOutput
    return table.float32.filled(0).adding(rows, toRows: tokens)
  }
}
