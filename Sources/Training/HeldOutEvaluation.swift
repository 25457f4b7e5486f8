import Corpus
import Foundation
import Transformer

extension Evaluation {
  /// The loss of the model on whole held-out documents, from the first one until `maximumTokens` are read.
  ///
  /// - Parameters:
  ///   - step: what the result says of the weights.
  ///   - maximumTokens: 0 for all documents.
  ///   - batch: room to work in.
  /// - Returns: nil when nothing is held out, or nothing of it is trained on.
  package static func heldOut(
    _ split: TokenSplit, pass: TrainingPass, step: Int, sequenceLength: Int, microBatchTokens: Int, maximumTokens: Int,
    batch: inout PackedBatch
  ) throws -> Evaluation? {
    var documents = try BatchSequence(split, sequenceLength: sequenceLength, shuffleSeed: nil)
    var sum = LossSum()
    while documents.next(maximumTokens: microBatchTokens, into: &batch) {
      sum += pass.forward(
        tokens: batch.tokens, targets: batch.targets, lossWeights: batch.lossWeights,
        documentOffsets: batch.documentOffsets)
      // The bytes are known for whole documents only.
      if maximumTokens > 0, sum.tokens >= maximumTokens, documents.position.offset == 0 { break }
    }
    guard sum.weight > 0 else { return nil }
    let bytes = (0..<documents.position.document).reduce(0) { total, index in
      let (shard, document) = split.locate(index)
      return total + shard.textBytes(ofDocument: document)
    }
    return Evaluation(
      step: step, loss: sum.loss / sum.weight, bitsPerByte: sum.loss / M_LN2 / Double(max(1, bytes)),
      tokens: Int(sum.weight))
  }
}
