extension Reference {
  /// left·right, either of them transposed first.
  ///
  /// - Parameters:
  ///   - left: [rows, inner], or [inner, rows] if transposed.
  ///   - right: [inner, columns], or [columns, inner] if transposed.
  /// - Returns: [rows, columns].
  @inlinable
  package static func multiply<Scalar: BinaryFloatingPoint>(
    _ left: [Scalar], aTransposed leftIsTransposed: Bool = false,
    _ right: [Scalar], bTransposed rightIsTransposed: Bool = false, rows: Int, inner: Int, columns: Int
  ) -> [Scalar] {
    var result = [Scalar](repeating: 0, count: rows * columns)
    for row in 0..<rows {
      for column in 0..<columns {
        var sum: Scalar = 0
        for index in 0..<inner {
          let a = leftIsTransposed ? left[index * rows + row] : left[row * inner + index]
          let b = rightIsTransposed ? right[column * inner + index] : right[index * columns + column]
          sum += a * b
        }
        result[row * columns + column] = sum
      }
    }
    return result
  }
}
