/// Whole documents one after another, without padding: what one forward and backward pass takes.
///
/// Token i of a document predicts token i + 1 of the same document; a document's last token predicts nothing
/// and is left out. Reused from batch to batch, the arrays keep their memory.
package struct PackedBatch: Sendable, Equatable {
  /// [tokens] ids that the model reads.
  package var tokens: [Int32] = []
  /// [tokens] the token after each, within the same document.
  package var targets: [Int32] = []
  /// [tokens] 1 where the target is trained on, 0 elsewhere (the prompt of a conversation).
  package var lossWeights: [Float] = []
  /// [documents + 1] where each document starts in `tokens`, and the end.
  package var documentOffsets: [Int32] = [0]
  /// [documents] the number of each in its split; empty where the documents come from elsewhere.
  package var documentNumbers: [Int] = []

  package init() {}

  package var tokenCount: Int { tokens.count }
  package var documentCount: Int { documentOffsets.count - 1 }

  /// Makes the batch empty, with room for `tokenCount` tokens.
  package mutating func removeAll(reserving tokenCount: Int) {
    tokens.removeAll(keepingCapacity: true)
    targets.removeAll(keepingCapacity: true)
    lossWeights.removeAll(keepingCapacity: true)
    documentOffsets.removeAll(keepingCapacity: true)
    documentNumbers.removeAll(keepingCapacity: true)
    tokens.reserveCapacity(tokenCount)
    targets.reserveCapacity(tokenCount)
    lossWeights.reserveCapacity(tokenCount)
    // A document gives at least one token, so this is enough, and no batch allocates after the first.
    documentOffsets.reserveCapacity(tokenCount + 1)
    documentNumbers.reserveCapacity(tokenCount)
    documentOffsets.append(0)
  }

  /// Leaves only the samples of one process, where several share out a row of batches by tokens: a sample is that process's
  /// in whose equal part of all tokens its middle lies.
  ///
  /// - Parameters:
  ///   - before, total: tokens of the batches before this one, and of all.
  ///   - documentsPerSample: as in `BatchSequence`.
  /// - Returns: this batch's tokens before those that are left.
  package mutating func keep(_ share: BatchShare, before: Int, of total: Int, documentsPerSample: Int) -> Int {
    func start(_ sample: Int) -> Int { Int(documentOffsets[sample * documentsPerSample]) }
    func owner(_ sample: Int) -> Int { (2 * before + start(sample) + start(sample + 1)) * share.count / (2 * total) }
    let samples = 0..<documentCount / documentsPerSample
    let first = samples.first { owner($0) >= share.rank } ?? samples.upperBound
    let end = (first..<samples.upperBound).first { owner($0) > share.rank } ?? samples.upperBound
    let kept = start(first)..<start(end)
    let documents = first * documentsPerSample..<end * documentsPerSample
    func cut<Element>(_ array: inout [Element], to range: Range<Int>) {
      array.removeLast(array.count - range.upperBound)
      array.removeFirst(range.lowerBound)
    }
    cut(&tokens, to: kept)
    cut(&targets, to: kept)
    cut(&lossWeights, to: kept)
    cut(&documentNumbers, to: documents)
    cut(&documentOffsets, to: documents.lowerBound..<documents.upperBound + 1)
    for index in documentOffsets.indices { documentOffsets[index] -= Int32(kept.lowerBound) }
    return kept.lowerBound
  }
}
