import CKernels

/// e to the power of each lane, within 2 units in the last place.
///
/// Above 88.72 infinity, below -87.33 zero (subnormal results would only be slow), NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, so eˣ = 2ⁿ·eʳ. Adding 1.5·2²³ rounds to a whole number. ln 2 is subtracted in two
/// parts with one rounding each. The polynomial 1 + r + r²·(…) is eʳ with a relative error of 3e-9, the smallest that
/// its degree allows (Remez).
@inlinable
@inline(__always)
package func exponential(_ x: SIMD16<Float>) -> SIMD16<Float> {
  let held = ckClamp(x, -100, 100)
  let count = SIMD16(repeating: 0x1.8p23).addingProduct(held, SIMD16(repeating: 0x1.715476p0)) - 0x1.8p23
  var rest = held.addingProduct(count, SIMD16(repeating: -0x1.62e43p-1))
  rest = rest.addingProduct(count, SIMD16(repeating: 0x1.05c61p-29))
  var sum = SIMD16<Float>(repeating: 0x1.6a2352p-10)
  sum = SIMD16(repeating: 0x1.123a6cp-7).addingProduct(sum, rest)
  sum = SIMD16(repeating: 0x1.5558f4p-5).addingProduct(sum, rest)
  sum = SIMD16(repeating: 0x1.555490p-3).addingProduct(sum, rest)
  sum = SIMD16(repeating: 0x1.fffffcp-2).addingProduct(sum, rest)
  sum = SIMD16(repeating: 1).addingProduct(sum, rest)
  sum = SIMD16(repeating: 1).addingProduct(sum, rest)
  return ckZeroWhereBelow(ckScaleByPowerOfTwo(sum, count), x, -87.33654)
}

/// 1 / (1 + e⁻ˣ) for each lane.
@inlinable
@inline(__always)
package func sigmoid(_ x: SIMD16<Float>) -> SIMD16<Float> {
  1 / (1 + exponential(-x))
}

/// 2ˣ with a relative error below 2e-7, for any x up to 127; exactly zero far below -126. NaN stays NaN.
@inlinable
@inline(__always)
package func powerOfTwo(_ x: SIMD16<Float>) -> SIMD16<Float> {
  let whole = ckRound(x)
  let rest = x - whole
  // The polynomial of degree 5 with the least relative error, 9.1e-8, on ±½, and exact at 0.
  var sum = SIMD16<Float>(repeating: 9.671512649e-3).addingProduct(rest, SIMD16(repeating: 1.326472707e-3))
  sum = SIMD16<Float>(repeating: 5.550733744e-2).addingProduct(rest, sum)
  sum = SIMD16<Float>(repeating: 2.402224209e-1).addingProduct(rest, sum)
  sum = SIMD16<Float>(repeating: 6.931469776e-1).addingProduct(rest, sum)
  sum = SIMD16<Float>(repeating: 1).addingProduct(rest, sum)
  return ckScaleByPowerOfTwo(sum, whole)
}

/// The natural logarithm of positive normal numbers; NaN for infinity and NaN.
@inlinable
@inline(__always)
package func logarithm(_ x: SIMD16<Float>) -> SIMD16<Float> {
  // x = m·2ⁿ with m from √½ to √2, and log m = 2·artanh(r) with r = (m - 1) / (m + 1), |r| < 0.172.
  let bits = unsafeBitCast(x, to: SIMD16<Int32>.self)
  let exponent = (bits &- 0x3F35_04F3) &>> 23
  let mantissa = unsafeBitCast(bits &- (exponent &<< 23), to: SIMD16<Float>.self)
  // The bits of 1.5·2²³ plus a whole number are that float plus the number.
  let power = unsafeBitCast(exponent &+ 0x4B40_0000, to: SIMD16<Float>.self) - 0x1.8p23
  let ratio = (mantissa - 1) / (mantissa + 1)
  let square = ratio * ratio
  var sum = SIMD16<Float>(repeating: 1 / 7).addingProduct(square, SIMD16(repeating: 1 / 9))
  sum = SIMD16<Float>(repeating: 1 / 5).addingProduct(square, sum)
  sum = SIMD16<Float>(repeating: 1 / 3).addingProduct(square, sum)
  sum = SIMD16<Float>(repeating: 1).addingProduct(square, sum)
  return (2 * ratio * sum).addingProduct(power, SIMD16(repeating: 0.693147181)) + x * 0
}

/// Φ(x), the share of the standard normal distribution below x, and its density, for each lane; Φ with a relative error of some
/// 1e-6 far below zero and 2e-7 elsewhere.
///
/// With z = |x| / √2 and t = 1 / (1 + z / 2), Φ(-|x|) = ½·erfc(z) = ½·e^(-z²)·t·Q(t). Q is smooth from 0.282 at t = 0 to 1;
/// the polynomial is the one of its degree with the least relative error, 5e-9, on ⅛ ≤ t ≤ 1 (Remez). Below that
/// e^(-z²) is zero.
@inlinable
@inline(__always)
package func normalDistribution(_ x: SIMD16<Float>) -> (share: SIMD16<Float>, density: SIMD16<Float>) {
  let isNegative = x .< 0
  let size = x.replacing(with: -x, where: isNegative)
  let t = 1 / SIMD16<Float>(repeating: 1).addingProduct(size, SIMD16(repeating: 0.35355339))
  var sum = SIMD16<Float>(repeating: 0.04048403187472796)
  sum = SIMD16(repeating: -0.21865222306020887).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.4521727796614181).addingProduct(sum, t)
  sum = SIMD16(repeating: -0.3937556745685497).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.07536513468433442).addingProduct(sum, t)
  sum = SIMD16(repeating: -0.024719416962542397).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.07967219633740104).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.17887688040002525).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.24632033763127342).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.28214294573298654).addingProduct(sum, t)
  sum = SIMD16(repeating: 0.28209301325737446).addingProduct(sum, t)
  let power = exponential(-0.5 * x * x)
  let below = 0.5 * power * t * sum
  return ((1 - below).replacing(with: below, where: isNegative), power * 0.39894228)
}
