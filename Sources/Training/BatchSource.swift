import Corpus
import Model

/// Where the batches of a run come from, step by step: prepared shards, or answers that the model itself has written.
///
/// All processes of a run have the same source and go through the same micro-batches; each reads the tokens of its own.
package protocol BatchSource {
  /// Where the next micro-batch begins. A checkpoint keeps it, and a source that is made with it goes on with the same
  /// batches.
  var position: BatchPosition { get }
  /// Consecutive documents of a batch that stay together, such as the two of a pair.
  var documentsPerSample: Int { get }

  /// Whether a run that is saved here goes on with the same batches; where not, the next steps are made first.
  var mayPause: Bool { get }

  /// Looks ahead to the end of the next step. Called once before each.
  ///
  /// - Returns: the tokens of each of its micro-batches, one or more.
  mutating func prepareStep() throws -> [Int]

  /// Fills `batch` with the next micro-batch of the step.
  mutating func next(into batch: inout Batch) throws

  /// Passes over the next micro-batch, which another process takes.
  mutating func skip() throws
}

extension BatchSource {
  package var mayPause: Bool { true }
}

/// The source of most stages: a seeded shuffle of prepared documents. A step takes micro-batches as long as another one is
/// sure to fit, and ends with the last epoch.
package struct ShardSource: BatchSource {
  private let split: TokenSplit
  private let sizes: BatchSizes
  private let length: ResolvedSettings.Length
  package let documentsPerSample: Int
  private var documents: BatchSequence
  /// Where each of the step's micro-batches ends, from the next one on.
  private var ends: ArraySlice<BatchPosition> = []

  /// - Throws: `CorpusError` when `position` does not lie in these data.
  init(
    _ split: TokenSplit, documentsPerSample: Int, scores: Bool, _ sizes: BatchSizes, _ length: ResolvedSettings.Length,
    seed: Int,
    position: BatchPosition = BatchPosition()
  ) throws {
    self.split = split
    self.sizes = sizes
    self.length = length
    self.documentsPerSample = documentsPerSample
    documents = try BatchSequence(
      split, sequenceLength: sizes.sequence, documentsPerSample: documentsPerSample, scores: scores,
      shuffleSeed: UInt64(truncatingIfNeeded: seed), position: position)
  }

  package var position: BatchPosition { documents.position }

  /// Whether the last epoch is over. A run of a given number of steps reads on.
  package var isAtEnd: Bool { length.isEnd(documents.position, of: split) }

  package mutating func prepareStep() -> [Int] {
    var ahead = documents
    var counts: [Int] = []
    ends = []
    repeat {
      counts.append(ahead.skip(maximumTokens: sizes.microBatch))
      ends.append(ahead.position)
    } while counts.reduce(0, +) + sizes.microBatch <= sizes.batch && !length.isEnd(ahead.position, of: split)
    return counts
  }

  package mutating func next(into batch: inout Batch) {
    _ = documents.next(maximumTokens: sizes.microBatch, into: &batch)
    ends = ends.dropFirst()
  }

  package mutating func skip() {
    guard let end = ends.popFirst() else { preconditionFailure("a step without another micro-batch") }
    documents.position = end
  }

  /// Passes over a whole step.
  package mutating func skipStep() {
    for _ in prepareStep() { skip() }
  }
}
