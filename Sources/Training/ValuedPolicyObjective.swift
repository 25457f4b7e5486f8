import Model

/// The loss of answers that the model has written itself, with that of the values which their advantages come from: PPO
/// (Schulman et al. 2017, arXiv 1707.06347, equation 9).
package struct ValuedPolicyObjective: Objective {
  private let policy: PolicyObjective
  private let valueLoss: ValueLoss
  private let head: ValueHead

  package init(_ policy: PolicyObjective, _ valueLoss: ValueLoss, head: ValueHead) {
    self.policy = policy
    self.valueLoss = valueLoss
    self.head = head
  }

  package var metricNames: [String] { policy.metricNames + Self.metrics.map(\.name) }
  package var mean: LossMean { policy.mean }
  package var lossUnit: String { policy.lossUnit }
  package var isCrossEntropy: Bool { false }

  package func forwardBackward(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums
  ) {
    guard let engine = engine as? any ValuingEngine else { preconditionFailure("an engine without values") }
    var found = noSums
    let gradient = engine.forwardBackward(
      batch, valueHead: head.weights, mean: mean, tokensBefore: tokensBefore
    ) { weights($0, of: batch, addingTo: &found) }
    head.addGradient(gradient)
    sums += found
  }

  /// - Parameter sums: of this batch alone.
  private func weights(
    _ tokens: ValuedTokens, of batch: Batch, addingTo sums: inout MetricSums
  ) -> ValuedWeights {
    var ofValues = [Float](repeating: 0, count: batch.tokenCount)
    let ofPolicy = policy.weights(tokens.losses, of: batch, addingTo: &sums)
    guard let old = batch[.oldValue], let targets = batch[.return], let before = batch[.oldLogProbability] else {
      preconditionFailure("answers without values")
    }
    var (total, clipped, moved, count) = (0.0, 0.0, 0.0, 0.0)
    for row in 0..<batch.tokenCount where batch.lossWeights[row] > 0 {
      let result = valueLoss(Double(tokens.values[row]), old: Double(old[row]), target: Double(targets[row]))
      ofValues[row] = Float(valueLoss.coefficient * result.derivative)
      total += result.loss
      clipped += result.isClipped ? 1 : 0
      let logRatio = -Double(tokens.losses.values[row]) - Double(before[row])
      moved += logRatio * logRatio / 2
      count += 1
    }
    sums.add("loss/policy_avg", sums.sum(Metric.loss.name), weight: count)
    // The weight, by which the sum becomes a mean, is the policy's: its tokens.
    sums.add(Metric.loss.name, valueLoss.coefficient * total, weight: 0)
    sums.add("loss/value_avg", total, weight: count)
    sums.add("val/clipfrac_avg", clipped, weight: count)
    sums.add("policy/approxkl_avg", moved, weight: count)
    return ValuedWeights(losses: ofPolicy, values: ofValues)
  }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    preconditionFailure("a loss that does not follow from those of the tokens")
  }

  /// Under the names that trl gives them, beyond those of `PolicyObjective`.
  package static let metrics = [
    Metric("loss/policy_avg", [.train], "PPO: the policy's part of the loss, mean over tokens"),
    Metric(
      "loss/value_avg", label: "value loss", chart: "valueLoss", smallerIsBetter: true, summary: .last,
      isInProgressLine: true, "PPO: half the square of how far values are from the returns, mean over tokens"),
    Metric(
      "val/clipfrac_avg", unit: "share", format: .percent,
      "PPO: the share of tokens whose value has moved so far towards the return that it is left alone"),
    Metric(
      "policy/approxkl_avg", unit: "nats/token", format: .scientific,
      "PPO: how far the model has gone from the one that wrote the answers, by half the square of the change of log p"),
    Metric(
      "explained_variance", unit: "share", label: "explained variance", format: .decimals(3),
      chart: "explainedVariance", smallerIsBetter: false, summary: .last,
      "PPO: how much of the returns the values foresaw: 1 all, 0 no more than their mean"),
  ]
}
