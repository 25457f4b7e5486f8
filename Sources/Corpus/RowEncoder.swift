/// Turns the rows of one kind of data into documents. One per thread.
protocol RowEncoder {
  /// What splits the rows into fields.
  var reader: RowReader { get }

  /// Appends the documents of a row, and the row itself, to `output`.
  ///
  /// - Returns: why the row is left out on purpose, and then nothing is appended.
  /// - Throws: what is broken in the row.
  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason?
}
