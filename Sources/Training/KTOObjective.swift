import Corpus
import Model

/// The mean loss of answers with labels.
package struct KTOObjective: Objective {
  private let loss: KTOLoss
  private let split: TokenSplit
  private let mismatched: MismatchedAnswers
  /// [documents of the split] Σ log-probability under the reference of each answer, and of the other one after its prompt.
  private let reference: [Double]
  private let mismatchedReference: [Double]
  /// z of the batch that is being measured.
  private var divergence = 0.0

  package init(
    _ loss: KTOLoss, _ split: TokenSplit, mismatched: MismatchedAnswers, reference: [Double],
    mismatchedReference: [Double]
  ) {
    self.loss = loss
    self.split = split
    self.mismatched = mismatched
    self.reference = reference
    self.mismatchedReference = mismatchedReference
  }

  package var metricNames: [String] {
    [
      Metric.loss.name, "kl", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected",
    ]
  }
  package var mean: LossMean { .documents }
  package var lossUnit: String { "of an answer" }
  package var isCrossEntropy: Bool { false }

  /// The objective with the divergence that the model shows on a batch.
  private func measured(_ engine: any TrainingEngine, _ batch: Batch) -> KTOObjective {
    var objective = self
    let numbers = batch.documentNumbers
    let sums = mismatched.logProbabilities(numbers, by: engine)
    let total = zip(numbers, sums).reduce(0) { $0 + $1.1 - mismatchedReference[$1.0] }
    objective.divergence = max(0, total / Double(max(1, numbers.count)))
    return objective
  }

  package func forwardBackward(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums
  ) {
    measured(engine, batch).addGradients(engine, batch, tokensBefore: tokensBefore, addingTo: &sums)
  }

  package func forward(_ engine: any TrainingEngine, _ batch: Batch, addingTo sums: inout MetricSums) {
    measured(engine, batch).addLosses(engine, batch, addingTo: &sums)
  }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    var weights = batch.lossWeights
    var total = 0.0
    for (document, (number, sum)) in zip(batch.documentNumbers, losses.documentSums(batch)).enumerated() {
      let isDesirable = split.isDesirable(number)
      let gain = -sum.loss - reference[number]
      let answer = loss(gain, isDesirable: isDesirable, divergence: divergence)
      total += answer.loss
      // A document's cross-entropy is -π.
      for index in batch.rows(ofDocument: document) { weights[index] *= Float(-answer.derivative) }
      let side = isDesirable ? "chosen" : "rejected"
      sums.add("rewards/" + side, loss.beta * gain, weight: 1)
      sums.add("logps/" + side, -sum.loss, weight: 1)
    }
    let count = Double(batch.documentCount)
    sums.add(Metric.loss.name, total, weight: count)
    sums.add("kl", divergence * count, weight: count)
    return weights
  }
}
