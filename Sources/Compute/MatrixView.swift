import Model

/// A matrix [rows, columns] in memory that the caller owns: row-major, rows `rowStride` elements apart.
///
/// - Unchecked Sendable: a view is an address and a shape. A caller that hands one to several workers gives each of
///   them its own rows or columns to write, and keeps the owner alive until all are done.
package struct MatrixView: @unchecked Sendable {
  package var base: UnsafeMutableRawPointer
  package var rows: Int
  package var columns: Int
  /// Elements from one row to the next; at least `columns`.
  package var rowStride: Int
  package var type: ElementType

  package init(_ base: UnsafeMutableRawPointer, rows: Int, columns: Int, rowStride: Int? = nil, type: ElementType) {
    let stride = rowStride ?? columns
    precondition(rows >= 0 && columns >= 0 && stride >= columns, "a matrix of [\(rows), \(columns)], stride \(stride)")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.rowStride = stride
    self.type = type
  }

  package init(_ base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, rowStride: Int? = nil) {
    self.init(UnsafeMutableRawPointer(base), rows: rows, columns: columns, rowStride: rowStride, type: .float32)
  }

  /// The first element of a row.
  package func row(_ row: Int) -> UnsafeMutableRawPointer { base + row * rowStride * type.byteCount }

  /// Some of the rows, all columns.
  package func rows(_ range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
    var view = self
    view.base = row(range.lowerBound)
    view.rows = range.count
    return view
  }

  /// Some of the columns, all rows.
  package func columns(_ range: Range<Int>) -> MatrixView {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
    var view = self
    view.base = base + range.lowerBound * type.byteCount
    view.columns = range.count
    return view
  }

  /// The elements as Float; only for a `float32` matrix.
  package var floats: UnsafeMutablePointer<Float> {
    precondition(type == .float32, "the matrix holds \(type.rawValue)")
    return base.assumingMemoryBound(to: Float.self)
  }
}
