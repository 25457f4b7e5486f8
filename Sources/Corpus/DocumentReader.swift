import Storage

/// Streams the texts of files, in whatever format of `InputFormat`, in order, in memory that does not grow with the input.
///
///     let reader = try DocumentReader(inputs: paths)
///     let broken = try reader.forEachDocument { text in trainer.add(document: text) }
package struct DocumentReader {
  package let files: [InputFile]
  /// What was found in directories and is not read.
  package let passedOver: [PassedOver]
  /// A broken row is an error instead of being left out.
  package let isStrict: Bool
  private let fieldNames: FieldNames

  /// - Throws: `CorpusError` or `FileError` for a path that is missing, empty, or no text.
  package init(
    inputs: [String], _ options: InputOptions = InputOptions(), isStrict: Bool = false,
    fieldNames: FieldNames = FieldNames()
  ) throws {
    let found = try InputFiles(inputs, options)
    files = found.files
    passedOver = found.passedOver
    self.isStrict = isStrict
    self.fieldNames = fieldNames
  }

  package var totalBytes: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Calls `body` with the UTF-8 bytes of every document that is not empty; they are valid during the call only.
  ///
  /// - Parameter progress: called after each half megabyte with the bytes read so far.
  /// - Returns: the rows that were left out because they are broken.
  /// - Throws: `CorpusError` when no document can be read at all, when more than half of a file cannot, or at the first broken
  ///   row of a strict reader.
  @discardableResult
  package func forEachDocument(
    progress: (_ bytesCompleted: Int) -> Void = { _ in }, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> BrokenRows {
    let blocks = BlockReader(files)
    let rows = RowReader(names: fieldNames)
    var broken = BrokenRows()
    var documentCount = 0
    while let block = try blocks.next() {
      var rowCount = block.oversizedLines.count
      defer { broken.read(rowCount, of: block.file.path) }
      for line in block.oversizedLines {
        broken.add(oversizedReason, file: block.file.path, line: line, block: block.index)
      }
      for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
        rowCount += 1
        var failure: (any Error)?
        do throws(RowProblem) {
          try rows.withText(of: record, in: block) { text in
            guard !text.isEmpty else { return }
            documentCount += 1
            do { try body(text) } catch { failure = error }
          }
        } catch {
          broken.add(error.reason, file: block.file.path, line: record.line, block: block.index)
        }
        if let failure { throw failure }
        if isStrict, let row = broken.first {
          throw CorpusError("\(row.file):\(row.line): \(row.text)")
        }
      }
      progress(block.bytesCompleted)
    }
    try broken.checkFiles()
    guard documentCount > 0 else {
      throw CorpusError(
        broken.messages.first.map { "no row can be used: \($0)" }
          ?? "\(files.map(\.path).joined(separator: ", ")): there is no text in it. Give a file with text.")
    }
    return broken
  }
}

let oversizedReason = "the row is longer than \(formatBytes(BlockReader.maximumRecordBytes)); break it up"
