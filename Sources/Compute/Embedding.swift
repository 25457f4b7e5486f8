/// The row of the table for each token, converted to the output's type.
///
/// - Parameters:
///   - tokens: [output.rows], each in 0 ..< table.rows.
///   - table: [vocabulary, columns].
///   - output: [rows, columns], overwritten.
package func embeddingForward(tokens: UnsafePointer<Int32>, table: MatrixView, output: MatrixView) {
  precondition(table.columns == output.columns, "rows of \(table.columns) and \(output.columns)")
  for row in 0..<output.rows {
    let token = checked(tokens[row], table)
    convert(table.rows(token..<token + 1), to: output.rows(row..<row + 1))
  }
}

/// The gradient of `embeddingForward`: dTable[token] += dOutput, token by token in their order.
///
/// A token that occurs twice adds to the same row, so workers divide columns, not rows.
/// - Parameters:
///   - tokens: [dOutput.rows].
///   - dOutput: [rows, columns].
///   - dTable: float32, [vocabulary, columns], added to.
package func embeddingBackward(tokens: UnsafePointer<Int32>, dOutput: MatrixView, dTable: MatrixView) {
  precondition(dTable.columns == dOutput.columns, "rows of \(dTable.columns) and \(dOutput.columns)")
  for row in 0..<dOutput.rows {
    let token = checked(tokens[row], dTable)
    addRows(dOutput.rows(row..<row + 1), into: dTable.rows(token..<token + 1))
  }
}

@inline(__always)
private func checked(_ token: Int32, _ table: MatrixView) -> Int {
  precondition(token >= 0 && Int(token) < table.rows, "token \(token) of \(table.rows)")
  return Int(token)
}
