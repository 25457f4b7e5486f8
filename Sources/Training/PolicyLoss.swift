import Foundation
import Model

/// How much a model is to make its own answers more or less likely.
///
/// A token has an advantage A, positive where its answer is better than the others to its prompt, or where it was better than
/// its value (`AdvantageEstimation`). With the log-probability π of a token, that before the first pass over the answers, μ, and
/// r = exp(π - μ), the loss of a token is
///
///     grpo, dapo, dr-grpo   -min(r·A, clip(r, 1 - ε, 1 + ε')·A)      Shao et al. 2024, arXiv 2402.03300, equation 3
///     cispo                 -min(r, ε')·A·π, the first factor fixed  MiniMax 2025, arXiv 2506.13585, equation 4
///     gspo                  as grpo, with r = exp(mean of π - μ over the answer)   Zheng et al. 2025, arXiv 2507.18071
///     reinforce             -A·π                                     Williams 1992
///
/// and the loss of a step is the mean over the tokens of each answer and then over the answers (grpo, gspo), over all tokens
/// (dapo, Yu et al. 2025, arXiv 2503.14476; cispo, reinforce), or the sum divided by the answers times the most tokens that
/// one can have (dr-grpo, Liu et al. 2025, arXiv 2503.20783).
///
/// Added to a token's loss is β·r·(exp(ρ - π) - (ρ - π) - 1), with ρ that of the model at the start: an estimate of the
/// divergence from it that is never negative (Schulman 2020, "Approximating KL Divergence"), whose gradient is right because r
/// is in it (DeepSeek-V3.2, arXiv 2512.02556). And where the answers were
/// written with other numbers than training computes with, a token's loss is first multiplied by min(exp(μ - σ), C), with σ
/// what it was written with (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training").
package struct PolicyLoss: Sendable, Equatable {
  package enum Shape: String, CaseIterable, Sendable {
    case grpo, dapo, cispo, gspo, reinforce
    case drGRPO = "dr-grpo"

    /// What one more answer, or one more token, adds to the divisor of the step's loss.
    var mean: LossMean {
      switch self {
      case .grpo, .gspo, .drGRPO: .documents
      case .dapo, .cispo, .reinforce: .tokens
      }
    }
  }

  package var shape: Shape
  /// ε and ε'.
  package var clipLow: Double
  package var clipHigh: Double
  /// β
  package var beta: Double
  /// C; 0 for no correction.
  package var importanceLimit: Double
  /// The most tokens of an answer.
  package var maximumTokens: Int

  package init(
    _ shape: Shape, clipLow: Double, clipHigh: Double, beta: Double, importanceLimit: Double, maximumTokens: Int
  ) {
    self.shape = shape
    self.clipLow = clipLow
    self.clipHigh = clipHigh
    self.beta = beta
    self.importanceLimit = importanceLimit
    self.maximumTokens = maximumTokens
  }

  /// An answer: [tokens] advantages, and natural logarithms of probabilities.
  package struct Answer: Sendable {
    /// A
    package var advantages: [Double]
    /// π
    package var current: [Double]
    /// μ
    package var old: [Double]
    /// ρ; nil without a divergence.
    package var reference: [Double]?
    /// σ; nil where it is not known.
    package var written: [Double]?

    package init(
      advantages: [Double], current: [Double], old: [Double], reference: [Double]? = nil, written: [Double]? = nil
    ) {
      self.advantages = advantages
      self.current = current
      self.old = old
      self.reference = reference
      self.written = written
    }
  }

  /// What one answer adds to a step.
  package struct Result: Sendable {
    package var loss = 0.0
    /// [tokens] the derivative of `loss` with respect to π.
    package var derivatives: [Double] = []
    /// Sums over the tokens.
    package var divergence = 0.0
    package var clippedLow = 0.0
    package var clippedHigh = 0.0
    package var surprise = 0.0
    package var writingDifference = 0.0
    package var importance = 0.0
  }

  package func callAsFunction(_ answer: Answer) -> Result {
    let count = answer.current.count
    guard count > 0 else { return Result() }
    var result = Result()
    let scale: Double =
      switch shape {
      case .grpo, .gspo: 1 / Double(count)
      case .drGRPO: 1 / Double(maximumTokens)
      case .dapo, .cispo, .reinforce: 1
      }
    let logRatios = zip(answer.current, answer.old).map { $0 - $1 }
    let meanLogRatio = logRatios.reduce(0, +) / Double(count)
    let importance = (0..<count).map { index in
      guard let written = answer.written else { return 1.0 }
      result.writingDifference += abs(answer.old[index] - written[index])
      let ratio = exp(answer.old[index] - written[index])
      return importanceLimit > 0 ? min(ratio, importanceLimit) : 1
    }
    result.importance = importance.reduce(0, +)
    for index in 0..<count {
      let current = answer.current[index]
      let token = tokenLoss(
        current, logRatio: shape == .gspo ? meanLogRatio : logRatios[index], answer.advantages[index])
      result.loss += token.loss * importance[index]
      result.derivatives.append(token.derivative * importance[index])
      result.clippedLow += token.isClippedLow ? 1 : 0
      result.clippedHigh += token.isClippedHigh ? 1 : 0
      result.surprise -= current
    }
    if shape == .gspo {
      // The ratio of the answer is moved by each of its tokens alike.
      let mean = result.derivatives.reduce(0, +) / Double(count)
      result.derivatives = Array(repeating: mean, count: count)
    }
    if let reference = answer.reference {
      for index in 0..<count {
        let difference = reference[index] - answer.current[index]
        let ratio = exp(shape == .gspo ? meanLogRatio : logRatios[index])
        result.divergence += ratio * (exp(difference) - difference - 1)
        // Of a token's own ratio the derivative is r times the divergence, which leaves r·(π - ρ) of both.
        result.derivatives[index] += beta * ratio * (shape == .gspo ? 1 - exp(difference) : -difference)
      }
      result.loss += beta * result.divergence
      if shape == .gspo {
        for index in 0..<count { result.derivatives[index] += beta * result.divergence / Double(count) }
      }
    }
    result.loss *= scale
    for index in 0..<count { result.derivatives[index] *= scale }
    return result
  }

  /// The loss of a token and its derivative with respect to π or, for gspo, to the mean of π.
  private func tokenLoss(
    _ current: Double, logRatio: Double, _ advantage: Double
  ) -> (loss: Double, derivative: Double, isClippedLow: Bool, isClippedHigh: Bool) {
    let ratio = exp(logRatio)
    switch shape {
    case .reinforce: return (-advantage * current, -advantage, false, false)
    case .cispo:
      let factor = min(ratio, clipHigh)
      return (-factor * advantage * current, -factor * advantage, false, ratio > clipHigh && advantage > 0)
    case .grpo, .dapo, .drGRPO, .gspo:
      let clipped = min(max(ratio, 1 - clipLow), 1 + clipHigh)
      let isClippedLow = ratio < 1 - clipLow && advantage < 0
      let isClippedHigh = ratio > 1 + clipHigh && advantage > 0
      let isFlat = isClippedLow || isClippedHigh
      return (
        -min(ratio * advantage, clipped * advantage), isFlat ? 0 : -ratio * advantage, isClippedLow, isClippedHigh
      )
    }
  }

  /// The advantages of answers, of which `groupSize` in turn are to one prompt: the reward less the group's mean, divided
  /// by a deviation as the scale says.
  ///
  /// - Returns: [answers] the advantages, and [groups] the deviation of the rewards of each.
  package static func advantages(
    _ rewards: [Double], groupSize: Int, scale: RewardScale
  ) -> (advantages: [Double], deviations: [Double]) {
    var advantages: [Double] = []
    var deviations: [Double] = []
    let whole = deviation(rewards[...])
    for start in stride(from: 0, to: rewards.count, by: groupSize) {
      let group = rewards[start..<start + groupSize]
      let mean = group.reduce(0, +) / Double(groupSize)
      let own = deviation(group)
      deviations.append(own)
      let divisor =
        switch scale {
        case .group: own + 1e-4
        case .batch: whole + 1e-4
        case .none: 1.0
        }
      advantages += group.map { ($0 - mean) / divisor }
    }
    return (advantages, deviations)
  }

  /// √(Σ (x - mean)²/(n - 1)), as in trl; 0 where all are equal, whatever the rounding of their mean.
  private static func deviation(_ values: ArraySlice<Double>) -> Double {
    guard values.count > 1, values.contains(where: { $0 != values.first }) else { return 0 }
    let mean = values.reduce(0, +) / Double(values.count)
    return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
  }
}

/// What the advantages are divided by: the deviation of the rewards of the group, of the step, or nothing.
package enum RewardScale: String, CaseIterable, Sendable { case group, batch, none }

extension RewardScale: SettingChoice {}
extension PolicyLoss.Shape: SettingChoice {}
