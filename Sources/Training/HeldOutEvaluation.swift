import Corpus
import Foundation
import Model
import Processes

/// Thrown when documents are being read and the user wants to stop.
struct Stopped: Error {}

extension Evaluation {
  /// The stage's loss on whole held-out documents, from the first one until the plan's `evalTokens` are read.
  ///
  /// - Parameters:
  ///   - objective: the loss, on the held-out split.
  ///   - exchange: with those that share the batches out.
  ///   - step: what the result says of the weights.
  ///   - batch: room to work in.
  ///   - isWanted: asked before each batch whether to go on.
  /// - Returns: nil when nothing is held out, or nothing of it is trained on.
  /// - Throws: `Stopped` in all ranks when any of them was not to go on.
  static func heldOut(
    _ plan: TrainingPlan, _ objective: any Objective, engine: any TrainingEngine, exchange: ProcessExchange, step: Int,
    batch: inout Batch, isWanted: () -> Bool
  ) throws -> Evaluation? {
    var sums = objective.noSums
    var textBytes = 0
    var isStopped = false
    do {
      textBytes = try plan.dataset.heldOut.forEachBatch(
        sequenceLength: plan.sequenceLength, documentsPerSample: plan.stage.dataKind.documentsPerSample,
        scores: plan.stage.scores, batchTokens: plan.microBatchTokens, maximumTokens: plan.settings.evalTokens,
        share: BatchShare(rank: exchange.rank, count: exchange.count), using: &batch
      ) { batch in
        guard isWanted() else { throw Stopped() }
        objective.forward(engine, batch, addingTo: &sums)
      }.textBytes
    } catch is Stopped { isStopped = true }
    guard !exchange.any(isStopped) else { throw Stopped() }
    sums = sums.summed(over: exchange)
    let nats = sums.sum(Metric.loss.name)
    guard let loss = sums.mean(Metric.loss.name) else { return nil }
    return Evaluation(
      step: step, loss: loss,
      bitsPerByte: objective.isCrossEntropy ? nats / M_LN2 / Double(max(1, textBytes)) : nil,
      tokens: Int(sums.weight(Metric.loss.name)), sums: sums)
  }
}
