/// Splits a CSV record into its fields (RFC 4180). Reusing one value allocates nothing a record after warm-up.
package struct CSVFields {
  /// The fields' bytes one after another, quotes resolved.
  private var bytes: [UInt8] = []
  /// Where each field ends in `bytes`.
  private var ends: [Int] = []

  package init() {}

  package var count: Int { ends.count }

  /// Reads `record`, without its line end, whose fields `separator` separates.
  ///
  /// As in Python's `csv`, a quote inside an unquoted field is a plain character, and text after the
  /// closing quote of a field is kept.
  package mutating func parse(_ record: UnsafeRawBufferPointer, separator: UInt8 = .comma)
    throws(RowProblem)
  {
    bytes.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    var position = 0
    while true {
      if position < record.count && record[position] == .quote {
        position += 1
        while true {
          guard position < record.count else { throw RowProblem(Self.unclosed(record)) }
          let byte = record[position]
          position += 1
          if byte == .quote {
            guard position < record.count && record[position] == .quote else { break }
            position += 1
          }
          bytes.append(byte)
        }
      }
      while position < record.count && record[position] != separator {
        bytes.append(record[position])
        position += 1
      }
      ends.append(bytes.count)
      guard position < record.count else { return }
      position += 1
    }
  }

  private static func unclosed(_ record: UnsafeRawBufferPointer) -> String {
    let lines = record.count { $0 == .newline } + 1
    return "a quoted field is not closed" + (lines > 1 ? " and takes all \(lines) lines to the end of the file" : "")
  }

  /// Calls `body` with the bytes of field `index`, which must be below `count`.
  package func withField<Result, Failure: Error>(
    _ index: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let start = index == 0 ? 0 : ends[index - 1]
    let end = ends[index]
    return try bytes.withUnsafeBufferPointer { (all) throws(Failure) in
      try body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(all)[start..<end]))
    }
  }

  package func string(_ index: Int) -> String { withField(index) { String(decoding: $0, as: UTF8.self) } }
}
