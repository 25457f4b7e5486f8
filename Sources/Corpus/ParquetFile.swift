import Parquet
import Storage

/// The rows of a Parquet file, which is mapped into memory.
final class ParquetFile: RowWriter {
  /// Bytes that are read before the kernel may take their memory back.
  private static let releasedTogether = 1 << 26

  private let file: MappedFile
  private var rows: ParquetRows
  private var bytesReleased = 0

  /// - Throws: `FileError`; `CorpusError` for a file that is damaged, or has what is not read.
  init(_ path: String) throws {
    file = try MappedFile(path)
    do throws(ParquetError) { rows = try ParquetRows(file.bytes) } catch { throw CorpusError("\(path) \(error)") }
  }

  var fileBytesRead: Int { min(rows.bytesRead, file.bytes.count) }

  func appendRow(to line: inout [UInt8]) throws {
    do throws(ParquetError) { _ = try rows.next(into: &line) } catch { throw CorpusError("\(file.path) \(error)") }
    guard rows.bytesRead - bytesReleased >= Self.releasedTogether else { return }
    bytesReleased = rows.bytesRead
    // Columns lie one after another, so no part of the file is done with before a row group is.
    file.release(0..<file.bytes.count)
  }
}
