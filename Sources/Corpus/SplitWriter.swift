import Storage
import Tokenization

/// Writes one side of the split as shards, one after another.
struct SplitWriter {
  let isHeldOut: Bool
  private let directory: String
  private let tokenizer: Tokenizer
  private let kind: DataManifest.Kind
  private let hasPictures: Bool
  private var shard: ShardWriter?
  private(set) var totals = DataManifest.Totals()
  private(set) var shards: [DataManifest.Shard] = []

  init(
    directory: String, isHeldOut: Bool, tokenizer: Tokenizer, kind: DataManifest.Kind, hasPictures: Bool = false
  ) {
    self.hasPictures = hasPictures
    self.directory = directory
    self.isHeldOut = isHeldOut
    self.tokenizer = tokenizer
    self.kind = kind
  }

  private var hasLossMask: Bool { kind.hasLossMask || hasPictures }

  /// Adds a document whose tokens are `range` of the block's.
  mutating func append(
    _ document: EncodedBlock.Document, _ range: Range<Int>, of block: EncodedBlock, pictures: [ShardPicture] = []
  ) throws {
    if let shard,
      shard.tokenCount + range.count > ShardWriter.maximumTokens || shard.documentCount == ShardWriter.maximumDocuments
    {
      try close(shard)
    }
    let current = try shard ?? open()
    let trained = hasLossMask ? block.trained[range] : nil
    try current.append(
      block.tokens[range], trained: trained, textBytes: document.textBytes, isDesirable: document.isDesirable,
      pictures: pictures)
    let trainedTokens = trained.map { $0.reduce(0) { $0 + Int($1) } } ?? range.count - 1
    totals.add(document, tokens: range.count, trainedTokens: trainedTokens)
  }

  mutating func finish() throws {
    if let shard { try close(shard) }
  }

  private mutating func open() throws -> ShardWriter {
    let name = (isHeldOut ? "held-out-" : "train-") + String(shards.count) + TokenShard.fileSuffix
    let writer = try ShardWriter(
      path: directory + "/" + name, vocabularySize: tokenizer.vocabularySize, tokenizerHash: tokenizer.contentHash,
      hasLossMask: hasLossMask, hasLabels: kind.hasLabels, hasPictures: hasPictures)
    shards.append(DataManifest.Shard(file: name, documents: 0, tokens: 0, isHeldOut: isHeldOut))
    shard = writer
    return writer
  }

  private mutating func close(_ writer: ShardWriter) throws {
    try writer.finish()
    shards[shards.count - 1].documents = writer.documentCount
    shards[shards.count - 1].tokens = writer.tokenCount
    shard = nil
  }
}
