import Model
import Storage

/// Prepared data, mapped into memory and checked.
package final class TokenShardDataset: Sendable {
  package let directory: String
  package let manifest: DataManifest
  package let training: TokenSplit
  package let heldOut: TokenSplit

  /// Opens the directory that `data pretrain`, `data sft` or `data dpo` wrote.
  ///
  /// - Parameter tokenizerHash: the tokenizer of the model; nil to take whatever the data were made with.
  /// - Throws: `FileError`, or `CorpusError` when the data are damaged, hold no document to train on, or were
  ///   made with another tokenizer.
  package init(directory: String, tokenizerHash: String? = nil) throws {
    self.directory = directory
    let manifest = try DataManifest(directory: directory)
    self.manifest = manifest
    if let tokenizerHash, tokenizerHash != manifest.tokenizerHash {
      throw CorpusError(
        "\(directory) was prepared with another tokenizer (\(manifest.tokenizerHash.prefix(12))…) than the model's "
          + "(\(tokenizerHash.prefix(12))…). Prepare the data again with the model's tokenizer.")
    }
    var sides: [[TokenShard]] = [[], []]
    let pictures = try manifest.pictures.map { settings in
      guard settings.file == PictureFile.name else {
        throw CorpusError("\(directory)/manifest.json names another file of pictures. Prepare the data again.")
      }
      guard settings.placeholder.allSatisfy({ $0 >= 0 && $0 < manifest.vocabularySize }) else {
        throw CorpusError(
          "\(directory)/manifest.json has a placeholder outside the vocabulary. Prepare the data again.")
      }
      return try PictureFile(directory + "/" + settings.file, settings)
    }
    for entry in manifest.shards {
      guard !entry.file.isEmpty, !entry.file.contains("/"), !entry.file.contains("\0") else {
        throw CorpusError(
          "\(directory)/manifest.json names the shard \"\(entry.file)\", which is no file name. Prepare the data again."
        )
      }
      let shard = try TokenShard(directory + "/" + entry.file)
      guard
        shard.tokenizerHash == manifest.tokenizerHash, shard.vocabularySize == manifest.vocabularySize,
        shard.documentCount == entry.documents, shard.tokenCount == entry.tokens,
        shard.hasLossMask == (manifest.kind.hasLossMask || pictures != nil), shard.hasLabels == manifest.kind.hasLabels
      else {
        throw CorpusError("\(shard.path) and manifest.json contradict each other. Prepare the data again.")
      }
      try shard.checkPictures(pictures)
      sides[entry.isHeldOut ? 1 : 0].append(shard)
    }
    let teachers = try manifest.teacher.map { teacher in
      try sides[0].map { try TeacherFile($0.path + TeacherFile.fileSuffix, $0, teacher) }
    }
    training = TokenSplit(sides[0], pictures, teachers ?? [])
    heldOut = TokenSplit(sides[1], pictures)
    guard training.agrees(with: manifest.training), heldOut.agrees(with: manifest.heldOut) else {
      throw CorpusError("\(directory): the shards and manifest.json contradict each other. Prepare the data again.")
    }
    let sample = manifest.kind.documentsPerSample
    guard training.documentCount % sample == 0, heldOut.documentCount % sample == 0 else {
      throw CorpusError("\(directory): one of its pairs lacks its second document. Prepare the data again.")
    }
    guard training.documentCount > 0 else {
      throw CorpusError("\(directory) holds no document to train on. Prepare it again with more text.")
    }
    guard training.documentCount <= Int(UInt32.max), heldOut.documentCount <= Int(UInt32.max) else {
      throw CorpusError("\(directory) holds more than \(UInt32.max) documents. Split it into several data directories.")
    }
  }
}

