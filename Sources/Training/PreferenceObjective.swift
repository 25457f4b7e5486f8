import Corpus
import Model

/// The mean loss of pairs of documents, the chosen answer and the rejected one in turn.
package struct PreferenceObjective: Objective {
  private let loss: PreferenceLoss
  /// Σ log-probability of each document of the split under the reference, by its number; nil where the loss needs none.
  private let reference: [Double]?

  package init(_ loss: PreferenceLoss, reference: [Double]?) {
    precondition(reference != nil || !loss.shape.needsReference, "\(loss.shape) without a reference")
    self.loss = loss
    self.reference = reference
  }

  package var metricNames: [String] { [Metric.loss.name] + loss.metricNames }
  package var mean: LossMean { .documents }
  package var lossUnit: String { "of a pair" }
  package var isCrossEntropy: Bool { false }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    let documents = losses.documentSums(batch)
    let pairs = loss.compare(
      documents,
      reference: reference.map { values in batch.documentNumbers.map { values[$0] } }
        ?? [Double](repeating: 0, count: documents.count), addingTo: &sums)
    // As a mean over documents, both of a pair having its loss: by documents the pass weighs what else it adds.
    sums.add(Metric.loss.name, 2 * pairs.loss, weight: Double(documents.count))
    var weights = batch.lossWeights
    for (document, factor) in pairs.derivatives.enumerated() {
      for index in batch.rows(ofDocument: document) { weights[index] *= 2 * factor }
    }
    return weights
  }
}
