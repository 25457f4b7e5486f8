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
}
