import Compute
import Model

extension TrainingPass {
  /// The logits of every token: [tokens, vocabulary], fp32.
  package func logits(_ batch: Batch) -> [Float] { logits(batch, rows: batch.tokens.indices) }

  /// The logits of some tokens: [rows, vocabulary], fp32.
  ///
  /// - Parameter rows: in rising order, each below the number of tokens; the others skip the output layer.
  package func logits(_ batch: Batch, rows: some Collection<Int>) -> [Float] {
    var lossWeights = [Float](repeating: 0, count: batch.tokenCount)
    for row in rows { lossWeights[row] = 1 }
    fill(batch, lossWeights: lossWeights)
    let batch = self.batch
    precondition(batch.lossCount == rows.count, "a row was named twice")
    let vocabulary = shape.outputSize
    var result = [Float](repeating: 0, count: batch.paddedLossCount * vocabulary)
    result.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      let logits = MatrixView(base, rows: batch.paddedLossCount, columns: vocabulary)
      team.run { worker in
        forwardLayers(worker)
        // The rows are divided again: a worker's may come from another's tokens.
        meet(worker)
        let share = team.share(of: batch.paddedLossCount, worker: worker, multiple: PassBatch.rowMultiple)
        guard !share.isEmpty else { return }
        let gathered = view(plan.lossRows).rows(share)
        gatherRows(view(plan.normalizedOutput), batch.lossRows + share.lowerBound, into: gathered)
        multiply(worker, gathered, weights.output, bTransposed: true, into: logits.rows(share))
      }
    }
    result.removeLast((batch.paddedLossCount - batch.lossCount) * vocabulary)
    return result
  }
}
