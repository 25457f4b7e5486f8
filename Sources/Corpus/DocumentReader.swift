import Storage

/// Rows that could not be read: the first few in words, the rest as a number.
package struct BrokenRows: Sendable, Equatable, Codable {
  /// How many are kept in words.
  package static let shownCount = 5

  struct Row: Sendable, Equatable, Codable {
    var file: String
    var line: Int
    var reason: String
    /// The block of the input that it lies in.
    var block = 0

    /// `file:line: reason`.
    var message: String { "\(file):\(line): \(reason)" }
  }

  package private(set) var count = 0
  /// The first of them.
  private(set) var rows: [Row] = []

  package init() {}

  /// The first of them, each as `file:line: reason`.
  package var messages: [String] { rows.map(\.message) }

  package mutating func add(_ reason: String, file: String, line: Int) {
    count += 1
    if rows.count < Self.shownCount { rows.append(Row(file: file, line: line, reason: reason)) }
  }

  /// Adds those of other blocks, in the order of blocks.
  mutating func add(_ others: BrokenRows) {
    count += others.count
    guard !others.rows.isEmpty else { return }
    let all = (rows + others.rows).enumerated().sorted { ($0.element.block, $0.offset) < ($1.element.block, $1.offset) }
    rows = all.prefix(Self.shownCount).map(\.element)
  }

  /// Says where rows lie whose lines were counted from the start of their block.
  mutating func place(inBlock block: Int, afterLines lines: Int) {
    for index in rows.indices {
      rows[index].block = block
      rows[index].line += lines
    }
  }
}

/// Streams the texts of JSONL, JSON, CSV and plain text files, in order, in memory that does not grow with the input.
///
///     let reader = try DocumentReader(inputs: paths)
///     let broken = try reader.forEachDocument { text in trainer.add(document: text) }
package struct DocumentReader {
  package let files: [InputFile]
  /// A broken row is an error instead of being left out.
  package let isStrict: Bool

  /// - Throws: `CorpusError` or `FileError` for a path that is missing, empty, or no text.
  package init(inputs: [String], wholeFiles: Bool = false, isStrict: Bool = false) throws {
    files = try resolveInputFiles(inputs, wholeFiles: wholeFiles)
    self.isStrict = isStrict
  }

  package var totalBytes: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Calls `body` with the UTF-8 bytes of every document that is not empty; they are valid during the call only.
  ///
  /// - Parameter progress: called after each half megabyte with the bytes read so far.
  /// - Returns: the rows that were left out because they are broken.
  /// - Throws: `CorpusError` when no document can be read at all, or at the first broken row of a strict reader.
  @discardableResult
  package func forEachDocument(
    progress: (_ bytesCompleted: Int) -> Void = { _ in }, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> BrokenRows {
    let blocks = BlockReader(files)
    let rows = RowReader()
    var broken = BrokenRows()
    var documentCount = 0
    while let block = try blocks.next() {
      for line in block.oversizedLines { broken.add(oversizedReason, file: block.file.path, line: line) }
      for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
        var failure: (any Error)?
        do throws(RowProblem) {
          try rows.withText(of: record, in: block) { text in
            guard !text.isEmpty else { return }
            documentCount += 1
            do { try body(text) } catch { failure = error }
          }
        } catch {
          broken.add(error.reason, file: block.file.path, line: record.line)
        }
        if let failure { throw failure }
        if isStrict, let message = broken.messages.first { throw CorpusError(message) }
      }
      progress(block.bytesCompleted)
    }
    guard documentCount > 0 else {
      throw CorpusError(
        broken.messages.first.map { "no row can be used: \($0)" }
          ?? "\(files.map(\.path).joined(separator: ", ")): there is no text in it. Give a file with text.")
    }
    return broken
  }
}

let oversizedReason = "the row is longer than \(formatBytes(BlockReader.maximumRecordBytes)); break it up"
