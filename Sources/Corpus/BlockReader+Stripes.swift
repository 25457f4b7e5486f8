import Foundation
import Storage

extension BlockReader {
  /// The rows of a file that begin in the stripe of `blockBytes` from `start` on; the last may reach beyond it.
  ///
  /// - Parameter countsLines: whether the stripes before this one were read, so that `line` is known.
  func readStripe(from start: Int, of file: InputFile, countsLines: Bool) throws -> Block {
    let end = min(start + blockBytes, file.byteCount)
    // The byte before the stripe says whether a row begins with it.
    let first = max(0, start - 1)
    var memory = StripeMemory(byteCount: end - first)
    var isHandedOver = false
    defer { if !isHandedOver { memory.bytes.deallocate() } }
    try read(from: first, to: end, into: &memory, of: file)

    var rowsStart = start == 0 ? 0 : nextNewline(in: memory.content, from: 0).map { $0 + 1 } ?? memory.count
    if !countsLines { line = 1 }
    let firstLine = line
    var records: [Record] = []
    var oversizedLines: [Int] = []
    if rowsStart < memory.count {
      let oversizedRow = try completeLastRow(&memory, from: first, of: file)
      if start == 0 && memory.content.starts(with: [0xEF, 0xBB, 0xBF]) { rowsStart = 3 }
      let rows = rowsStart..<max(rowsStart, oversizedRow ?? memory.count)
      _ = RecordScanner.scan(
        UnsafeRawBufferPointer(rebasing: memory.content[rows]), format: file.format, isLast: true, line: &line,
        into: &records)
      for index in records.indices { records[index].offset += rowsStart }
      if oversizedRow != nil {
        oversizedLines = [line]
        line += 1
      }
    }
    isHandedOver = true
    return Block(
      file: file, fileIndex: fileIndex, index: blockIndex, records: records,
      bytes: UnsafeRawBufferPointer(memory.bytes), bytesCompleted: bytesBefore + end, oversizedLines: oversizedLines,
      uncountedLines: countsLines ? 0 : line - firstLine)
  }

  /// Reads on, beyond the stripe, to the end of its last row.
  ///
  /// - Returns: where that row begins if it is longer than the reader accepts.
  private func completeLastRow(_ memory: inout StripeMemory, from first: Int, of file: InputFile) throws -> Int? {
    let lastRow = (memory.content.lastIndex(of: .newline) ?? -1) + 1
    var step = 1 << 12
    while memory.count > lastRow, memory.bytes[memory.count - 1] != .newline, first + memory.count < file.byteCount {
      guard memory.count - lastRow < maximumRecordBytes else { return lastRow }
      let end = min(first + memory.count + step, file.byteCount)
      let searched = memory.count
      memory.grow(to: end - first)
      try read(from: first + searched, to: end, into: &memory, of: file)
      if memory.count == searched { break }  // The file has become shorter.
      if let found = nextNewline(in: memory.content, from: searched) { memory.count = found + 1 }
      step *= 2
    }
    return memory.count - lastRow > maximumRecordBytes ? lastRow : nil
  }

  /// Appends a range of the file's bytes; fewer where the file has become shorter.
  private func read(from start: Int, to end: Int, into memory: inout StripeMemory, of file: InputFile) throws {
    var position = start
    while position < end {
      let count = pread(descriptor, memory.bytes.baseAddress! + memory.count, end - position, off_t(position))
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError("cannot read", file.path, errno: errno)
      }
      if count == 0 { return }
      position += count
      memory.count += count
    }
  }
}

/// Bytes of a file, followed by the room that the JSON parser needs.
private struct StripeMemory {
  private(set) var bytes: UnsafeMutableRawBufferPointer
  /// Bytes that are filled.
  var count = 0

  init(byteCount: Int) {
    bytes = .allocate(byteCount: byteCount + RowJSONParser.padding, alignment: 64)
  }

  var content: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[..<count]) }

  /// Makes room for `byteCount` bytes in all.
  mutating func grow(to byteCount: Int) {
    guard byteCount + RowJSONParser.padding > bytes.count else { return }
    let larger = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(byteCount, bytes.count * 3 / 2) + RowJSONParser.padding, alignment: 64)
    larger.copyMemory(from: content)
    bytes.deallocate()
    bytes = larger
  }
}
