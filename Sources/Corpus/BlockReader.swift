import Foundation
import Storage

/// Whole rows of one file, together with the bytes that hold them.
///
/// Sendable: filled by the reader, then handed to one worker and never written again.
package final class Block: @unchecked Sendable {
  package let file: InputFile
  /// The file's place among the inputs, and the block's among all blocks.
  package let fileIndex: Int
  package let index: Int
  /// The column names of a CSV file.
  let columns: [String]
  package let records: [Record]
  /// The rows, followed by at least `RowJSONParser.padding` readable bytes. Freed with the block.
  let bytes: UnsafeRawBufferPointer
  /// Bytes of the input that end with this block, over all files.
  let bytesCompleted: Int
  /// Rows that were longer than the reader accepts, by their line.
  package let oversizedLines: [Int]
  /// Lines of the block where its line numbers begin at 1, as the reader has not seen those before; 0 where they are the file's.
  package let uncountedLines: Int

  init(
    file: InputFile, fileIndex: Int, index: Int, columns: [String] = [], records: [Record],
    bytes: UnsafeRawBufferPointer, bytesCompleted: Int, oversizedLines: [Int], uncountedLines: Int = 0
  ) {
    self.file = file
    self.fileIndex = fileIndex
    self.index = index
    self.columns = columns
    self.records = records
    self.bytes = bytes
    self.bytesCompleted = bytesCompleted
    self.oversizedLines = oversizedLines
    self.uncountedLines = uncountedLines
  }

  deinit { bytes.deallocate() }

  /// The memory that the block takes.
  var byteCount: Int { bytes.count }

  package func bytes(of record: Record) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.count])
  }
}

/// Which blocks of the input a process reads: of `count` blocks that follow each other, the one at `index`.
package struct BlockShare {
  let index: Int
  let count: Int

  package init(index: Int = 0, of count: Int = 1) { (self.index, self.count) = (index, count) }
}

