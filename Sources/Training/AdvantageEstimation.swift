import Model

/// How much better each token of an answer was than the value of the text before it promised: generalised advantage estimation
/// (Schulman et al. 2015, arXiv 1506.02438, equation 16).
///
/// With the reward rₜ of a token and the value vₜ of the row that predicts it, backwards from the last token,
///
///     δₜ = rₜ + γ·vₜ₊₁ - vₜ        Aₜ = δₜ + γ·λ·Aₜ₊₁
///
/// and the return, which the value is to become, is Aₜ + vₜ. An answer's reward belongs to its last token; each token's is less
/// β·(μₜ - ρₜ), with μ the token's log-probability and ρ that under the model at the start (Ouyang et al. 2022, arXiv 2203.02155,
/// equation 2). Nothing follows the last token, of an answer that was cut, too: the most tokens are part of the task, and the reward
/// is that of the text as it was cut (Pardo et al. 2018, arXiv 1712.00378, section 2).
package struct AdvantageEstimation: Sendable, Equatable {
  /// γ
  package var discount: Double
  /// λ
  package var lambda: Double
  /// β
  package var beta: Double

  package init(discount: Double, lambda: Double, beta: Double) {
    self.discount = discount
    self.lambda = lambda
    self.beta = beta
  }

  /// - Parameters:
  ///   - rewards: [tokens].
  ///   - values: [tokens].
  /// - Returns: [tokens] each.
  package func callAsFunction(
    rewards: [Double], values: [Double]
  ) -> (advantages: [Double], returns: [Double]) {
    var advantages = [Double](repeating: 0, count: rewards.count)
    var (next, nextValue) = (0.0, 0.0)
    for index in rewards.indices.reversed() {
      next = rewards[index] + discount * nextValue - values[index] + discount * lambda * next
      advantages[index] = next
      nextValue = values[index]
    }
    return (advantages, zip(advantages, values).map { $0 + $1 })
  }

  /// Gives the answers of a step, in batches with rewards, values and log-probabilities before it, the columns of advantages, which
  /// are whitened over all their tokens, and of returns, and says how much of the returns the values foresaw.
  ///
  /// Tokens are those with a loss weight, which the model chose: what tools have said between them is passed over.
  package func fill(_ batches: inout [Batch]) {
    var (advantages, returns, errors): ([Double], [Double], [Double]) = ([], [], [])
    for batch in batches {
      let reference = batch[.referenceLogProbability]
      guard let old = batch[.oldLogProbability], let known = batch[.oldValue], let scores = batch[.totalReward] else {
        preconditionFailure("answers without rewards, values or log-probabilities")
      }
      for document in 0..<batch.documentCount {
        let rows = Self.chosenRows(batch, document)
        var rewards = rows.map { row in reference.map { -beta * Double(old[row] - $0[row]) } ?? 0 }
        if !rewards.isEmpty { rewards[rewards.count - 1] += Double(scores[document]) }
        let answer = self(rewards: rewards, values: rows.map { Double(known[$0]) })
        advantages += answer.advantages
        returns += answer.returns
        errors += answer.advantages
      }
    }
    advantages = Self.whitened(advantages)
    let explained = Self.explainedVariance(returns, errors: errors).map { Float($0) }
    var next = 0
    for index in batches.indices {
      var columns = [[Float]](repeating: [Float](repeating: 0, count: batches[index].tokenCount), count: 2)
      for document in 0..<batches[index].documentCount {
        for row in Self.chosenRows(batches[index], document) {
          columns[0][row] = Float(advantages[next])
          columns[1][row] = Float(returns[next])
          next += 1
        }
      }
      batches[index][.advantage] = columns[0]
      batches[index][.return] = columns[1]
      batches[index][.explainedVariance] = explained.map {
        [Float](repeating: $0, count: batches[index].documentCount)
      }
    }
  }

  private static func chosenRows(_ batch: Batch, _ document: Int) -> [Int] {
    batch.rows(ofDocument: document).filter { batch.lossWeights[$0] > 0 }
  }

  /// (x - mean)/√(variance + 10⁻⁸), the variance with n - 1 as in trl; as they are where there are not two.
  package static func whitened(_ values: [Double]) -> [Double] {
    guard values.count > 1 else { return values }
    let (mean, variance) = moments(values)
    return values.map { ($0 - mean) / (variance + 1e-8).squareRoot() }
  }

  /// 1 - variance of the errors/variance of the returns: 1 where the values foresaw all, 0 where they are no better than the mean of
  /// the returns, below 0 where they are worse.
  ///
  /// - Returns: nil where all returns are equal.
  package static func explainedVariance(_ returns: [Double], errors: [Double]) -> Double? {
    guard returns.count > 1, returns.contains(where: { $0 != returns[0] }) else { return nil }
    return 1 - moments(errors).variance / moments(returns).variance
  }

  private static func moments(_ values: [Double]) -> (mean: Double, variance: Double) {
    let mean = values.reduce(0, +) / Double(values.count)
    return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1))
  }
}

extension DocumentColumn {
  static let explainedVariance = DocumentColumn("explained_variance")
}

extension TokenColumn {
  /// Of the row, before the first pass over the answers.
  static let oldValue = TokenColumn("old value")
  static let `return` = TokenColumn("return")
}
