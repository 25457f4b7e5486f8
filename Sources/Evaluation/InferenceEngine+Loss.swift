import Model
import VectorMath

extension InferenceEngine {
  /// How well the model predicts the tokens of some documents, each read by itself as a prompt is.
  ///
  /// - Parameters:
  ///   - batch: no document is longer than the context; pictures are rows already (`EmbeddedSpan`).
  ///   - pool: of this engine, with free pages for the longest document.
  func lossSum(_ batch: Batch, _ pool: KeyValuePool) -> LossSum {
    precondition(batch.pictures.isEmpty, "pictures that are not encoded")
    var sum = LossSum(tokens: batch.tokenCount)
    for number in 0..<batch.documentCount {
      let document = batch.rows(ofDocument: number)
      var spans = batch.embedded.filter { document.contains($0.rows.lowerBound) }
      for index in spans.indices { spans[index].move(by: -document.lowerBound) }
      let cache = KeyValueCache(pool, capacity: document.count, embedded: spans)
      cache.reserve(document.count)
      for first in stride(from: document.lowerBound, to: document.upperBound, by: limits.promptRows) {
        let chunk = batch.tokens[first..<min(first + limits.promptRows, document.upperBound)]
        step([StepPiece(cache, chunk, promptLength: document.count, .allLogits)]) { _, token, logits in
          let weight = batch.lossWeights[first + token]
          sum.loss += Double(weight * crossEntropy(logits, target: batch.targets[first + token]))
          sum.weight += Double(weight)
        }
      }
    }
    return sum
  }
}