/// Reads files one after another as blocks of about `blockBytes`, each ending at the end of a row.
///
/// Where the blocks begin does not depend on how they are shared out. JSONL and plain text are cut into stripes of equal
/// size, and a reader reads only its own: a block is the rows that begin in its stripe. In CSV and JSON the ends of rows are
/// found from the beginning of the file only, and so they are in files that are compressed or in another encoding: every reader
/// reads all of it and gives its own blocks on.
///
/// Memory: one block, which grows past `blockBytes` only for a row that is longer, and never past
/// `maximumRecordBytes`; a row longer than that is skipped and reported.
package final class BlockReader {
  package static let defaultBlockBytes = 1 << 19
  package static let maximumRecordBytes = 1 << 26

  private let files: [InputFile]
  private let share: BlockShare
  let blockBytes: Int
  let maximumRecordBytes: Int
  private(set) var fileIndex = -1
  /// Bytes of the files before this one.
  private(set) var bytesBefore = 0
  /// The current file: what its bytes come from, and of a file in stripes its descriptor.
  private var source: (any ByteSource)?
  private(set) var descriptor: Int32 = -1
  /// The number of the block that comes next, over all readers.
  private(set) var blockIndex = 0
  /// Of a file in stripes, where the next one begins.
  private var stripeStart = 0
  private var isAtEnd = true
  var line = 1
  private var columns: [String] = []
  private var carry: [UInt8] = []
  /// A row that is too long is being skipped up to the next newline.
  private var isSkipping = false

  package init(
    _ files: [InputFile], share: BlockShare = BlockShare(), blockBytes: Int = defaultBlockBytes,
    maximumRecordBytes: Int = BlockReader.maximumRecordBytes
  ) {
    precondition(blockBytes <= maximumRecordBytes, "blocks of \(blockBytes) bytes, rows of \(maximumRecordBytes)")
    self.files = files
    self.share = share
    self.blockBytes = blockBytes
    self.maximumRecordBytes = maximumRecordBytes
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The next block of this reader's share, or nil after the last.
  package func next() throws -> Block? {
    while true {
      let isStriped = fileIndex >= 0 && files[fileIndex].isStriped
      if isStriped ? stripeStart >= files[fileIndex].byteCount : isAtEnd && carry.isEmpty {
        guard try openNextFile() else { return nil }
        continue
      }
      let isOwn = blockIndex % share.count == share.index
      if isStriped {
        let start = stripeStart
        stripeStart += blockBytes
        defer { blockIndex += 1 }
        if isOwn {
          return try readStripe(from: start, of: files[fileIndex], countsLines: share.count == 1)
        }
      } else if files[fileIndex].format.isWholeFile {
        // One block, whatever is in it, so that no reader decodes another's file.
        defer { blockIndex += 1 }
        let block = isOwn ? try readBlock() ?? emptyBlock(of: files[fileIndex]) : nil
        isAtEnd = true
        carry = []
        if let block { return block }
      } else if let block = try readBlock() {
        defer { blockIndex += 1 }
        if isOwn { return block }
      }
    }
  }

  private func openNextFile() throws -> Bool {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    source = nil
    if fileIndex >= 0 { bytesBefore += files[fileIndex].byteCount }
    guard fileIndex + 1 < files.count else { return false }
    fileIndex += 1
    let file = files[fileIndex]
    if file.isStriped {
      descriptor = open(file.path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw FileError("cannot open", file.path, errno: errno) }
    } else {
      source = try file.makeSource()
    }
    isAtEnd = file.isStriped
    isSkipping = false
    stripeStart = 0
    line = 1
    columns = []
    return true
  }

  /// Reads until there is a whole row. Nil when the file had none left.
  private func readBlock() throws -> Block? {
    let file = files[fileIndex]
    let isFirst = line == 1 && carry.isEmpty && columns.isEmpty
    var capacity = max(blockBytes, carry.count * 2)
    var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity + RowJSONParser.padding, alignment: 64)
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
        UnsafeRawBufferPointer(rebasing: memory[start..<count]), format: file.format,
        separator: file.separator,
        isLast: isAtEnd, line: &line, into: &records)
      if records.isEmpty && !isAtEnd && used + start < count {
        // Not one whole row: read on in a larger block, or give the row up.
        if count - start - used < maximumRecordBytes {
          let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: capacity * 2 + RowJSONParser.padding, alignment: 64)
          let rest = count - start - used
          larger.copyBytes(from: memory[start + used..<count])
          memory.deallocate()
          memory = larger
          capacity *= 2
          count = rest
        } else {
          oversizedLines.append(line)
          isSkipping = true
          line += memory[(start + used)..<count].count { $0 == .newline }
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
        file: file, fileIndex: fileIndex, index: blockIndex, columns: columns, records: records,
        bytes: UnsafeRawBufferPointer(memory),
        bytesCompleted: bytesBefore + bytesRead(of: file), oversizedLines: oversizedLines)
    }
  }

  /// Bytes of the file up to the block that comes next; roughly, where they are decoded.
  private func bytesRead(of file: InputFile) -> Int {
    let read = source?.fileBytesRead ?? 0
    return file.compression == nil && file.encoding.isUTF8 && !file.format.isBinary
      ? read - carry.count : min(read, file.byteCount)
  }

  private func emptyBlock(of file: InputFile) -> Block {
    Block(
      file: file, fileIndex: fileIndex, index: blockIndex, records: [],
      bytes: UnsafeRawBufferPointer(.allocate(byteCount: 1, alignment: 1)),
      bytesCompleted: bytesBefore + file.byteCount, oversizedLines: [])
  }

  private func fill(
    _ memory: UnsafeMutableRawBufferPointer, _ count: inout Int, upTo capacity: Int, of file: InputFile
  ) throws {
    while !isAtEnd && count < capacity, let source {
      let got = try source.read(
        into: UnsafeMutableRawBufferPointer(rebasing: memory[count..<capacity]))
      if got == 0 { isAtEnd = true }
      count += got
    }
  }

  /// Skips the rest of a row that is too long. Returns the bytes to leave out.
  private func skip(_ bytes: UnsafeRawBufferPointer, of file: InputFile) -> Int {
    guard !file.format.isWholeFile, let end = nextNewline(in: bytes, from: 0) else {
      return bytes.count
    }
    isSkipping = false
    line += 1
    return end + 1
  }

  private func readHeader(_ header: Record, of file: InputFile, in memory: UnsafeRawBufferPointer) throws -> [String] {
    var parser = CSVFields()
    do throws(RowProblem) {
      try parser.parse(
        UnsafeRawBufferPointer(rebasing: memory[header.offset..<header.offset + header.count]),
        separator: file.separator)
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
  guard let found = memchr(base + start, Int32(UInt8.newline), bytes.count - start) else { return nil }
  return UnsafeRawPointer(found) - base
}
