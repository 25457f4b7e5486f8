import Compute
import Foundation
import TestSupport
import Testing
import VectorMath

@Suite struct SelectionTests {
  /// Numbers of which some are equal.
  static func values(_ count: Int, seed: UInt64, in range: ClosedRange<Float> = -4...4) -> [Float] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      let value = Float.random(in: range, using: &random)
      return Bool.random(using: &random) ? value : value.rounded()
    }
  }

  @Test("the largest value of a rank is the one in that place when all are sorted", arguments: [1, 2, 15, 16, 17, 700])
  func rank(count: Int) {
    for seed in 0..<20 as Range<UInt64> {
      let values = Self.values(count, seed: seed)
      let sorted = values.sorted(by: >)
      #expect(largest(values.span) == sorted[0])
      for place in [1, 2, count / 2, count - 1, count] where place >= 1 && place <= count {
        #expect(largest(rank: place, of: values.span) == sorted[place - 1], "place \(place), seed \(seed)")
      }
      #expect(largest(rank: count + 1, of: values.span) == -.infinity)
    }
  }

  @Test("values that are no numbers are passed over")
  func notNumbers() {
    let values: [Float] = [.nan, 1, .nan, 3, 2]
    #expect(largest(values.span) == 3)
    #expect(largest(rank: 2, of: values.span) == 2)
    let nothing = [Float](repeating: .nan, count: 20)
    #expect(largest(nothing.span) == -.infinity)
    #expect(largest(rank: 1, of: nothing.span) == -.infinity)
  }

  @Test("the threshold is the largest that keeps a share of the weights", arguments: [1, 3, 40, 1000])
  func threshold(count: Int) {
    for seed in 0..<20 as Range<UInt64> {
      // Down to weights that are no longer normal floats, and zero.
      var weights = Self.values(count, seed: seed, in: -100...0).map { exp($0 / Float(1 + seed % 5)) }
      weights += [1, 0, .leastNonzeroMagnitude]
      let total = weights.reduce(0.0) { $0 + Double($1) }
      for share in [0, 0.1, 0.5, 0.9, 0.999] as [Float] {
        let found = VectorMath.threshold(weights.span, reaching: share)
        #expect(weights.contains(found))
        let kept = weights.filter { $0 >= found }.reduce(0.0) { $0 + Double($1) }
        let above = weights.filter { $0 > found }.reduce(0.0) { $0 + Double($1) }
        // Equal weights come one after the other, so the sum may be reached before the last of them.
        #expect(
          kept >= Double(share) * total - 1e-9 && above <= Double(share) * total + 1e-9, "share \(share), seed \(seed)")
      }
    }
  }

  @Test("log-sum-exp equals the sum in double precision, for large logits too")
  func logSum() {
    for (count, offset) in [(1, 0), (16, 300), (6400, -500)] as [(Int, Float)] {
      let values = Self.values(count, seed: 4).map { $0 + offset }
      let expected = log(values.reduce(0.0) { $0 + exp(Double($1 - offset)) }) + Double(offset)
      // Three operations in fp32 on numbers of this size.
      #expect(abs(Double(logSumExponential(values.span)) - expected) < 3e-7 * max(8, abs(Double(offset))))
    }
  }
}
