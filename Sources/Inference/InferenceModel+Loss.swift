import Compute
import Model

extension InferenceModel {
  /// How well the model predicts the tokens of some documents, each read by itself as a prompt is.
  ///
  /// - Parameters:
  ///   - batch: no document is longer than the cache, and all rows come from the embedding table.
  ///   - cache: what it holds is forgotten.
  package func lossSum(_ batch: Batch, _ cache: KeyValueCache) -> LossSum {
    precondition(batch.embedded.isEmpty, "embedded rows cannot be read here")
    let (tokens, targets, lossWeights) = (batch.tokens, batch.targets, batch.lossWeights)
    var sum = LossSum(tokens: batch.tokenCount)
    for number in 0..<batch.documentCount {
      cache.truncate(to: 0)
      let document = batch.rows(ofDocument: number)
      cache.reserve(document.count)
      for first in stride(from: document.lowerBound, to: document.upperBound, by: StepMemory.chunkTokens) {
        let chunk = tokens[first..<min(first + StepMemory.chunkTokens, document.upperBound)]
        step([StepPiece(cache, chunk, promptLength: document.count, .allLogits)]) { _, token, logits in
          let weight = lossWeights[first + token]
          sum.loss += Double(weight * Self.loss(logits, target: targets[first + token]))
          sum.weight += Double(weight)
        }
      }
    }
    return sum
  }

  private static func loss(_ logits: Span<Float>, target: Int32) -> Float {
    logits.withUnsafeBufferPointer { logits in
      var (target, weight, loss) = (target, Float(1), Float(0))
      softmaxCrossEntropy(
        logits: MatrixView(UnsafeMutablePointer(mutating: logits.baseAddress!), rows: 1, columns: logits.count),
        targets: &target, lossWeights: &weight, losses: &loss, dLogits: nil)
      return loss
    }
  }
}
