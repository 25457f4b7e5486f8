import Model

/// Notices that a run which learns from its own answers has nothing more to learn from.
package struct CollapseWatch {
  private struct Sign {
    var metric: String
    var isThere: (Double) -> Bool
    var text: String
    var steps = 0
  }

  /// Steps in a row.
  private static let patience = 5

  private var signs = [
    Sign(
      metric: "frac_reward_zero_std", isThere: { $0 >= 1 },
      text:
        "all answers to each prompt have had the same reward, so nothing is learned. Take easier or harder tasks, or "
        + "more --answers."),
    Sign(
      metric: "entropy", isThere: { $0 < 1e-3 },
      text:
        "the entropy of the answers has been 0: the model writes one answer only. Go back to an earlier checkpoint, with "
        + "a lower --learning-rate or a --beta."),
    Sign(
      metric: "completions/clipped_ratio", isThere: { $0 > 0.9 },
      text: "nearly all answers have been cut at --answer-tokens. Raise it, or check that the model has learned to end."
    ),
  ]

  package init() {}

  /// - Parameter sums: of a step.
  /// - Returns: a sentence at the step at which a sign has been there for long enough; nil otherwise.
  package mutating func notice(_ sums: MetricSums) -> String? {
    var notices: [String] = []
    for index in signs.indices {
      let value = sums.mean(signs[index].metric)
      signs[index].steps = value.map(signs[index].isThere) == true ? signs[index].steps + 1 : 0
      if signs[index].steps == Self.patience { notices.append(signs[index].text) }
    }
    return notices.isEmpty ? nil : "for \(Self.patience) steps " + notices.joined(separator: " And ")
  }
}
