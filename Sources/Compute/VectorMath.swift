import CKernels

/// e to the power of each lane, within 2 units in the last place.
///
/// Above 88.72 infinity, below -87.33 zero (subnormal results would only be slow), NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, so eˣ = 2ⁿ·eʳ. Adding 1.5·2²³ rounds to a whole number. ln 2 is subtracted in two
/// parts with one rounding each. The polynomial 1 + r + r²·(…) is eʳ with a relative error of 3e-9, the smallest that
/// its degree allows (Remez).
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
@inline(__always)
package func sigmoid(_ x: SIMD16<Float>) -> SIMD16<Float> {
  1 / (1 + exponential(-x))
}
