import Compute
import Model

extension InferenceModel {
  /// How well the model predicts the tokens of some documents, each read by itself as a prompt is.
  ///
  /// - Parameters:
  ///   - tokens: of all documents, one behind the other.
  ///   - targets: the token to predict behind each.
  ///   - lossWeights: how much each counts.
  ///   - documentOffsets: where each document begins, and the end of the last. None is longer than the cache.
  ///   - cache: what it holds is forgotten.
  package func lossSum(
    tokens: [Int32], targets: [Int32], lossWeights: [Float], documentOffsets: [Int32], _ cache: KeyValueCache
  ) -> LossSum {
    var sum = LossSum(tokens: tokens.count)
    for (start, end) in zip(documentOffsets, documentOffsets.dropFirst()) {
      cache.truncate(to: 0)
      let document = Int(start)..<Int(end)
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
