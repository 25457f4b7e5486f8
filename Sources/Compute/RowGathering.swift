/// Copies rows of `source` side by side: row i of the result is row `rows[i]`, or zero where that is negative.
///
/// - Parameters:
///   - source: [any, columns].
///   - rows: [target.rows].
///   - target: [rows, columns] of the same type, overwritten.
package func gatherRows(_ source: MatrixView, _ rows: UnsafePointer<Int32>, into target: MatrixView) {
  precondition(source.type == target.type && source.columns == target.columns, "rows of another shape")
  let byteCount = target.columns * target.type.byteCount
  for row in 0..<target.rows {
    let from = Int(rows[row])
    if from < 0 {
      target.row(row).initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    } else {
      precondition(from < source.rows, "row \(from) of \(source.rows)")
      target.row(row).copyMemory(from: source.row(from), byteCount: byteCount)
    }
  }
}

/// Copies row i of `source` to row `rows[i]` of `target`; rows with a negative number go nowhere.
///
/// - Parameters:
///   - source: [rows, columns].
///   - target: [any, columns] of the same type.
package func scatterRows(_ source: MatrixView, _ rows: UnsafePointer<Int32>, into target: MatrixView) {
  precondition(source.type == target.type && source.columns == target.columns, "rows of another shape")
  for row in 0..<source.rows where rows[row] >= 0 {
    let to = Int(rows[row])
    precondition(to < target.rows, "row \(to) of \(target.rows)")
    target.row(to).copyMemory(from: source.row(row), byteCount: source.columns * source.type.byteCount)
  }
}

/// Adds row i of `source` to row `rows[i]` of `target`, one after another; rows with a negative number go nowhere.
///
/// - Parameters:
///   - source: float32, [rows, columns].
///   - target: float32, [any, columns], added to.
package func scatterAddRows(_ source: MatrixView, _ rows: UnsafePointer<Int32>, into target: MatrixView) {
  precondition(source.columns == target.columns, "rows of another shape")
  for row in 0..<source.rows where rows[row] >= 0 {
    let to = Int(rows[row])
    addRows(source.rows(row..<row + 1), into: target.rows(to..<to + 1))
  }
}
