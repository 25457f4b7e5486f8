import Foundation
import Model
import Storage

/// What a teacher finds likeliest at every trained token of a shard, mapped into memory. The file, little-endian:
///
///     header  128 bytes: "MMTEACHR"; version, K, bytes of an id (UInt32 each); rows, the checksum of the shard's payload, and that
///             of the rows (UInt64 each); zeros; a checksum of the header
///     rows    of each trained token in the order of the shard, the first of documents left out: K ids as the shard has them, and
///             K + 1 × Float32: the logarithms of their probabilities, and of that of all other tokens together
package final class TeacherFile: Sendable {
  static let fileSuffix = ".teacher"
  private static let magic = Array("MMTEACHR".utf8)
  private static let version: UInt32 = 1
  fileprivate static let headerBytes = 128
  /// The most tokens of a row.
  package static let mostTokens = 65536

  private let file: MappedFile
  private let shard: TokenShard
  private let settings: DataManifest.Teacher
  private let tokenBytes: Int
  private let rowBytes: Int
  /// [documents + 1] the row of each document's first trained token, and the end.
  private let starts: [Int]

  /// Bytes of what is kept of a trained token.
  package static func rowBytes(top: Int, vocabularySize: Int) -> Int {
    top * ShardHeader.tokenByteCount(vocabularySize: vocabularySize) + (top + 1) * 4
  }

  fileprivate static func header(top: Int, tokenBytes: Int, rows: Int, shard: UInt64, checksum: UInt64) -> [UInt8] {
    var bytes = magic
    func append<Integer: FixedWidthInteger>(_ value: Integer) {
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    for number in [version, UInt32(top), UInt32(tokenBytes), 0] { append(number) }
    for number in [UInt64(rows), shard, checksum] { append(number) }
    bytes += [UInt8](repeating: 0, count: headerBytes - 8 - bytes.count)
    append(bytes.withUnsafeBytes { Checksum.of($0) })
    return bytes
  }

  /// - Throws: `FileError`; `CorpusError` for a file that is damaged, or of another shard or teacher than the manifest says.
  init(_ path: String, _ shard: TokenShard, _ settings: DataManifest.Teacher) throws {
    func broken(_ what: String) -> CorpusError {
      CorpusError("\(path): \(what). Make the data again with: minimind data teacher")
    }
    guard (1...Self.mostTokens).contains(settings.top) else {
      throw broken("the manifest describes \(settings.top) tokens of a teacher, which are not possible")
    }
    file = try MappedFile(path)
    self.shard = shard
    self.settings = settings
    tokenBytes = ShardHeader.tokenByteCount(vocabularySize: shard.vocabularySize)
    rowBytes = Self.rowBytes(top: settings.top, vocabularySize: shard.vocabularySize)
    starts = Self.starts(shard)
    let (header, rows) = (Self.headerBytes, starts.last!)
    guard file.bytes.count == header + rows * rowBytes else {
      throw broken(
        "the file has \(file.bytes.count) bytes, and \(rows) trained tokens take \(header + rows * rowBytes)")
    }
    let payload = UnsafeRawBufferPointer(rebasing: file.bytes[header...])
    let expected = Self.header(
      top: settings.top, tokenBytes: tokenBytes, rows: rows, shard: shard.header.payloadChecksum,
      checksum: Checksum.of(payload))
    guard file.bytes.prefix(header).elementsEqual(expected) else {
      throw broken(
        "the file is damaged, or belongs to another shard or another number of tokens than the manifest says")
    }
    for row in 0..<rows {
      for place in 0..<settings.top where !(0..<settings.vocabularySize).contains(Int(token(row, place))) {
        throw broken("there is a token outside the teacher's vocabulary of \(settings.vocabularySize)")
      }
    }
  }

  private static func starts(_ shard: TokenShard) -> [Int] {
    var starts = [0]
    starts.reserveCapacity(shard.documentCount + 1)
    for document in 0..<shard.documentCount {
      let range = shard.tokenRange(ofDocument: document)
      starts.append(starts[document] + trainedCount(shard, range.lowerBound + 1..<range.upperBound))
    }
    return starts
  }

  private static func trainedCount(_ shard: TokenShard, _ tokens: Range<Int>) -> Int {
    shard.hasLossMask ? tokens.reduce(0) { $0 + (shard.isTrained($1) ? 1 : 0) } : tokens.count
  }

  private func token(_ row: Int, _ place: Int) -> Int32 {
    let offset = Self.headerBytes + row * rowBytes + place * tokenBytes
    return tokenBytes == 2
      ? Int32(UInt16(littleEndian: file.bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
      : Int32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
  }

  private func logarithm(_ row: Int, _ place: Int) -> Float {
    let offset = Self.headerBytes + row * rowBytes + settings.top * tokenBytes + place * 4
    return Float(
      bitPattern: UInt32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
  }

  var noRows: LargestProbabilities { LargestProbabilities(count: settings.top) }

  /// Adds what is kept of the trained tokens that follow some tokens of a document.
  ///
  /// - Parameters:
  ///   - tokens: those that are read, in the shard.
  ///   - rows: get a row for each trained one of the tokens after these.
  func add(_ document: Int, tokens: Range<Int>, to rows: inout LargestProbabilities) {
    let first = shard.tokenRange(ofDocument: document).lowerBound + 1
    let before = Self.trainedCount(shard, first..<tokens.lowerBound + 1)
    let count = Self.trainedCount(shard, tokens.lowerBound + 1..<tokens.upperBound + 1)
    for row in starts[document] + before..<starts[document] + before + count {
      rows.append(
        tokens: (0..<settings.top).map { token(row, $0) }, logarithms: (0...settings.top).map { logarithm(row, $0) })
    }
  }
}

/// Writes such a file, row by row.
///
/// Must write into a directory that becomes visible only when everything is in it (`AtomicDirectory`).
package final class TeacherFileWriter {
  private let payload: PayloadWriter
  private let shard: TokenShard
  private let top: Int
  private let tokenBytes: Int
  private var rows = 0

  /// - Parameter directory: of the data; the file has the name of the shard's.
  /// - Throws: `FileError`.
  package init(_ shard: TokenShard, top: Int, directory: String) throws(FileError) {
    let name = URL(fileURLWithPath: shard.path).lastPathComponent + TeacherFile.fileSuffix
    (self.shard, self.top) = (shard, top)
    tokenBytes = ShardHeader.tokenByteCount(vocabularySize: shard.vocabularySize)
    payload = try PayloadWriter(path: directory + "/" + name, headerBytes: TeacherFile.headerBytes)
  }

  package func append(_ said: LargestProbabilities) throws(FileError) {
    precondition(said.count == top, "rows of \(said.count) tokens in a file of \(top)")
    try payload.append { buffer in
      for row in 0..<said.rowCount {
        for token in said.tokens[row * top..<(row + 1) * top] {
          withUnsafeBytes(of: token.littleEndian) { buffer.append(contentsOf: $0.prefix(tokenBytes)) }
        }
        for number in said.logarithms[row * (top + 1)..<(row + 1) * (top + 1)] {
          withUnsafeBytes(of: number.bitPattern.littleEndian) { buffer.append(contentsOf: $0) }
        }
      }
    }
    rows += said.rowCount
  }

  /// Writes the header, and flushes the file to the disk.
  package func finish() throws(FileError) {
    try payload.finish {
      TeacherFile.header(
        top: top, tokenBytes: tokenBytes, rows: rows, shard: shard.header.payloadChecksum, checksum: $0)
    }
  }
}

extension DataManifest {
  /// What a teacher has said of the data for training, and how it was asked.
  package struct Teacher: Codable, Equatable, Sendable {
    /// Identifies the teacher's weights (`ModelWeights.contentHash`).
    package var model: String
    /// SHA-256 of the manifest of the data without it.
    package var data: String
    /// Of the teacher, which is that of the model that learns from it.
    package var vocabularySize: Int
    /// Tokens of each row.
    package var top: Int
    package var temperature: Double
    /// The most tokens that it read at once: longer documents in chunks of that length.
    package var sequenceLength: Int

    package init(
      model: String, data: String, vocabularySize: Int, top: Int, temperature: Double, sequenceLength: Int
    ) {
      (self.model, self.data, self.vocabularySize) = (model, data, vocabularySize)
      (self.top, self.temperature, self.sequenceLength) = (top, temperature, sequenceLength)
    }
  }
}
