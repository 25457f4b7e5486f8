/// One row in a block: where its bytes are and on which line of the file it starts.
package struct Record: Equatable {
  package var offset: Int
  package var count: Int
  package var line: Int
}

/// Finds the ends of rows. Holds no state between calls: a call starts at the start of a row.
package enum RecordScanner {
  /// Cuts `bytes` into whole rows.
  ///
  /// - Parameters:
  ///   - separator: what separates the fields of CSV.
  ///   - isLast: `bytes` reach to the end of the file, so that what is left at the end is a row as well.
  ///   - line: the line number of the first byte; on return, of the first byte not consumed.
  /// - Returns: how many bytes the rows took, separators included.
  package static func scan(
    _ bytes: UnsafeRawBufferPointer, format: InputFormat, separator: UInt8 = .comma, isLast: Bool,
    line: inout Int,
    into records: inout [Record]
  ) -> Int {
    switch format {
    case .jsonLines, .text, .parquet, .tar: scanLines(bytes, isLast: isLast, line: &line, into: &records)
    case .csv: scanCSV(bytes, separator: separator, isLast: isLast, line: &line, into: &records)
    case .json: scanJSON(bytes, isLast: isLast, line: &line, into: &records)
    case .wholeFile, .markdown: scanWhole(bytes, isLast: isLast, line: line, into: &records)
    }
  }

  private static func scanWhole(
    _ bytes: UnsafeRawBufferPointer, isLast: Bool, line: Int, into records: inout [Record]
  ) -> Int {
    guard isLast else { return 0 }
    if !bytes.isEmpty { records.append(Record(offset: 0, count: bytes.count, line: line)) }
    return bytes.count
  }

  private static func scanLines(
    _ bytes: UnsafeRawBufferPointer, isLast: Bool, line: inout Int, into records: inout [Record]
  ) -> Int {
    var start = 0
    while start < bytes.count {
      let end = nextNewline(in: bytes, from: start)
      guard let stop = end ?? (isLast ? bytes.count : nil) else { break }
      var count = stop - start
      if count > 0 && bytes[start + count - 1] == .carriageReturn { count -= 1 }
      records.append(Record(offset: start, count: count, line: line))
      if end != nil { line += 1 }
      start = end.map { $0 + 1 } ?? bytes.count
    }
    return start
  }

  /// A quote opens a quoted field only as its first byte, as in Python's `csv`; inside, a doubled quote is one quote.
  private static func scanCSV(
    _ bytes: UnsafeRawBufferPointer, separator: UInt8, isLast: Bool, line: inout Int,
    into records: inout [Record]
  ) -> Int {
    var start = 0
    var position = 0
    var lines = 0  // newlines inside the current record
    var isFieldStart = true
    var isQuoted = false
    while position < bytes.count {
      let byte = bytes[position]
      if isQuoted {
        if byte == .quote {
          // At the end of the bytes a lone quote may yet be doubled by what follows.
          if position + 1 == bytes.count && !isLast { return start }
          if position + 1 < bytes.count && bytes[position + 1] == .quote { position += 1 } else { isQuoted = false }
        } else if byte == .newline {
          lines += 1
        }
      } else if byte == .quote && isFieldStart {
        isQuoted = true
        isFieldStart = false
      } else if byte == .newline {
        var count = position - start
        if count > 0 && bytes[position - 1] == .carriageReturn { count -= 1 }
        records.append(Record(offset: start, count: count, line: line))
        line += lines + 1
        lines = 0
        start = position + 1
        isFieldStart = true
      } else {
        isFieldStart = byte == separator
      }
      position += 1
    }
    if isLast && start < bytes.count {
      records.append(Record(offset: start, count: bytes.count - start, line: line))
      line += lines
      start = bytes.count
    }
    return start
  }

  /// Objects of an array, or objects one after another: the outer brackets and commas are only separators.
  private static func scanJSON(
    _ bytes: UnsafeRawBufferPointer, isLast: Bool, line: inout Int, into records: inout [Record]
  ) -> Int {
    var start = 0
    while start < bytes.count {
      switch bytes[start] {
      case .newline:
        line += 1
        start += 1
      case 0x20, 0x09, .carriageReturn, .comma, .openBracket, .closeBracket: start += 1
      default:
        var lines = 0
        guard let end = endOfJSONValue(bytes, from: start, lines: &lines) ?? (isLast ? bytes.count : nil) else {
          return start
        }
        records.append(Record(offset: start, count: end - start, line: line))
        line += lines
        start = end
      }
    }
    return start
  }

  /// One past an object that starts at `start`; for anything else, the end of its line.
  private static func endOfJSONValue(_ bytes: UnsafeRawBufferPointer, from start: Int, lines: inout Int) -> Int? {
    guard bytes[start] == .openBrace else { return nextNewline(in: bytes, from: start) }
    var depth = 0
    var position = start
    var isString = false
    while position < bytes.count {
      let byte = bytes[position]
      if byte == .newline { lines += 1 }
      if isString {
        if byte == .backslash { position += 1 } else if byte == .quote { isString = false }
      } else if byte == .quote {
        isString = true
      } else if byte == .openBrace || byte == .openBracket {
        depth += 1
      } else if byte == .closeBrace || byte == .closeBracket {
        depth -= 1
        if depth == 0 { return position + 1 }
      }
      position += 1
    }
    return nil
  }
}

/// The bytes that mean something in the formats of rows.
extension UInt8 {
  static var newline: UInt8 { UInt8(ascii: "\n") }
  static var carriageReturn: UInt8 { UInt8(ascii: "\r") }
  static var quote: UInt8 { UInt8(ascii: "\"") }
  package static var comma: UInt8 { UInt8(ascii: ",") }
  fileprivate static var openBracket: UInt8 { UInt8(ascii: "[") }
  fileprivate static var closeBracket: UInt8 { UInt8(ascii: "]") }
  fileprivate static var openBrace: UInt8 { UInt8(ascii: "{") }
  fileprivate static var closeBrace: UInt8 { UInt8(ascii: "}") }
  fileprivate static var backslash: UInt8 { UInt8(ascii: "\\") }
}
