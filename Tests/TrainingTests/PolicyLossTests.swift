import CPUEngine
import Foundation
import Model
import TestSupport
import Testing
import Training

private func policy(_ shape: PolicyLoss.Shape, beta: Double = 0, importanceLimit: Double = 0) -> PolicyLoss {
  PolicyLoss(
    shape, clipLow: 0.2, clipHigh: shape == .cispo ? 1.4 : 0.3, beta: beta, importanceLimit: importanceLimit,
    maximumTokens: 10)
}

@Suite("Policy loss")
struct PolicyLossTests {
  private static let old = [-1.2, -0.3, -2.5, -0.9, -1.7]

  private func answer(_ advantage: Double, _ shifts: [Double]) -> PolicyLoss.Answer {
    PolicyLoss.Answer(
      advantages: Self.old.map { _ in advantage }, current: zip(Self.old, shifts).map { $0 + $1 }, old: Self.old,
      reference: [-1.0, -0.5, -2.0, -1.4, -1.2], written: Self.old.map { $0 - 0.4 })
  }

  @Test("the derivative of each loss is that of its value", arguments: PolicyLoss.Shape.allCases, [0, 0.3])
  func derivatives(_ shape: PolicyLoss.Shape, beta: Double) {
    let loss = policy(shape, beta: beta, importanceLimit: 1.2)
    // Ratios on either side of each bound, and none on it.
    for (advantage, shifts) in [
      (0.7, [0.05, 0.4, -0.4, 0, 0.1]), (-1.3, [0.05, 0.4, -0.4, 0, 0.1]), (0.7, [0.5, 0.6, 0.4, 0.5, 0.3]),
      (-0.7, [-0.5, -0.6, -0.4, -0.5, -0.3]), (0, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ] {
      let found = loss(answer(advantage, shifts)).derivatives
      for index in shifts.indices {
        // The factor of cispo is fixed, but not that of the divergence: for the one the old values move along.
        let step = 1e-6
        func value(_ sign: Double) -> Double {
          var moved = answer(advantage, shifts)
          moved.current[index] += sign * step
          guard shape == .cispo else { return loss(moved).loss }
          var plain = loss
          plain.beta = 0
          let divergence = loss(moved).loss - plain(moved).loss
          moved.old[index] += sign * step
          moved.written?[index] += sign * step
          return divergence + plain(moved).loss
        }
        let slope = (value(1) - value(-1)) / (2 * step)
        #expect(abs(slope - found[index]) < 1e-7, "\(shape) at \(index): \(slope), \(found[index])")
      }
    }
  }

  @Test("in the first pass nothing is clipped, and grpo, dapo and reinforce have one gradient but for their means")
  func firstPass() {
    let begin = PolicyLoss.Answer(advantages: Self.old.map { _ in 0.5 }, current: Self.old, old: Self.old)
    for shape in PolicyLoss.Shape.allCases {
      let result = policy(shape)(begin)
      let scale: Double =
        switch shape {
        case .grpo, .gspo: 1.0 / 5
        case .drGRPO: 1.0 / 10
        case .dapo, .cispo, .reinforce: 1
        }
      #expect(result.derivatives.allSatisfy { abs($0 + 0.5 * scale) < 1e-12 }, "\(shape)")
      #expect(result.clippedLow + result.clippedHigh == 0)
    }
    #expect(policy(.dapo)(PolicyLoss.Answer(advantages: [], current: [], old: [])).loss == 0)
  }

  @Test("advantages are the rewards less the mean of their group, by the deviation that is asked for")
  func advantages() {
    let rewards = [1.0, 0, 0, 1, 3, 3, 3, 3]
    let group = PolicyLoss.advantages(rewards, groupSize: 4, scale: .group)
    let deviation = (1.0 / 3).squareRoot()
    #expect(abs(group.advantages[0] - 0.5 / (deviation + 1e-4)) < 1e-12 && group.advantages[1] == -group.advantages[0])
    #expect(group.advantages[4...].allSatisfy { $0 == 0 } && group.deviations[1] == 0)
    #expect(
      PolicyLoss.advantages(rewards, groupSize: 4, scale: .none).advantages == [0.5, -0.5, -0.5, 0.5, 0, 0, 0, 0])
    // Rounding of a mean of equal numbers is no difference.
    #expect(PolicyLoss.advantages([0.1, 0.1, 0.1], groupSize: 3, scale: .group).deviations == [0])
  }

  @Test("a collapse is said once, after five steps")
  func collapse() {
    var watch = CollapseWatch()
    func report(_ share: Double) -> MetricSums {
      var sums = MetricSums()
      sums.add("frac_reward_zero_std", share, weight: 1)
      sums.add("entropy", 0.5, weight: 1)
      return sums
    }
    let notices = ([1, 1, 0.9] + [Double](repeating: 1, count: 8)).map { watch.notice(report($0)) }
    #expect(notices.map { $0 != nil } == [false, false, false, false, false, false, false, true, false, false, false])
    #expect(notices[7]?.contains("the same reward") == true)
  }
}
