import Storage

/// Rows of a batch, or of a sequence, that do not come from the embedding table: what an encoder makes of an image.
package struct EmbeddedSpan: Sendable, Equatable {
  /// The rows that it fills.
  package private(set) var rows: Range<Int>
  /// [rows, hiddenSize] what they hold, fp32.
  package let values: [Float]
  /// SHA-256 of `values`, in hexadecimal. The tokens in such rows are placeholders, so a comparison of prompts compares this as
  /// well.
  package let digest: String

  /// - Precondition: there are rows, and `values` is a whole number of columns for each.
  package init(rows: Range<Int>, values: [Float]) {
    precondition(
      !rows.isEmpty && !values.isEmpty && values.count % rows.count == 0,
      "\(values.count) values for \(rows.count) rows")
    self.rows = rows
    self.values = values
    digest = values.withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  /// hiddenSize
  package var columns: Int { values.count / rows.count }

  /// What one of the rows holds, [hiddenSize].
  package func values(ofRow row: Int) -> ArraySlice<Float> {
    values[(row - rows.lowerBound) * columns..<(row - rows.lowerBound + 1) * columns]
  }

  package mutating func move(by distance: Int) { rows = rows.lowerBound + distance..<rows.upperBound + distance }
}
