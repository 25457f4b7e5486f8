/// Why a Parquet file cannot be read. The sentence goes on where one with the file's name ends: "is damaged: …".
package struct ParquetError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }

  static func damaged(_ what: String) -> ParquetError {
    ParquetError("is damaged or was copied in part: \(what).")
  }

  static func unsupported(_ what: String) -> ParquetError {
    ParquetError(
      "has \(what), which is not read. Write it again, for example with Python's pyarrow: "
        + "pyarrow.parquet.write_table(pyarrow.parquet.read_table(\"FILE\"), \"NEW\")")
  }
}
