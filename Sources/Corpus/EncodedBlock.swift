import Storage
import Tokenization

/// The documents of one block, ready to be written.
struct EncodedBlock {
  struct Document {
    /// One past its last token in `tokens`.
    var tokenEnd: Int
    /// Bytes and characters of the text that its trained tokens stand for.
    var textBytes: Int
    var characters: Int
    var isHeldOut: Bool
    /// Whether people want such an answer; of answers with labels.
    var isDesirable = false
    /// One past its last picture in `pictures`.
    var pictureEnd = 0
  }

  /// A picture of a document.
  struct Picture {
    /// The first token of the document that stands for it.
    var token: Int
    /// In the `PictureStore`.
    var number: Int
  }

  struct Row {
    var digest: Digest
    /// One past its last document in `documents`.
    var documentEnd: Int
    /// One past its last key in `bands`.
    var bandEnd: Int
  }

  var tokens: [Int32] = []
  /// 1 for each token to train on; empty for pretraining, where all except the first of a document are.
  var trained: [UInt8] = []
  var documents: [Document] = []
  var pictures: [Picture] = []
  var rows: [Row] = []
  /// Of `MinHash`; empty where near-duplicates are not looked for.
  var bands: [Digest] = []
  var counts = PreparationCounts()
  /// The block that was encoded.
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
    // In the order of lines: in a stripe a row that is too long is the last one, elsewhere the first of its block.
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
        if let reason = try encoder.encode(record, of: block, into: &self) {
          counts.drop(reason)
        } else {
          if encoder.reader.hasLoneSurrogate { counts.change(.surrogatesReplaced) }
          encoder.reader.noteUnused(record, of: block)
        }
      } catch {
        counts.broken.add(error.reason, file: block.file.path, line: record.line)
      }
    }
    if isOversizedLast { addOversized() }
    counts.broken.read(counts.rowsRead, of: block.file.path)
    encoder.reader.moveUnused(to: &counts.unused)
  }

  /// Whether the document of this digest is held out.
  mutating func isHeldOut(_ digest: Digest, by selection: HeldOutSelection) -> Bool {
    counts.smallestDigest = min(counts.smallestDigest, digest.high)
    return selection.contains(digest)
  }

  mutating func appendRow(_ digest: Digest) {
    rows.append(Row(digest: digest, documentEnd: documents.count, bandEnd: bands.count))
  }

  /// Removes the documents of all rows that `isKept` does not name.
  mutating func keep(_ isKept: [Bool]) {
    guard isKept.contains(false) else { return }
    var kept = EncodedBlock()
    var document = 0
    var (token, picture) = (0, 0)
    for (row, isKept) in zip(rows, isKept) {
      let tokenEnd = row.documentEnd > document ? documents[row.documentEnd - 1].tokenEnd : token
      let pictureEnd = row.documentEnd > document ? documents[row.documentEnd - 1].pictureEnd : picture
      if isKept {
        for var other in documents[document..<row.documentEnd] {
          other.tokenEnd += kept.tokens.count - token
          other.pictureEnd += kept.pictures.count - picture
          kept.documents.append(other)
        }
        kept.tokens.append(contentsOf: tokens[token..<tokenEnd])
        kept.pictures.append(contentsOf: pictures[picture..<pictureEnd])
        if !trained.isEmpty { kept.trained.append(contentsOf: trained[token..<tokenEnd]) }
      }
      (document, token, picture) = (row.documentEnd, tokenEnd, pictureEnd)
    }
    (documents, tokens, trained, pictures) = (kept.documents, kept.tokens, kept.trained, kept.pictures)
  }
}
