import Model
import TestSupport
import Testing
import Training

@Suite("Advantage estimation")
struct AdvantageEstimationTests {
  private static let rewards = [0.1, -0.2, 0, 0.3, 1]
  private static let values = [0.5, 0.4, -0.1, 0.7, 0.2]

  /// Aₜ = Σ (γλ)ˡ·δₜ₊ₗ as it is defined, each sum by itself.
  private func plain(_ gamma: Double, _ lambda: Double) -> [Double] {
    let (rewards, values) = (Self.rewards, Self.values)
    let deltas = rewards.indices.map { rewards[$0] + gamma * ($0 + 1 < values.count ? values[$0 + 1] : 0) - values[$0] }
    return rewards.indices.map { start in
      var (sum, factor) = (0.0, 1.0)
      for delta in deltas[start...] {
        sum += factor * delta
        factor *= gamma * lambda
      }
      return sum
    }
  }

  @Test("advantages are the sums of the definition", arguments: [1, 0.9, 0], [1, 0.95, 0])
  func definition(gamma: Double, lambda: Double) {
    let found = AdvantageEstimation(discount: gamma, lambda: lambda, beta: 0)(
      rewards: Self.rewards, values: Self.values)
    for (index, expected) in plain(gamma, lambda).enumerated() {
      #expect(abs(found.advantages[index] - expected) < 1e-12)
      #expect(abs(found.returns[index] - expected - Self.values[index]) < 1e-12)
    }
    #expect(AdvantageEstimation(discount: 1, lambda: 1, beta: 0)(rewards: [], values: []).advantages.isEmpty)
  }

  @Test("at λ = 1 and γ = 1 the return is what is still to come; at λ = 0 the next value stands for it")
  func ends() {
    let whole = AdvantageEstimation(discount: 1, lambda: 1, beta: 0)(rewards: Self.rewards, values: Self.values)
    for index in Self.rewards.indices {
      #expect(abs(whole.returns[index] - Self.rewards[index...].reduce(0, +)) < 1e-12)
    }
    let next = AdvantageEstimation(discount: 1, lambda: 0, beta: 0)(rewards: Self.rewards, values: Self.values)
    #expect(abs(next.returns[0] - (0.1 + 0.4)) < 1e-12 && abs(next.returns[4] - 1) < 1e-12)
  }

  @Test("whitened advantages have the mean 0 and the variance 1")
  func whitening() {
    let found = AdvantageEstimation.whitened([3, -1, 4, 1, -5])
    #expect(abs(found.reduce(0, +)) < 1e-12)
    #expect(abs(found.reduce(0) { $0 + $1 * $1 } / 4 - 1) < 1e-8)
    #expect(AdvantageEstimation.whitened([2, 2]) == [0, 0] && AdvantageEstimation.whitened([2]) == [2])
  }

  @Test("how much of the returns values foresaw")
  func explained() {
    #expect(AdvantageEstimation.explainedVariance([1, 2, 3], errors: [0, 0, 0]) == 1)
    #expect(AdvantageEstimation.explainedVariance([1, 2, 3], errors: [1, 2, 3]) == 0)
    #expect(AdvantageEstimation.explainedVariance([1, 2, 3], errors: [2, 4, 6])! < 0)
    #expect(AdvantageEstimation.explainedVariance([1, 1], errors: [0, 1]) == nil)
  }

  @Test("only an answer's own tokens count; its reward is at the last, each token's is less for the divergence")
  func columns() throws {
    // A prompt of two tokens and answers of three and two, between which a tool has said a token; a masked answer.
    var first = Batch()
    first.append(document: [1, 2, 3, 4, 9, 5] as [Int32]) { [2, 3, 5].contains($0) }
    first.append(document: [1, 2, 6, 7] as [Int32]) { $0 >= 2 }
    var second = Batch()
    second.append(document: [1, 2, 8, 8, 8] as [Int32]) { _ in false }
    func column(_ batch: Batch, _ value: (Int) -> Float) -> [Float] { (0..<batch.tokenCount).map(value) }
    var batches = [first, second]
    for index in batches.indices {
      let batch = batches[index]
      batches[index][TokenColumn("old value")] = column(batch) { 0.1 * Float($0) }
      batches[index][TokenColumn("old log-probability")] = column(batch) { -1 - 0.1 * Float($0) }
      batches[index][TokenColumn("reference log-probability")] = column(batch) { _ in -1.5 }
      batches[index][DocumentColumn("reward")] = (0..<batch.documentCount).map { Float($0) + 1 }
    }
    let estimation = AdvantageEstimation(discount: 0.9, lambda: 0.8, beta: 0.5)
    estimation.fill(&batches)
    // Rows 1, 2 and 4 of the first answer, 6 and 7 of the second.
    func answer(_ rows: [Int], _ reward: Double) -> (advantages: [Double], returns: [Double]) {
      var rewards = rows.map { -0.5 * (-1 - 0.1 * Double($0) + 1.5) }
      rewards[rows.count - 1] += reward
      return estimation(rewards: rewards, values: rows.map { 0.1 * Double($0) })
    }
    let (one, two) = (answer([1, 2, 4], 1), answer([6, 7], 2))
    let advantages = AdvantageEstimation.whitened(one.advantages + two.advantages)
    let found = try #require(batches[0][TokenColumn("advantage")])
    let returns = try #require(batches[0][TokenColumn("return")])
    for (place, row) in [1, 2, 4, 6, 7].enumerated() {
      #expect(abs(Double(found[row]) - advantages[place]) < 1e-5)
      #expect(abs(Double(returns[row]) - (one.returns + two.returns)[place]) < 1e-5)
    }
    #expect([0, 3, 5].allSatisfy { found[$0] == 0 && returns[$0] == 0 })
    #expect(batches[1][TokenColumn("advantage")]?.allSatisfy { $0 == 0 } == true)
  }

  @Test("the loss of a value is the larger of both, and its derivative that of its value")
  func valueLoss() {
    for clip in [0, 0.2] {
      let loss = ValueLoss(clip: clip, coefficient: 1)
      for (value, old, target) in [
        (0.5, 0.4, 1.0), (0.9, 0.4, 1.0), (0.1, 0.4, 1.0), (0.5, 0.8, 0.2), (1.5, 0.4, 1.0), (0.3, 0.3, 0.3),
      ] {
        let found = loss(value, old: old, target: target)
        let plain = (value - target) * (value - target) / 2
        let bounded = min(max(value, old - clip), old + clip) - target
        #expect(abs(found.loss - (clip > 0 ? max(plain, bounded * bounded / 2) : plain)) < 1e-12)
        let slope =
          (loss(value + 1e-6, old: old, target: target).loss - loss(value - 1e-6, old: old, target: target).loss) / 2e-6
        #expect(abs(slope - found.derivative) < 1e-6, "\(value), \(old), \(target)")
        #expect(found.isClipped == (clip > 0 && abs(bounded) > abs(value - target)))
      }
    }
  }
}
