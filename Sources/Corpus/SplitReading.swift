extension TokenSplit {
  /// Reads documents in order, batch after batch, from the first one until `maximumTokens` are read: to measure a model.
  ///
  /// - Parameters:
  ///   - sequenceLength, documentsPerSample: as in `BatchSequence`.
  ///   - batchTokens: the most tokens of a batch.
  ///   - maximumTokens: 0 for all documents. The last document is read whole, since its bytes are known whole only.
  ///   - batch: room to work in.
  ///   - body: gets each batch.
  /// - Returns: the documents that were read, and the UTF-8 bytes of their text.
  package func forEachBatch(
    sequenceLength: Int, documentsPerSample: Int = 1, batchTokens: Int, maximumTokens: Int = 0,
    using batch: inout PackedBatch, _ body: (PackedBatch) throws -> Void
  ) throws -> (documents: Int, textBytes: Int) {
    var sequence = try BatchSequence(
      self, sequenceLength: sequenceLength, documentsPerSample: documentsPerSample, shuffleSeed: nil)
    while sequence.next(maximumTokens: batchTokens, into: &batch) {
      try body(batch)
      if maximumTokens > 0, sequence.position.tokens >= maximumTokens, sequence.position.offset == 0 { break }
    }
    let textBytes = (0..<sequence.position.document).reduce(0) { total, index in
      let (shard, document) = locate(index)
      return total + shard.textBytes(ofDocument: document)
    }
    return (sequence.position.document, textBytes)
  }
}
