/// What makes rows of a file that is no text.
protocol RowWriter: AnyObject {
  /// Appends the next row, a line of JSON with a newline, or nothing after the last.
  ///
  /// - Throws: `FileError` or `CorpusError`, with the file's name.
  func appendRow(to line: inout [UInt8]) throws
  /// Bytes of the file that have been read so far.
  var fileBytesRead: Int { get }
}

/// Rows one after another, as bytes. Memory: a row.
final class RowSource: ByteSource {
  private let rows: any RowWriter
  private var pending: [UInt8] = []
  private var start = 0

  init(_ rows: any RowWriter) { self.rows = rows }

  var fileBytesRead: Int { rows.fileBytesRead }

  func read(into room: UnsafeMutableRawBufferPointer) throws -> Int {
    if start == pending.count {
      pending.removeAll(keepingCapacity: true)
      start = 0
      try rows.appendRow(to: &pending)
    }
    let count = min(room.count, pending.count - start)
    room.copyBytes(from: pending[start..<start + count])
    start += count
    return count
  }
}
