import Foundation
import Storage

/// Whole rows of one file, together with the bytes that they lie in.
///
/// Sendable: filled by the reader, then handed to one worker and never written again.
package final class Block: @unchecked Sendable {
  package let file: InputFile
  /// The column names of a CSV file.
  let columns: [String]
  package let records: [Record]
  /// The rows, followed by at least `JSONParser.padding` readable bytes. Freed with the block.
  let bytes: UnsafeRawBufferPointer
  /// Bytes of the input that end with this block, over all files.
  let bytesCompleted: Int
  /// Rows that were longer than the reader accepts, by their line.
  package let oversizedLines: [Int]

  init(
    file: InputFile, columns: [String], records: [Record], bytes: UnsafeRawBufferPointer, bytesCompleted: Int,
    oversizedLines: [Int]
  ) {
    self.file = file
    self.columns = columns
    self.records = records
    self.bytes = bytes
    self.bytesCompleted = bytesCompleted
    self.oversizedLines = oversizedLines
  }

  deinit { bytes.deallocate() }

  /// The memory that the block takes.
  var byteCount: Int { bytes.count }

  package func bytes(of record: Record) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.count])
  }
}

/// Reads files one after another as blocks of about `blockBytes`, each ending at the end of a row.
///
/// Memory: one block, which grows past `blockBytes` only for a row that is longer, and never past
/// `maximumRecordBytes`; a row longer than that is skipped and reported.
package final class BlockReader {
  package static let defaultBlockBytes = 1 << 19
  package static let maximumRecordBytes = 1 << 26

  private let files: [InputFile]
  private let blockBytes: Int
  private let maximumRecordBytes: Int
  private var fileIndex = -1
  private var descriptor: Int32 = -1
  private var isAtEnd = true
  private var line = 1
  private var columns: [String] = []
  /// Bytes read so far, over all files.
  private var bytesRead = 0
  private var carry: [UInt8] = []
  /// A row that is too long is being skipped up to the next newline.
  private var isSkipping = false

  package init(
    _ files: [InputFile], blockBytes: Int = defaultBlockBytes, maximumRecordBytes: Int = BlockReader.maximumRecordBytes
  ) {
    self.files = files
    self.blockBytes = blockBytes
    self.maximumRecordBytes = maximumRecordBytes
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The next block, or nil after the last.
  package func next() throws -> Block? {
    while true {
      if isAtEnd && carry.isEmpty {
        guard try openNextFile() else { return nil }
      }
      if let block = try readBlock() { return block }
    }
  }

  private func openNextFile() throws -> Bool {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    fileIndex += 1
    guard fileIndex < files.count else { return false }
    descriptor = open(files[fileIndex].path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot open", files[fileIndex].path, errno: errno) }
    isAtEnd = false
    isSkipping = false
    line = 1
    columns = []
    return true
  }

  /// Reads until there is a whole row. Nil when the file had none left.
  private func readBlock() throws -> Block? {
    let file = files[fileIndex]
    let isFirst = line == 1 && carry.isEmpty && columns.isEmpty
    var capacity = max(blockBytes, carry.count * 2)
    var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity + JSONParser.padding, alignment: 64)
    var isHandedOver = false
    defer { if !isHandedOver { memory.deallocate() } }
    memory.copyBytes(from: carry)
    var count = carry.count
    carry.removeAll(keepingCapacity: true)
    var oversizedLines: [Int] = []
    while true {
      try fill(memory, &count, upTo: capacity, of: file)
      var start = isFirst && count >= 3 && memory.prefix(3).elementsEqual([0xEF, 0xBB, 0xBF]) ? 3 : 0
      if isSkipping { start += skip(UnsafeRawBufferPointer(rebasing: memory[start..<count]), of: file) }
      var records: [Record] = []
      let used = RecordScanner.scan(
        UnsafeRawBufferPointer(rebasing: memory[start..<count]), format: file.format, isLast: isAtEnd, line: &line,
        into: &records)
      if records.isEmpty && !isAtEnd && used + start < count {
        // Not one whole row: read on in a larger block, or give the row up.
        if count - start - used < maximumRecordBytes {
          let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: capacity * 2 + JSONParser.padding, alignment: 64)
          let rest = count - start - used
          larger.copyBytes(from: memory[start + used..<count])
          memory.deallocate()
          memory = larger
          capacity *= 2
          count = rest
        } else {
          oversizedLines.append(line)
          isSkipping = true
          line += memory[(start + used)..<count].count { $0 == newline }
          count = 0
        }
        continue
      }
      if start > 0 { for index in records.indices { records[index].offset += start } }
      carry.append(contentsOf: memory[(start + used)..<count])
      if file.format == .csv && columns.isEmpty, let header = records.first {
        columns = try readHeader(header, of: file, in: UnsafeRawBufferPointer(memory))
        records.removeFirst()
      }
      if records.isEmpty && oversizedLines.isEmpty { return nil }
      isHandedOver = true
      return Block(
        file: file, columns: columns, records: records, bytes: UnsafeRawBufferPointer(memory),
        bytesCompleted: bytesRead - carry.count, oversizedLines: oversizedLines)
    }
  }

  private func fill(
    _ memory: UnsafeMutableRawBufferPointer, _ count: inout Int, upTo capacity: Int, of file: InputFile
  ) throws {
    while !isAtEnd && count < capacity {
      let got = read(descriptor, memory.baseAddress! + count, capacity - count)
      if got < 0 {
        if errno == EINTR { continue }
        throw FileError("cannot read", file.path, errno: errno)
      }
      if got == 0 { isAtEnd = true }
      count += got
      bytesRead += got
    }
  }

  /// Goes past the rest of a row that is too long. Returns the bytes to leave out.
  private func skip(_ bytes: UnsafeRawBufferPointer, of file: InputFile) -> Int {
    guard file.format != .wholeFile, let end = nextNewline(in: bytes, from: 0) else { return bytes.count }
    isSkipping = false
    line += 1
    return end + 1
  }

  private func readHeader(_ header: Record, of file: InputFile, in memory: UnsafeRawBufferPointer) throws -> [String] {
    var parser = CSVFields()
    do throws(RowProblem) {
      try parser.parse(UnsafeRawBufferPointer(rebasing: memory[header.offset..<header.offset + header.count]))
    } catch {
      throw CorpusError("\(file.path):1: \(error.reason). The first line must name the columns, as in: text")
    }
    return (0..<parser.count).map { index in
      parser.withField(index) { String(decoding: $0, as: UTF8.self) }.trimmingCharacters(in: .whitespaces)
    }
  }
}

/// The place of the next newline at or after `start`.
func nextNewline(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
  guard start < bytes.count, let base = bytes.baseAddress else { return nil }
  guard let found = memchr(base + start, Int32(newline), bytes.count - start) else { return nil }
  return UnsafeRawPointer(found) - base
}
