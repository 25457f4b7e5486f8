import Storage

/// A token shard mapped into memory, checked whole when it is opened.
package final class TokenShard: Sendable {
  static let fileSuffix = ".tokens"

  package let path: String
  private let file: MappedFile
  let header: ShardHeader

  package var documentCount: Int { header.documentCount }
  package var tokenCount: Int { header.tokenCount }
  package var trainedTokenCount: Int { header.trainedTokenCount }
  package var textByteCount: Int { header.textByteCount }
  package var vocabularySize: Int { header.vocabularySize }
  package var hasLossMask: Bool { header.hasLossMask }
  var hasLabels: Bool { header.hasLabels }
  package var tokenizerHash: String { header.tokenizerHash }

  /// - Throws: `FileError`, or `CorpusError` when the file is cut off, damaged, or contradicts itself.
  package init(_ path: String) throws {
    self.path = path
    file = try MappedFile(path)
    header = try ShardHeader(file.bytes, path: path)
    try check()
  }

  /// One pass over the file: the checksum, tokens within the vocabulary, documents in order.
  private func check() throws(CorpusError) {
    let payload = UnsafeRawBufferPointer(rebasing: file.bytes[ShardHeader.byteCount...])
    guard Checksum.of(payload) == header.payloadChecksum else {
      throw CorpusError("\(path): the file is damaged (its checksum does not match). Prepare the data again.")
    }
    guard largestToken() < header.vocabularySize else {
      throw CorpusError(
        "\(path): there is a token outside the vocabulary of \(vocabularySize). Prepare the data again.")
    }
    var previous = 0
    for document in 0...documentCount {
      let offset = Int(truncatingIfNeeded: self.offset(document))
      // A document has at least two tokens: one to read and one to predict.
      guard document == 0 ? offset == 0 : offset >= previous + 2 && offset <= tokenCount else {
        throw CorpusError("\(path): the table of documents is out of order. Prepare the data again.")
      }
      previous = offset
    }
    guard previous == tokenCount else {
      throw CorpusError("\(path): the table of documents does not cover the tokens. Prepare the data again.")
    }
    guard let pictureCount = header.pictureCount else { return }
    var last = 0
    for document in 0...documentCount {
      let offset = pictureOffset(document)
      guard document == 0 ? offset == 0 : offset >= last && offset <= pictureCount else {
        throw CorpusError("\(path): the table of pictures is out of order. Prepare the data again.")
      }
      last = offset
    }
    guard last == pictureCount else {
      throw CorpusError("\(path): the table of pictures does not cover them. Prepare the data again.")
    }
  }

  private func largestToken() -> Int {
    let tokens = UnsafeRawBufferPointer(
      rebasing: file.bytes[header.tokensOffset..<header.tokensOffset + tokenCount * header.tokenByteCount])
    if header.tokenByteCount == 2 {
      return tokens.bindMemory(to: UInt16.self).reduce(0) { max($0, Int($1)) }
    }
    return tokens.bindMemory(to: UInt32.self).reduce(0) { max($0, Int($1)) }
  }

  private func offset(_ document: Int) -> UInt64 {
    UInt64(littleEndian: file.bytes.load(fromByteOffset: header.offsetsOffset + document * 8, as: UInt64.self))
  }

  /// The place of document `index` among the tokens.
  package func tokenRange(ofDocument index: Int) -> Range<Int> {
    precondition(index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    return Int(offset(index))..<Int(offset(index + 1))
  }

  /// UTF-8 bytes of the text of document `index`.
  package func textBytes(ofDocument index: Int) -> Int {
    precondition(index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    return Int(
      UInt32(littleEndian: file.bytes.load(fromByteOffset: header.textBytesOffset + index * 4, as: UInt32.self)))
  }

  private func pictureOffset(_ document: Int) -> Int {
    Int(
      UInt32(littleEndian: file.bytes.load(fromByteOffset: header.pictureOffsetsOffset + document * 4, as: UInt32.self))
    )
  }

  /// The pictures of document `index`, in the order of their tokens.
  package func pictures(ofDocument index: Int) -> [ShardPicture] {
    guard header.pictureCount != nil else { return [] }
    precondition(index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    return (pictureOffset(index)..<pictureOffset(index + 1)).map { place in
      func number(_ offset: Int) -> Int {
        Int(
          UInt32(
            littleEndian: file.bytes.load(fromByteOffset: header.picturesOffset + place * 8 + offset, as: UInt32.self)))
      }
      return ShardPicture(token: number(0), number: number(4))
    }
  }

  /// Checks that all pictures are in the file of pictures and fill tokens of their documents, one after the other, and that
  /// something is read after each.
  ///
  /// - Throws: `CorpusError`.
  func checkPictures(_ pictures: PictureFile?) throws(CorpusError) {
    guard (header.pictureCount != nil) == (pictures != nil) else {
      throw CorpusError("\(path) and manifest.json contradict each other. Prepare the data again.")
    }
    guard let pictures else { return }
    for document in 0..<documentCount {
      let count = tokenRange(ofDocument: document).count
      var end = 0
      for picture in self.pictures(ofDocument: document) {
        guard picture.token >= end, picture.token + pictures.rows < count, picture.number < pictures.count else {
          throw CorpusError("\(path): a picture of document \(document) lies outside of it. Prepare the data again.")
        }
        end = picture.token + pictures.rows
      }
    }
  }

  package func token(_ index: Int) -> Int32 {
    precondition(index >= 0 && index < tokenCount, "token \(index) of \(tokenCount)")
    let tokens = file.bytes.baseAddress! + header.tokensOffset
    return header.tokenByteCount == 2
      ? Int32(UInt16(littleEndian: tokens.load(fromByteOffset: index * 2, as: UInt16.self)))
      : Int32(UInt32(littleEndian: tokens.load(fromByteOffset: index * 4, as: UInt32.self)))
  }

  /// Whether people want the answer that document `index` ends with.
  ///
  /// - Precondition: the shard has labels.
  package func isDesirable(_ index: Int) -> Bool {
    precondition(header.hasLabels && index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    return file.bytes[header.labelsOffset + index] == 1
  }

  /// Whether token `index` is trained on as a target. The first token of a document never is.
  package func isTrained(_ index: Int) -> Bool {
    precondition(index >= 0 && index < tokenCount, "token \(index) of \(tokenCount)")
    guard hasLossMask else { return true }
    return file.bytes[header.maskOffset + index / 8] >> UInt8(index % 8) & 1 == 1
  }
}
