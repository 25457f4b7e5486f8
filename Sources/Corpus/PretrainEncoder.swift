import Tokenization

/// Which documents are kept for pretraining.
package struct PretrainFilters: Sendable, Equatable {
  /// What happens to a document of more characters than the limit. Each piece of a split document becomes a document
  /// of its own, also where documents are held out: so a single book can be trained on and measured.
  package enum LongDocuments: String, CaseIterable, Sendable { case split, drop }

  /// Most characters of a document. The default splits books but leaves articles whole: training reads a
  /// document that is longer than its sequence in chunks anyway.
  package var maximumCharacters = 4096
  package var longDocuments = LongDocuments.split
  /// Leaves out documents that share about this much with an earlier one (`MinHash`); nil keeps them.
  package var nearDuplicates: Double?

  package init() {}

  /// MiniMind v1's: documents of more than 512 characters are dropped.
  package static var v1: PretrainFilters {
    var filters = PretrainFilters()
    filters.maximumCharacters = 512
    filters.longDocuments = .drop
    return filters
  }

  /// By the names of the flags, for the manifest.
  var texts: [String: String] {
    ["max-characters": String(maximumCharacters), "long": longDocuments.rawValue]
      .merging(nearDuplicates.map { ["near-duplicates": String($0)] } ?? [:]) { $1 }
  }
}

/// Encodes texts as `<s>text</s>`.
final class PretrainEncoder: RowEncoder {
  private let tokenizer: Tokenizer
  private let filters: PretrainFilters
  private let heldOut: HeldOutSelection
  private let minHash: MinHash?
  /// What reads the pictures of rows, and the tokens that stand for each; nil where pictures are not used.
  private let pictures: (reader: PictureReader, placeholder: [Int32])?
  let reader: RowReader

  init(
    tokenizer: Tokenizer, filters: PretrainFilters, heldOut: HeldOutSelection, names: FieldNames,
    pictures: (reader: PictureReader, placeholder: [Int32])? = nil
  ) {
    reader = RowReader(names: names, keepsPictures: pictures != nil)
    self.pictures = pictures
    self.tokenizer = tokenizer
    self.filters = filters
    self.heldOut = heldOut
    minHash = filters.nearDuplicates.map(MinHash.init)
  }

  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason? {
    var reason: DropReason?
    try reader.withText(of: record, in: block) { (text) throws(RowProblem) in
      let (tokens, documents) = (output.tokens.count, output.documents.count)
      if let pictures {
        reason = try addPictured(text, pictures.reader, pictures.placeholder, file: block.file.path, to: &output)
        return
      }
      do throws(TokenizerError) { reason = try add(text, to: &output) } catch {
        output.tokens.removeSubrange(tokens...)
        output.documents.removeSubrange(documents...)
        throw RowProblem(error.description)
      }
    }
    return reason
  }

  private func add(
    _ text: UnsafeRawBufferPointer, to output: inout EncodedBlock
  ) throws(TokenizerError) -> DropReason? {
    guard !RowReader.isBlank(text) else { return .noText }
    let digest = heldOut.digest { $0.update(text) }
    // A character has at least one byte, so most documents need no counting.
    if text.count > filters.maximumCharacters, characterCount(text) > filters.maximumCharacters {
      guard filters.longDocuments == .split else { return .tooLong }
      for piece in splitText(text, maximumCharacters: filters.maximumCharacters) {
        let piece = UnsafeRawBufferPointer(rebasing: text[piece])
        guard !RowReader.isBlank(piece) else { continue }
        let isHeldOut = output.isHeldOut(heldOut.digest { $0.update(piece) }, by: heldOut)
        try append(piece, isHeldOut: isHeldOut, to: &output)
      }
      output.counts.change(.split)
    } else {
      let isHeldOut = output.isHeldOut(digest, by: heldOut)
      try append(text, isHeldOut: isHeldOut, to: &output)
    }
    if let minHash { output.bands.append(contentsOf: minHash.bands(of: text)) }
    output.appendRow(digest)
    return nil
  }

  /// Adds a text in which `<image>` stands for each picture of the row. It is not split.
  private func addPictured(
    _ text: UnsafeRawBufferPointer, _ reader: PictureReader, _ placeholder: [Int32], file: String,
    to output: inout EncodedBlock
  ) throws(RowProblem) -> DropReason? {
    guard !RowReader.isBlank(text) else { return .noText }
    // The places and their checks are those of a conversation of one message.
    var row = RowConversation()
    row.append(.user, String(decoding: text, as: UTF8.self))
    try row.placePictures(self.reader.rowPictures(), comeFirst: self.reader.picturesComeFirst)
    let content = row.messages[0].content
    guard content.count <= filters.maximumCharacters else { return .tooLong }
    var seen: [PictureStore.Entry] = []
    for source in row.pictures { seen.append(try reader.add(source, file: file)) }
    let digest = heldOut.digest(of: row.messages, pictures: seen.map(\.digest))
    var template = ChatTemplate()
    template.pictureTokens = placeholder
    let tokens: PicturedTokens
    do throws(TokenizerError) {
      tokens = try template.encode([.init(text: content, isContent: true)], with: tokenizer)
    } catch { throw RowProblem(error.description) }
    let begin = tokenizer.beginTokens
    output.tokens += begin + tokens.ids + [tokenizer.endToken]
    // Nothing predicts the first token, nor what stands for a picture.
    var isTrained = [UInt8](repeating: 1, count: begin.count + tokens.ids.count + 1)
    isTrained[0] = 0
    for picture in tokens.pictures {
      let start = begin.count + picture.token
      for place in start..<start + placeholder.count { isTrained[place] = 0 }
      output.pictures.append(.init(token: start, number: seen[picture.number].number))
    }
    output.trained += isTrained
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    output.documents.append(
      EncodedBlock.Document(
        tokenEnd: output.tokens.count, textBytes: text.count, characters: characterCount(text), isHeldOut: isHeldOut,
        pictureEnd: output.pictures.count))
    if let minHash { output.bands.append(contentsOf: minHash.bands(of: text)) }
    output.appendRow(digest)
    return nil
  }

  private func append(_ text: UnsafeRawBufferPointer, isHeldOut: Bool, to output: inout EncodedBlock)
    throws(TokenizerError)
  {
    output.tokens.append(contentsOf: tokenizer.beginTokens)
    try tokenizer.encode(text, into: &output.tokens, specialTokens: .asText)
    output.tokens.append(tokenizer.endToken)
    output.documents.append(
      EncodedBlock.Document(
        tokenEnd: output.tokens.count, textBytes: text.count, characters: characterCount(text), isHeldOut: isHeldOut))
  }
}
