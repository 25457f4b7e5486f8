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
        shard.hasLossMask == manifest.kind.hasLossMask, shard.hasLabels == manifest.kind.hasLabels
      else {
        throw CorpusError("\(shard.path) and manifest.json contradict each other. Prepare the data again.")
      }
      sides[entry.isHeldOut ? 1 : 0].append(shard)
    }
    training = TokenSplit(sides[0])
    heldOut = TokenSplit(sides[1])
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
  /// The number of the first document of each shard, and the end.
  private let starts: [Int]
  package let tokenCount: Int
  package let trainedTokenCount: Int
  package let textByteCount: Int

  init(_ shards: [TokenShard]) {
    self.shards = shards
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

  /// The shard that holds document `index`, and the document's number in it.
  package func locate(_ index: Int) -> (shard: TokenShard, document: Int) {
    precondition(index >= 0 && index < documentCount, "document \(index) of \(documentCount)")
    var low = 0
    var high = shards.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if starts[middle] <= index { low = middle } else { high = middle - 1 }
    }
    return (shards[low], index - starts[low])
  }
}
