import Model

extension Stage {
  /// A model that scores answers, from one that writes or scores, on pairs of answers (Bradley-Terry).
  package static let reward: Stage = {
    var stage = Stage(
      name: "reward", dataKind: .dpo, defaultEpochs: 1, defaultOptimizer: .adamW,
      defaultLearningRate: 1e-4,
      metrics: RewardObjective.metrics,
      makeObjectives: { _ in StageObjectives(training: RewardObjective(), heldOut: RewardObjective()) })
    stage.scores = true
    return stage
  }()
}

/// The mean loss of pairs of scores, -log σ(r⁺ - r⁻): minus the log-probability that the chosen answer wins, if answers of scores
/// r win by the ratio of e^r (Bradley & Terry 1952; Ouyang et al. 2022, arXiv 2203.02155, equation 1).
///
/// An engine's loss of a model that scores is minus the score, at a document's last token.
package struct RewardObjective: Objective {
  package init() {}

  package var metricNames: [String] { [Metric.loss.name] + Self.metrics.map(\.name) }
  package var mean: LossMean { .documents }
  package var lossUnit: String { "of a pair" }
  package var isCrossEntropy: Bool { false }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums)
    -> [Float]
  {
    let scores = losses.documentSums(batch).map { -$0.loss }
    precondition(scores.count % 2 == 0, "\(scores.count) documents")
    var weights = batch.lossWeights
    for chosen in stride(from: 0, to: scores.count, by: 2) {
      let margin = scores[chosen] - scores[chosen + 1]
      // As a mean over documents, both of a pair having its loss: by documents the pass weighs what else it adds.
      sums.add(Metric.loss.name, 2 * softplus(-margin), weight: 2)
      sums.add("accuracy", margin > 0 ? 1 : 0, weight: 1)
      sums.add("margin", margin, weight: 1)
      sums.add("mean_reward", scores[chosen] + scores[chosen + 1], weight: 2)
      let slope = Float(2 * sigmoid(-margin))
      for index in batch.rows(ofDocument: chosen) { weights[index] *= slope }
      for index in batch.rows(ofDocument: chosen + 1) { weights[index] *= -slope }
    }
    return weights
  }

  /// Under trl's names.
  package static let metrics = [
    Metric(
      "accuracy", [.train, .eval], unit: "share", format: .decimals(2), chart: "accuracy",
      smallerIsBetter: false,
      summary: .last, isInProgressLine: true,
      "reward model: the share of pairs whose chosen answer has the higher score"),
    Metric(
      "margin", [.train, .eval], format: .decimals(3), chart: "margin", smallerIsBetter: false,
      summary: .last,
      isInProgressLine: true, isInWatchText: true,
      "reward model: how much higher it is, mean over pairs"),
    Metric("mean_reward", [.train, .eval], "reward model: the mean score of all answers"),
  ]
}
