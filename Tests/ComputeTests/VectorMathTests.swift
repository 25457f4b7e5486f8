import CKernels
import Compute
import Foundation
import Model
import Reference
import TestSupport
import Testing
import VectorMath

struct VectorMathTests {
  private func exponential(_ x: Float) -> Float { VectorMath.exponential(SIMD16(repeating: x))[3] }

  @Test("the exponential is within two units in the last place from -87.3 to 88.7")
  func accuracy() {
    var worst = 0.0
    var generator = SeededGenerator(seed: 1)
    for _ in 0..<100_000 {
      var x = SIMD16<Float>()
      for lane in 0..<16 { x[lane] = Float.random(in: -87.3...88.7, using: &generator) }
      // Small arguments too, where most of a softmax lies.
      x[0] /= 100
      x[1] /= 10_000
      let actual = VectorMath.exponential(x)
      for lane in 0..<16 {
        let exact = exp(Double(x[lane]))
        worst = max(worst, abs(Double(actual[lane]) - exact) / Double(Float(exact).ulp))
      }
    }
    #expect(worst <= 2)
  }

  @Test("the exponential of zero, infinities, NaN and what lies beyond the range of Float")
  func extremes() {
    #expect(exponential(0) == 1)
    #expect(exponential(-0.0) == 1)
    #expect(exponential(-87.34) == 0)
    #expect(exponential(-1e30) == 0)
    #expect(exponential(-.infinity) == 0)
    #expect(exponential(88.73) == .infinity)
    #expect(exponential(1e30) == .infinity)
    #expect(exponential(.infinity) == .infinity)
    #expect(exponential(.nan).isNaN)
    #expect(exponential(-87.3) > 0)
    #expect(exponential(88.7).isFinite)
  }

  @Test("the normal distribution is right to a few units in the last place, and to some millionths far below zero")
  func normal() {
    var (worst, worstBelow) = (0.0, 0.0)
    for step in stride(from: -12, through: 12, by: 0.01) {
      let x = Float(step)
      let (share, density) = normalDistribution(SIMD16(repeating: x))
      let exact = 0.5 * erfc(-Double(x) / 2.0.squareRoot())
      let error = abs(Double(share[5]) - exact) / exact
      if x < -2 { worstBelow = max(worstBelow, error) } else { worst = max(worst, error) }
      #expect(abs(Double(density[5]) - exp(-Double(x) * Double(x) / 2) / (2 * Double.pi).squareRoot()) < 1e-7)
    }
    #expect(worst < 5e-7 && worstBelow < 1e-5, "\(worst), \(worstBelow)")
    #expect(normalDistribution(SIMD16(repeating: -100)).share[0] == 0)
    #expect(normalDistribution(SIMD16(repeating: 100)).share[0] == 1)
    #expect(normalDistribution(SIMD16(repeating: .nan)).share[0].isNaN)
  }

  @Test("the sigmoid is near 0 and 1 at the ends, never NaN for a number")
  func sigmoidEnds() {
    for (x, expected) in [(-Float.infinity, Float(0)), (-1e30, 0), (0, 0.5), (1e30, 1), (.infinity, 1)] {
      #expect(sigmoid(SIMD16(repeating: x))[0] == expected)
    }
    #expect(sigmoid(SIMD16(repeating: .nan))[0].isNaN)
  }

  @Test("rounding to bfloat16 agrees with the plain twin for every upper half and its ties")
  func bfloat16Rounding() {
    let lowerHalves: [UInt32] = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    for upper in UInt32(0)...0xFFFF {
      var values = SIMD16<Float>.zero
      for (lane, lower) in lowerHalves.enumerated() { values[lane] = Float(bitPattern: upper << 16 | lower) }
      let rounded = ckBFloat16FromFloats(values)
      for lane in lowerHalves.indices {
        let value = values[lane]
        let expected = Reference.bfloat16Bits(value)
        // The processor's instruction may take subnormal numbers for zero.
        let isZeroed = value.isSubnormal && rounded[lane] & 0x7FFF == 0
        if rounded[lane] != expected && !isZeroed {
          Issue.record("\(value) becomes \(rounded[lane]), expected \(expected)")
        }
        if BFloat16(value).bitPattern != expected { Issue.record("BFloat16(\(value)), expected \(expected)") }
        let widened = ckFloatsFromBFloat16(SIMD16(repeating: UInt16(upper)))[lane]
        if widened.bitPattern != upper << 16 { Issue.record("\(upper) widens to \(widened)") }
      }
    }
  }

  @Test("the sum and the largest of sixteen lanes")
  func reductions() {
    var values = SIMD16<Float>()
    for lane in 0..<16 { values[lane] = Float(lane * lane) }
    #expect(ckSum(values) == 1240)
    for lane in 0..<16 {
      var negative = SIMD16<Float>(repeating: -5)
      negative[lane] = -2
      #expect(ckLargest(negative) == -2)
    }
  }

  @Test("steps of sixteen cover every place once", arguments: 0...70)
  func steps(count: Int) {
    var seen: [Int] = []
    forEachSixteen(count) { start, lanes in seen += start..<start + lanes }
    #expect(seen == Array(0..<count))
    seen = []
    var sums = FourSums()
    sums.add(count) { start, lanes, sum in
      seen += start..<start + lanes
      for lane in 0..<lanes { sum[lane] += Float(start + lane) }
    }
    #expect(seen == Array(0..<count))
    #expect(sums.total == Float(count * (count - 1) / 2))
  }
}