/// The documents for training, or those held out: numbered from 0 over all shards.
package struct TokenSplit: Sendable {
  package let shards: [TokenShard]
  /// Nil without pictures.
  private let pictures: PictureFile?
  /// Of each shard; none where nothing of a teacher is stored.
  private let teachers: [TeacherFile]
  /// The number of the first document of each shard, and the end.
  private let starts: [Int]
  package let tokenCount: Int
  package let trainedTokenCount: Int
  package let textByteCount: Int

  init(_ shards: [TokenShard], _ pictures: PictureFile? = nil, _ teachers: [TeacherFile] = []) {
    self.shards = shards
    self.pictures = pictures
    self.teachers = teachers
    starts = shards.reduce(into: [0]) { $0.append($0.last! + $1.documentCount) }
    tokenCount = shards.reduce(0) { $0 + $1.tokenCount }
    trainedTokenCount = shards.reduce(0) { $0 + $1.trainedTokenCount }
    textByteCount = shards.reduce(0) { $0 + $1.textByteCount }
  }

  package var documentCount: Int { starts.last! }

  fileprivate func agrees(with totals: DataManifest.Totals) -> Bool {
    documentCount == totals.documents && tokenCount == totals.tokens && trainedTokenCount == totals.trainedTokens
      && textByteCount == totals.textBytes
  }

  /// Tokens that a model reads in one pass over the documents: all except the last of each.
  package var inputTokenCount: Int { tokenCount - documentCount }

  /// Tokens of the longest document that a model reads: all except the last.
  package var longestInput: Int {
    shards.reduce(0) { longest, shard in
      (0..<shard.documentCount).reduce(longest) { max($0, shard.tokenRange(ofDocument: $1).count - 1) }
    }
  }

  /// Whether people want the answer that a document ends with.
  ///
  /// - Precondition: the data have labels.
  package func isDesirable(_ index: Int) -> Bool {
    let (shard, document) = locate(index)
    return shard.isDesirable(document)
  }

  func tokenCount(ofDocument index: Int) -> Int {
    let (shard, document) = locate(index)
    return shard.tokenRange(ofDocument: document).count
  }

  /// The documents of one shard alone, without pictures.
  package func part(shard index: Int) -> TokenSplit { TokenSplit([shards[index]]) }

  /// The shard that holds document `index`, and the document's number in it.
  package func locate(_ index: Int) -> (shard: TokenShard, document: Int) {
    let place = place(of: index)
    return (shards[place], index - starts[place])
  }

  /// Of the shard that holds document `index`.
  private func place(of index: Int) -> Int {
    precondition(index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    var low = 0
    var high = shards.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if starts[middle] <= index { low = middle } else { high = middle - 1 }
    }
    return low
  }

  // MARK: - A teacher

  /// Adds what a teacher said after some tokens of document `index`, where that is kept.
  ///
  /// - Parameter tokens: those that are read, in the document's shard.
  func addTeacherRows(_ index: Int, tokens: Range<Int>, to batch: inout Batch) {
    guard !teachers.isEmpty else { return }
    let place = place(of: index)
    var rows = batch.teacherRows.take() ?? teachers[place].noRows
    teachers[place].add(index - starts[place], tokens: tokens, to: &rows)
    batch.teacherRows = rows
  }

  // MARK: - Pictures

  /// Tokens that stand for a picture; 0 without pictures.
  var picturedRows: Int { pictures?.rows ?? 0 }

  /// The most tokens of a chunk that begins at a token of its document and does not cut a picture.
  func chunkTokens(_ shard: TokenShard, _ document: Int, from start: Int, most: Int) -> Int {
    guard let pictures else { return most }
    let cut = shard.pictures(ofDocument: document).first { picture in
      picture.token < start + most && start + most < picture.token + pictures.rows
    }
    return cut.map { $0.token - start } ?? most
  }

  /// Lets the rows of the batch's last document be those of pictures.
  ///
  /// - Parameter tokens: those of the document in the split that the rows are of, counted from its first.
  func see(_ shard: TokenShard, _ document: Int, tokens: Range<Int>, in batch: inout Batch) {
    guard let pictures else { return }
    let start = batch.rows(ofDocument: batch.documentCount - 1).lowerBound - tokens.lowerBound
    for picture in shard.pictures(ofDocument: document)
    where tokens.lowerBound <= picture.token && picture.token + pictures.rows <= tokens.upperBound {
      let rows = start + picture.token..<start + picture.token + pictures.rows
      batch.see(BatchPicture(rows: rows, values: pictures.values(picture.number)))
    }
  }
}
