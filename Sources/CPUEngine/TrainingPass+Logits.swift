import Compute

extension TrainingPass {
  /// The logits of every token: [tokens, vocabulary], fp32.
  package func logits(tokens: [Int32], documentOffsets: [Int32]) -> [Float] {
    logits(tokens: tokens, documentOffsets: documentOffsets, rows: tokens.indices)
  }

  /// The logits of some tokens: [rows, vocabulary], fp32.
  ///
  /// - Parameter rows: in rising order, each below the number of tokens; the others skip the output layer.
  package func logits(tokens: [Int32], documentOffsets: [Int32], rows: some Collection<Int>) -> [Float] {
    var lossWeights = [Float](repeating: 0, count: tokens.count)
    for row in rows { lossWeights[row] = 1 }
    fill(tokens, [Int32](repeating: 0, count: tokens.count), lossWeights, documentOffsets)
    precondition(batch.lossCount == rows.count, "a row was named twice")
    let vocabulary = shape.vocabularySize
    var result = [Float](repeating: 0, count: batch.paddedLossCount * vocabulary)
    result.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      let logits = MatrixView(base, rows: batch.paddedLossCount, columns: vocabulary)
      team.run { worker in
        forwardLayers(worker)
        // The rows are dealt out anew: a worker's may come from another's tokens.
        meet(worker)
        let share = team.share(of: batch.paddedLossCount, worker: worker, multiple: PassBatch.rowMultiple)
        guard !share.isEmpty else { return }
        let gathered = view(plan.lossRows).rows(share)
        gather(view(plan.normalizedOutput), first: share.lowerBound, into: gathered)
        multiply(worker, gathered, weights.output, bTransposed: true, into: logits.rows(share))
      }
    }
    result.removeLast((batch.paddedLossCount - batch.lossCount) * vocabulary)
    return result
  }

  /// The loss of every token, in nats: [tokens].
  package func tokenLosses(tokens: [Int32], targets: [Int32], documentOffsets: [Int32]) -> [Float] {
    _ = forward(
      tokens: tokens, targets: targets, lossWeights: [Float](repeating: 1, count: tokens.count),
      documentOffsets: documentOffsets)
    return Array(UnsafeBufferPointer(start: batch.losses, count: batch.lossCount))
  }
}
