/// y = W·x, or y += W·x: the product of decoding one token. Its time is that of reading W once from memory.
///
/// Products and sums are in fp32; the order of a row's sum depends on the number of columns only, so rows may be
/// shared out among workers in any way.
///
/// - Parameters:
///   - matrix: W, [rows, columns], of either type.
///   - vector: x, [columns].
///   - output: y, [rows], overwritten, or added to if `accumulates`; overlaps neither `matrix` nor `vector`.
package func multiplyVector(
  _ matrix: MatrixView, _ vector: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>,
  accumulates: Bool = false
) {
  switch matrix.type {
  case .float32: multiplyVector(matrix, vector, output, accumulates, Float.self)
  case .bfloat16: multiplyVector(matrix, vector, output, accumulates, BFloat16.self)
  }
}

private func multiplyVector<Element: VectorElement>(
  _ matrix: MatrixView, _ vector: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>, _ accumulates: Bool,
  _: Element.Type
) {
  for row in 0..<matrix.rows {
    let weights = UnsafePointer(matrix.row(row, of: Element.self))
    var sums = FourSums()
    @inline(__always) func step(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      sum.addProduct(Element.load(weights + start, lanes), Float.load(vector + start, lanes))
    }
    sums.add(matrix.columns, step)
    output[row] = accumulates ? output[row] + sums.total : sums.total
  }
}
