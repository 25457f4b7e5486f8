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
  }

  var tokens: [Int32] = []
  /// 1 for each token to train on; empty for pretraining, where all but the first of a document are.
  var trained: [UInt8] = []
  var documents: [Document] = []
  var rows: [Row] = []
  var rowsRead = 0
  var dropped: [DropReason: Int] = [:]
  var changed: [RowChange: Int] = [:]
  var broken = BrokenRows()
  var bytesCompleted: Int

  /// Encodes all rows of `block`.
  init(_ block: Block, with encoder: any RowEncoder) {
    bytesCompleted = block.bytesCompleted
    for line in block.oversizedLines {
      rowsRead += 1
      broken.add(oversizedReason, file: block.file.path, line: line)
    }
    for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
      rowsRead += 1
      do throws(RowProblem) {
        if let reason = try encoder.encode(record, of: block, into: &self) { dropped[reason, default: 0] += 1 }
      } catch {
        broken.add(error.reason, file: block.file.path, line: record.line)
      }
    }
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
