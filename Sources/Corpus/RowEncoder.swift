import Storage
import Tokenization

/// Why a row is left out although nothing is wrong with it.
package enum DropReason: String, CaseIterable, Sendable {
  case noText = "no-text"
  case tooLong = "too-long"
  case emptyTurn = "empty-turn"
  case questionTooShort = "question-too-short"
  case questionTooLong = "question-too-long"
  case answerTooShort = "answer-too-short"
  case answerTooLong = "answer-too-long"
  case tooLittleCJK = "too-little-cjk"
  case singleTurn = "single-turn"
  case promptTooLong = "prompt-too-long"
  case pairTooLong = "pair-too-long"
  case equalAnswers = "equal-answers"
  case duplicate = "duplicate"
  case nearDuplicate = "near-duplicate"

  package var inWords: String {
    switch self {
    case .noText: "without text"
    case .tooLong: "longer than --max-characters"
    case .emptyTurn: "with an empty question or answer"
    case .questionTooShort: "question shorter than --min-question"
    case .questionTooLong: "question longer than --max-question"
    case .answerTooShort: "answer shorter than --min-answer"
    case .answerTooLong: "answer longer than --max-answer"
    case .tooLittleCJK: "no more CJK than --min-cjk-share"
    case .singleTurn: "of a single turn (--multi-turn-only)"
    case .promptTooLong: "prompt alone longer than --max-tokens"
    case .pairTooLong: "chosen or rejected longer than --max-tokens"
    case .equalAnswers: "chosen and rejected the same"
    case .duplicate: "repeated (--deduplicate)"
    case .nearDuplicate: "much like an earlier one (--near-duplicates)"
    }
  }
}

/// What was done to a row to make it fit; it is kept.
package enum RowChange: String, CaseIterable, Sendable {
  case split
  case oldTurnsRemoved = "old-turns-removed"
  case answerCut = "answer-cut"

  package var inWords: String {
    switch self {
    case .split: "split, longer than --max-characters"
    case .oldTurnsRemoved: "without their oldest turns, longer than --max-tokens"
    case .answerCut: "with the answer's end cut off, longer than --max-tokens"
    }
  }
}

/// The documents of one block, ready to be written.
struct EncodedBlock {
  struct Document {
    /// One past its last token in `tokens`.
    var tokenEnd: Int
    /// Bytes and characters of the text that its trained tokens stand for.
    var textBytes: Int
    var characters: Int
    var isHeldOut: Bool
  }

  struct Row {
    var digest: Digest
    /// One past its last document in `documents`.
    var documentEnd: Int
    /// One past its last key in `bands`.
    var bandEnd: Int
  }

  var tokens: [Int32] = []
  /// 1 for each token to train on; empty for pretraining, where all but the first of a document are.
  var trained: [UInt8] = []
  var documents: [Document] = []
  var rows: [Row] = []
  /// Of `MinHash`; empty where near-duplicates are not looked for.
  var bands: [Digest] = []
  var counts = PreparationCounts()
  /// Of the block that was encoded.
  var index = 0
  var fileIndex = 0
  var uncountedLines = 0
  var bytesCompleted = 0

  /// Nothing.
  init() {}

  /// Encodes all rows of `block`.
  init(_ block: Block, with encoder: any RowEncoder) {
    (index, fileIndex) = (block.index, block.fileIndex)
    uncountedLines = block.uncountedLines
    bytesCompleted = block.bytesCompleted
    // In the order of lines: a row that is too long is the last one of a stripe, and comes before the rows of its block else.
    let isOversizedLast = block.file.isStriped
    func addOversized() {
      for line in block.oversizedLines {
        counts.rowsRead += 1
        counts.broken.add(oversizedReason, file: block.file.path, line: line)
      }
    }
    if !isOversizedLast { addOversized() }
    for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
      counts.rowsRead += 1
      do throws(RowProblem) {
        if let reason = try encoder.encode(record, of: block, into: &self) { counts.drop(reason) }
      } catch {
        counts.broken.add(error.reason, file: block.file.path, line: record.line)
      }
    }
    if isOversizedLast { addOversized() }
  }

  mutating func appendRow(_ digest: Digest) {
    rows.append(Row(digest: digest, documentEnd: documents.count, bandEnd: bands.count))
  }

  /// Removes the documents of all rows that `isKept` does not name.
  mutating func keep(_ isKept: [Bool]) {
    guard isKept.contains(false) else { return }
    var kept = EncodedBlock()
    var document = 0
    var token = 0
    for (row, isKept) in zip(rows, isKept) {
      let tokenEnd = row.documentEnd > document ? documents[row.documentEnd - 1].tokenEnd : token
      if isKept {
        for var other in documents[document..<row.documentEnd] {
          other.tokenEnd += kept.tokens.count - token
          kept.documents.append(other)
        }
        kept.tokens.append(contentsOf: tokens[token..<tokenEnd])
        if !trained.isEmpty { kept.trained.append(contentsOf: trained[token..<tokenEnd]) }
      }
      (document, token) = (row.documentEnd, tokenEnd)
    }
    (documents, tokens, trained) = (kept.documents, kept.tokens, kept.trained)
  }
}

/// Turns the rows of one kind of data into documents. One per thread.
protocol RowEncoder {
  /// Appends the documents of a row, and the row itself, to `output`.
  ///
  /// - Returns: why the row is left out on purpose, and then nothing is appended.
  /// - Throws: what is broken in the row.
  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason?
}

/// Decides by a document's content alone, so that neither order nor other documents matter, whether it is held out.
struct HeldOutSelection: Sendable {
  let fraction: Double
  let seed: Int

  /// SHA-256 of the seed and the bytes, cut to 128 bits.
  func digest(_ feed: (SHA256) -> Void) -> Digest {
    let hash = SHA256()
    withUnsafeBytes(of: seed.littleEndian) { hash.update($0) }
    feed(hash)
    return hash.finalize().withUnsafeBytes {
      Digest(low: $0.load(as: UInt64.self), high: $0.load(fromByteOffset: 8, as: UInt64.self))
    }
  }

  func contains(_ digest: Digest) -> Bool { Double(digest.high) * 0x1p-64 < fraction }
}
