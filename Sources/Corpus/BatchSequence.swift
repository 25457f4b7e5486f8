import Model
import Storage

/// The position of a `BatchSequence`: what the next batch starts with.
package struct BatchPosition: Codable, Equatable, Sendable {
  /// Passes over the documents that are complete.
  package var epoch = 0
  /// Documents of this epoch that are complete.
  package var document = 0
  /// Tokens of the next document that earlier batches have read; above 0 only inside a document that is
  /// longer than a sequence.
  package var offset = 0
  /// Tokens that the batches of this epoch have read, for showing progress.
  package var tokens = 0

  package init() {}
}

/// Packs documents into batches, in the order of a seeded shuffle or of the files.
///
/// A batch takes whole documents while they fit; the next one starts the next batch. A document longer than a
/// sequence is read in chunks of that length, each a document of its own to the model; no target is lost between
/// chunks, and none cuts a picture. With a shuffle the sequence has no end: a batch ends with its epoch, and the next epoch has
/// another order. Memory: 4 bytes a sample with a shuffle, none without.
///
/// A sample is one document, or several that must stay together, such as the two of a preference pair: they are
/// neighbours in the data, keep their order in the shuffle, and go into the same batch.
package struct BatchSequence: Sendable {
  /// Set only to a position that a sequence over the same data with the same settings has had.
  package var position: BatchPosition
  private let split: TokenSplit
  private let sequenceLength: Int
  private let documentsPerSample: Int
  /// 0 where a document's last token is read as well, for a score after it; 1 where it is only predicted.
  private let unreadTokens: Int
  /// Nil reads the documents once, in order.
  private let shuffleSeed: UInt64?
  private var order: [UInt32] = []
  private var orderEpoch = -1

  /// - Parameters:
  ///   - sequenceLength: the most tokens of one document in a batch.
  ///   - documentsPerSample: consecutive documents that stay together; with more than one, none may be longer than a
  ///     sequence, and a batch must have room for as many sequences.
  ///   - scores: whether documents are read whole and have a weight at their last token only (`Batch.append(scored:)`).
  ///   - shuffleSeed: nil for the fixed order of held-out data, which ends after one pass.
  ///   - position: where to go on, as an earlier sequence over the same data with the same settings left off.
  /// - Throws: `CorpusError` when `position` is not in these data.
  package init(
    _ split: TokenSplit, sequenceLength: Int, documentsPerSample: Int = 1, scores: Bool = false,
    shuffleSeed: UInt64?,
    position: BatchPosition = BatchPosition()
  ) throws(CorpusError) {
    precondition(sequenceLength > 0, "a sequence of \(sequenceLength) tokens")
    precondition(
      documentsPerSample == 1
        || split.documentCount % documentsPerSample == 0 && split.longestInput + (scores ? 1 : 0) <= sequenceLength,
      "samples of \(documentsPerSample) among \(split.documentCount) documents of up to \(split.longestInput) tokens")
    guard position.epoch >= 0, position.document >= 0, position.document <= split.documentCount, position.offset >= 0,
      position.epoch < 1 << 40, position.offset < 1 << 40, position.document % documentsPerSample == 0,
      documentsPerSample == 1 || position.offset == 0
    else {
      throw CorpusError(
        "the saved data position does not lie in the data. Resume with the data that the run began with.")
    }
    guard split.picturedRows <= sequenceLength else {
      throw CorpusError(
        "a picture has \(split.picturedRows) tokens and a sequence \(sequenceLength). Raise --sequence-length.")
    }
    self.split = split
    self.sequenceLength = sequenceLength
    self.documentsPerSample = documentsPerSample
    unreadTokens = scores ? 0 : 1
    self.shuffleSeed = shuffleSeed
    self.position = position
  }

  /// Whether another batch comes.
  var isBeforeEnd: Bool { split.documentCount > 0 && (shuffleSeed != nil || position.document < split.documentCount) }

  /// Fills `batch` with at most `maximumTokens` tokens; allocates nothing once the arrays have grown.
  ///
  /// - Precondition: `maximumTokens` is at least the sequence length, for each document of a sample.
  /// - Returns: false, with an empty batch, at the end of a sequence without shuffle.
  package mutating func next(maximumTokens: Int, into batch: inout Batch) -> Bool {
    batch.removeAll(reserving: maximumTokens)
    let isScored = unreadTokens == 0
    let split = split
    return advance(maximumTokens: maximumTokens) { number, shard, range in
      if isScored {
        batch.append(scored: range.map(shard.token), number: number)
      } else {
        batch.append(
          count: range.count + 1, number: number, token: { shard.token(range.lowerBound + $0) },
          lossWeight: { shard.isTrained(range.lowerBound + $0) ? 1 : 0 })
      }
      split.addTeacherRows(number, tokens: range, to: &batch)
      guard split.picturedRows > 0 else { return }
      let document = split.locate(number).document
      let first = shard.tokenRange(ofDocument: document).lowerBound
      split.see(shard, document, tokens: range.lowerBound - first..<range.upperBound - first, in: &batch)
    } > 0
  }

  /// Moves over the next batch without reading its tokens, for counting batches ahead.
  ///
  /// - Returns: the tokens that the batch has; 0 at the end of a sequence without shuffle.
  package mutating func skip(maximumTokens: Int) -> Int {
    advance(maximumTokens: maximumTokens) { _, _, _ in }
  }

  /// Moves over one document.
  ///
  /// - Precondition: there are documents and an order of them, and none is longer than a sequence.
  /// - Returns: its number and its tokens, the last included.
  package mutating func nextDocument() -> (number: Int, tokens: [Int32]) {
    beginEpoch()
    guard let (number, shard, range) = nextChunk(room: sequenceLength), position.offset == 0 else {
      preconditionFailure("a document that is longer than a sequence")
    }
    position.tokens += range.count
    return (number, (range.lowerBound...range.upperBound).map(shard.token))
  }

  /// After the last document, goes to the first of the next epoch, in another order.
  private mutating func beginEpoch() {
    if position.document == split.documentCount {
      let epoch = position.epoch + 1
      position = BatchPosition()
      position.epoch = epoch
    }
    prepareOrder()
  }

  /// Moves over one batch; `body` gets the tokens of each document or chunk of one, and the document's number.
  private mutating func advance(
    maximumTokens: Int, _ body: (_ number: Int, _ shard: TokenShard, _ tokens: Range<Int>) -> Void
  ) -> Int {
    precondition(
      maximumTokens >= sequenceLength * documentsPerSample,
      "a batch of \(maximumTokens) tokens cannot hold \(documentsPerSample) × \(sequenceLength)")
    guard split.documentCount > 0 else { return 0 }
    guard position.document < split.documentCount || shuffleSeed != nil else { return 0 }
    beginEpoch()
    var count = 0
    while position.document < split.documentCount,
      let (number, shard, tokens) = nextChunk(room: maximumTokens - count)
    {
      body(number, shard, tokens)
      count += tokens.count
    }
    position.tokens += count
    return count
  }

  /// Moves over the next document, or the next chunk of a long one; nil when it does not fit into `room` tokens.
  private mutating func nextChunk(room: Int) -> (number: Int, shard: TokenShard, tokens: Range<Int>)? {
    let (sample, place) = position.document.quotientAndRemainder(dividingBy: documentsPerSample)
    let number = (shuffleSeed == nil ? sample : Int(order[sample])) * documentsPerSample + place
    let (shard, document) = split.locate(number)
    let range = shard.tokenRange(ofDocument: document)
    // A saved offset may be past the end only when the data changed under the run; read the document's last token then.
    let start = min(range.lowerBound + position.offset, range.upperBound - 2)
    let end = range.upperBound - unreadTokens
    var count = min(end - start, sequenceLength)
    if start + count < end {
      count = split.chunkTokens(shard, document, from: start - range.lowerBound, most: count)
    }
    // The first document of a sample waits until there is room for all of them.
    let others = place == 0 ? (number + 1)..<(number + documentsPerSample) : number..<number
    guard others.reduce(count, { $0 + split.tokenCount(ofDocument: $1) - unreadTokens }) <= room else { return nil }
    if start + count == end {
      position.document += 1
      position.offset = 0
    } else {
      position.offset += count
    }
    return (number, shard, start..<start + count)
  }

  /// The order of this epoch, which depends on the seed and the epoch only (Fisher and Yates).
  private mutating func prepareOrder() {
    guard let shuffleSeed, orderEpoch != position.epoch else { return }
    let sampleCount = split.documentCount / documentsPerSample
    if order.count != sampleCount {
      order = Array(0..<UInt32(sampleCount))
    } else {
      for index in order.indices { order[index] = UInt32(index) }
    }
    var generator = SplitMix64(
      seed: shuffleSeed &+ UInt64(truncatingIfNeeded: position.epoch) &* 0xD1B5_4A32_D192_ED03)
    for index in stride(from: order.count - 1, to: 0, by: -1) {
      order.swapAt(index, generator.next(below: index + 1))
    }
    orderEpoch = position.epoch
  }
}
