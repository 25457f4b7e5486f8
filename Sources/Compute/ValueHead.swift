import Model
import VectorMath

/// v = x·w for each row: one number beside the logits.
///
/// - Parameters:
///   - rows: x, [rows, columns], float32 or bfloat16.
///   - head: w, [columns].
///   - values: v, [rows], overwritten.
package func valueForward(rows: MatrixView, head: UnsafePointer<Float>, values: UnsafeMutablePointer<Float>) {
  switch rows.type {
  case .float32: valueForward(rows, head, values, Float.self)
  case .bfloat16: valueForward(rows, head, values, BFloat16.self)
  }
}

/// The gradients of Σ weight·v: x̄ += weight·w and w̄ += weight·x.
///
/// - Parameters:
///   - rows: x, [rows, columns], float32 or bfloat16.
///   - head: w, [columns].
///   - weights: [rows].
///   - dRows: x̄, float32, [rows, columns], added to.
///   - dHead: w̄, [columns], added to. Rows divided among workers need one accumulator for each worker, added up in a fixed order.
package func valueBackward(
  rows: MatrixView, head: UnsafePointer<Float>, weights: UnsafePointer<Float>, dRows: MatrixView,
  dHead: UnsafeMutablePointer<Float>
) {
  precondition(
    dRows.type == .float32 && dRows.rows == rows.rows && dRows.columns == rows.columns,
    "values of [\(rows.rows), \(rows.columns)] with gradients [\(dRows.rows), \(dRows.columns)]")
  switch rows.type {
  case .float32: valueBackward(rows, head, weights, dRows, dHead, Float.self)
  case .bfloat16: valueBackward(rows, head, weights, dRows, dHead, BFloat16.self)
  }
}

private func valueForward<Element: VectorElement>(
  _ rows: MatrixView, _ head: UnsafePointer<Float>, _ values: UnsafeMutablePointer<Float>, _: Element.Type
) {
  for row in 0..<rows.rows {
    let x = UnsafePointer(rows.row(row, of: Element.self))
    var sums = FourSums()
    @inline(__always) func multiply(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      sum.addProduct(Element.load(x + start, lanes), Float.load(head + start, lanes))
    }
    sums.add(rows.columns, multiply)
    values[row] = sums.total
  }
}

private func valueBackward<Element: VectorElement>(
  _ rows: MatrixView, _ head: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ dRows: MatrixView,
  _ dHead: UnsafeMutablePointer<Float>, _: Element.Type
) {
  for row in 0..<rows.rows where weights[row] != 0 {
    let x = UnsafePointer(rows.row(row, of: Element.self))
    let dX = dRows.row(row, of: Float.self)
    let weight = SIMD16(repeating: weights[row])
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Float.store(
        Float.load(dX + start, lanes).addingProduct(weight, Float.load(head + start, lanes)), to: dX + start, lanes)
      Float.store(
        Float.load(dHead + start, lanes).addingProduct(weight, Element.load(x + start, lanes)), to: dHead + start, lanes
      )
    }
    forEachSixteen(rows.columns, step)
  }
}
