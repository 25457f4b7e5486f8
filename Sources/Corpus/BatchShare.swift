import Model

/// Which of every `count` batches this process reads: those whose number leaves the remainder `rank`.
package struct BatchShare: Sendable {
  package static let all = BatchShare(rank: 0, count: 1)

  package var rank: Int
  package var count: Int

  package init(rank: Int, count: Int) {
    self.rank = rank
    self.count = count
  }

  package func contains(_ index: Int) -> Bool { index % count == rank }
}

extension TokenSplit {
  /// Reads documents in order, batch after batch, from the first one until `maximumTokens` are read: to measure a model.
  ///
  /// - Parameters:
  ///   - sequenceLength, documentsPerSample, scores: as in `BatchSequence`.
  ///   - batchTokens: the most tokens of a batch.
  ///   - maximumTokens: 0 for all documents. The last document is read whole, since its bytes are known whole only.
  ///   - share: of the batches, for `body`; the others are passed over without being read.
  ///   - batch: room to work in; empty at the end.
  ///   - body: gets each batch.
  /// - Returns: the documents of all batches, and the UTF-8 bytes of their text.
  package func forEachBatch(
    sequenceLength: Int, documentsPerSample: Int = 1, scores: Bool = false, batchTokens: Int, maximumTokens: Int = 0,
    share: BatchShare = .all, using batch: inout Batch, _ body: (Batch) throws -> Void
  ) throws -> (documents: Int, textBytes: Int) {
    var sequence = try BatchSequence(
      self, sequenceLength: sequenceLength, documentsPerSample: documentsPerSample, scores: scores, shuffleSeed: nil)
    var index = 0
    while sequence.isBeforeEnd {
      if share.contains(index) {
        _ = sequence.next(maximumTokens: batchTokens, into: &batch)
        try body(batch)
      } else {
        _ = sequence.skip(maximumTokens: batchTokens)
      }
      index += 1
      if maximumTokens > 0, sequence.position.tokens >= maximumTokens, sequence.position.offset == 0 { break }
    }
    batch.removeAll(reserving: batchTokens)
    let textBytes = (0..<sequence.position.document).reduce(0) { total, index in
      let (shard, document) = locate(index)
      return total + shard.textBytes(ofDocument: document)
    }
    return (sequence.position.document, textBytes)
  }
}
