import Model

/// The loss of answers that the model has written itself.
///
/// The batch has, in columns, what the source knows of each answer and of each of its tokens; the tokens that count have
/// the loss weight 1.
package struct PolicyObjective: Objective {
  private let loss: PolicyLoss
  /// `rewards/NAME/mean` of each reward, in the order of their columns.
  private let rewardNames: [String]

  package init(_ loss: PolicyLoss, rewards: [String]) {
    self.loss = loss
    rewardNames = rewards
  }

  package var metricNames: [String] {
    [Metric.loss.name] + Self.metrics.map(\.name) + rewardNames.map(Self.metricName)
  }
  package var mean: LossMean { loss.shape.mean }
  package var lossUnit: String { loss.shape.mean == .tokens ? "of a token" : "of an answer" }
  package var isCrossEntropy: Bool { false }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    var weights = [Float](repeating: 0, count: batch.tokenCount)
    guard let advantages = batch[.advantage] else { preconditionFailure("answers without advantages") }
    let (old, reference, written) = (
      batch[.oldLogProbability], batch[.referenceLogProbability], batch[.writtenLogProbability]
    )
    for document in 0..<batch.documentCount {
      let rows = batch.rows(ofDocument: document).filter { batch.lossWeights[$0] > 0 }
      func column(_ values: [Float]?) -> [Double]? { values.map { values in rows.map { Double(values[$0]) } } }
      let current = rows.map { -Double(losses.values[$0]) }
      let result = loss(
        PolicyLoss.Answer(
          advantages: rows.map { Double(advantages[$0]) }, current: current, old: column(old) ?? current,
          reference: column(reference), written: column(written)))
      for (row, derivative) in zip(rows, result.derivatives) { weights[row] = Float(-derivative) }
      let count = Double(rows.count)
      sums.add(Metric.loss.name, result.loss, weight: loss.shape.mean == .tokens ? count : 1)
      if reference != nil { sums.add("kl", result.divergence, weight: count) }
      sums.add("clip_ratio/low_mean", result.clippedLow, weight: count)
      sums.add("clip_ratio/high_mean", result.clippedHigh, weight: count)
      sums.add("entropy", result.surprise, weight: count)
      sums.add("sampling/sampling_logp_difference/mean", result.writingDifference, weight: count)
      sums.add("sampling/importance_sampling_ratio/mean", result.importance, weight: count)
    }
    for (name, column) in Self.documentMetrics {
      guard let values = batch[column] else { continue }
      sums.add(name, values.reduce(0) { $0 + Double($1) }, weight: Double(values.count))
    }
    for name in rewardNames {
      guard let values = batch[.reward(name)] else { continue }
      sums.add(Self.metricName(name), values.reduce(0) { $0 + Double($1) }, weight: Double(values.count))
    }
    return weights
  }

  static func metricName(_ reward: String) -> String { "rewards/\(reward)/mean" }

  /// What the source knows of each answer and the mean of is reported.
  private static let documentMetrics: [(String, DocumentColumn)] = [
    ("reward", .totalReward), ("reward_std", .groupDeviation), ("frac_reward_zero_std", .isGroupEqual),
    ("completions/mean_length", .answerLength), ("completions/clipped_ratio", .isTruncated),
    ("explained_variance", .explainedVariance),
  ]

  /// Under the names that trl gives them.
  package static let metrics = [
    Metric(
      "reward", [.train, .eval], label: "reward", format: .decimals(3), chart: "reward", smallerIsBetter: false,
      summary: .last, isInProgressLine: true, isInWatchText: true,
      "own answers: the weighted sum of the rewards, mean over answers; held out: of the likeliest answers"),
    Metric(
      "reward_std", label: "reward deviation", format: .decimals(3), chart: "rewardDeviation",
      "own answers: deviation of the rewards of the answers to one prompt, mean over prompts; PPO: of all answers"),
    Metric(
      "frac_reward_zero_std", unit: "share", format: .percent,
      "GRPO: the share of prompts whose answers all have the same reward, from which nothing is learned"),
    Metric(
      "completions/mean_length", [.train, .eval], unit: "tokens", label: "answer length", format: .decimals(1),
      chart: "answerLength", "own answers: tokens of an answer, its end included"),
    Metric(
      "completions/clipped_ratio", [.train, .eval], unit: "share", format: .percent,
      "own answers: the share of answers that were cut at the most tokens"),
    Metric(
      "clip_ratio/low_mean", unit: "share", format: .percent,
      "own answers: the share of tokens that have become so much less likely that they are left alone"),
    Metric(
      "clip_ratio/high_mean", unit: "share", format: .percent,
      "own answers: the same of those that have become more likely"),
    Metric(
      "entropy", unit: "nats/token", label: "entropy", format: .decimals(3), chart: "entropy", summary: .last,
      isInProgressLine: true,
      "own answers: of the next token, estimated by the mean of -log p of the tokens that were written"),
    Metric(
      "sampling/sampling_logp_difference/mean", unit: "nats/token", format: .scientific,
      "own answers: how far apart a token's log-probability is when it is written and when it is trained on"),
    Metric(
      "sampling/importance_sampling_ratio/mean", [.train],
      "own answers: the mean weight that corrects for that difference (--importance-limit)"),
  ]
}

extension DocumentColumn {
  static let totalReward = DocumentColumn("reward")
  static let groupDeviation = DocumentColumn("reward_std")
  static let isGroupEqual = DocumentColumn("frac_reward_zero_std")
  static let answerLength = DocumentColumn("length")
  static let isTruncated = DocumentColumn("truncated")
  static func reward(_ name: String) -> DocumentColumn { DocumentColumn("reward " + name) }
}

extension TokenColumn {
  static let advantage = TokenColumn("advantage")
  /// Before the first pass over the answers.
  static let oldLogProbability = TokenColumn("old log-probability")
  static let referenceLogProbability = TokenColumn("reference log-probability")
  /// When the token was written.
  static let writtenLogProbability = TokenColumn("written log-probability")
}
