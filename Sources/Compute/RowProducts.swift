import CKernels
import Machine

/// Rows of activations as products with weights of one type read them. Valid until the scratch that made them makes others.
package struct RowInput {
  fileprivate let base: UnsafeRawPointer
  package let rows: Int
  package let columns: Int
  /// Of the weights.
  fileprivate let type: WeightType
  fileprivate let strideBytes: Int
  fileprivate let aside: MatrixView
}

/// Working memory of one worker for products of rows with weights.
package final class RowScratch {
  private let maximumRows: Int
  private let maximumColumns: Int
  private let input: AlignedBuffer
  private let aside: AlignedBuffer

  /// - Parameters:
  ///   - rows: the most rows of a product.
  ///   - columns: the most columns of its weights.
  /// - Throws: `OutOfMemoryError`.
  package init(rows: Int, columns: Int) throws(OutOfMemoryError) {
    maximumRows = rows
    maximumColumns = columns
    // A block of 32 takes less than as many floats.
    input = try AlignedBuffer(byteCount: max(1, rows * (columns + 31) / 32 * 32 * 4))
    aside = try AlignedBuffer(byteCount: rows * RowScratch.panelRows * 4)
  }

  /// Rows of weights whose products go to scratch memory together.
  fileprivate static let panelRows = 64

  /// The rows for products with weights of a type: as they are, rounded to bfloat16, or as whole numbers of eight bits with
  /// a scale for each 32.
  ///
  /// - Parameter rows: [rows, columns], of either type; bfloat16 never with float32 weights. Must not change while the
  ///   result is in use.
  package func prepare(_ rows: MatrixView, for type: WeightType) -> RowInput {
    precondition(
      rows.rows <= maximumRows && rows.columns <= maximumColumns
        && (type != .float32 || rows.type == .float32),
      "[\(rows.rows), \(rows.columns)] rows of \(rows.type) for weights of \(type)")
    let units = type.units(rows.columns)
    let unitBytes = type.isQuantized ? MemoryLayout<CKInputBlock>.stride : 4
    var result = (base: UnsafeRawPointer(input.base), strideBytes: units * unitBytes)
    switch type {
    case .float32: result = (UnsafeRawPointer(rows.base), 4 * rows.rowStride)
    case .bfloat16:
      if rows.type == .bfloat16 && rows.columns % 2 == 0 {
        result = (UnsafeRawPointer(rows.base), 2 * rows.rowStride)
      } else {
        let target = MatrixView(
          input.base, rows: rows.rows, columns: rows.columns, rowStride: 2 * units, type: .bfloat16)
        convert(rows, to: target)
        if rows.columns % 2 == 1 {
          for row in 0..<rows.rows { (target.row(row) + 2 * rows.columns).storeBytes(of: 0, as: UInt16.self) }
        }
      }
    case .q8, .q4:
      let blocks = input.base.assumingMemoryBound(to: CKInputBlock.self)
      for row in 0..<rows.rows {
        ckQuantizeInput(rows.type == .bfloat16, type == .q4, rows.row(row), rows.columns, blocks + row * units)
      }
    }
    return RowInput(
      base: result.base, rows: rows.rows, columns: rows.columns, type: type, strideBytes: result.strideBytes,
      aside: MatrixView(aside.base, rows: rows.rows, columns: Self.panelRows, type: .float32))
  }
}

/// y = x·Wᵀ, or y += x·Wᵀ, for any number of rows x.
///
/// A weight is read once for a handful of rows, so that with one row the time is that of reading W from memory, and with many
/// that of arithmetic. The arithmetic of a number of y, and so its bits, depends on its own row of x and of W only: neither
/// on how many rows there are nor on how W is divided among workers. Sums are in fp32; those of q8 and q4 are exact
/// within each 32 columns.
///
/// - Parameters:
///   - weights: W, [outputs, columns].
///   - input: x, [rows, columns], prepared for the type of `weights`.
///   - output: y, [rows, outputs], of either type, overwritten, or float32 and added to if `accumulates`.
package func multiplyRows(
  _ weights: WeightMatrix, _ input: RowInput, into output: MatrixView, accumulates: Bool = false
) {
  precondition(
    weights.columns == input.columns && weights.type == input.type && output.rows == input.rows
      && output.columns == weights.rows && (output.type == .float32 || !accumulates),
    "[\(input.rows), \(input.columns)] rows times weights of [\(weights.rows), \(weights.columns)] into "
      + "[\(output.rows), \(output.columns)] of \(output.type)")
  guard input.rows > 0 else { return }
  // Whole tiles go into floats as they are. Elsewhere sums go to scratch memory first, some at a time.
  let direct = output.type == .float32 ? weights.rows / WeightType.tileRows * WeightType.tileRows : 0
  if direct > 0 { multiplyTiles(weights.rows(0..<direct), input, into: output, accumulates) }
  for start in stride(from: direct, to: weights.rows, by: RowScratch.panelRows) {
    let outputs = start..<min(weights.rows, start + RowScratch.panelRows)
    let target = output.columns(outputs)
    let sums = input.aside.columns(0..<outputs.count)
    if accumulates { convert(target, to: sums) }
    multiplyTiles(weights.rows(outputs), input, into: input.aside, accumulates)
    convert(sums, to: target)
  }
}

/// The product with whole tiles, into as many whole vectors of floats.
private func multiplyTiles(
  _ weights: WeightMatrix, _ input: RowInput, into output: MatrixView, _ accumulates: Bool
) {
  let tiles = (weights.rows + WeightType.tileRows - 1) / WeightType.tileRows
  let units = weights.type.units(weights.columns)
  if weights.type.isQuantized {
    ckQuantizedProduct(
      weights.type == .q4, input.rows, units, tiles, input.base.assumingMemoryBound(to: CKInputBlock.self),
      weights.base, output.floats, output.rowStride, accumulates)
  } else {
    ckPackedProduct(
      weights.type == .bfloat16, input.rows, units, tiles, input.base, input.strideBytes, weights.base,
      output.floats, output.rowStride, accumulates)
  }
}
