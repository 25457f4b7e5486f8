/// The plain twin of every kernel of `Compute`: the formula written out, slow, one number after another.
///
/// Everything is generic over the number type. In Double the backward passes are checked against finite differences of
/// the forward passes; the fast kernels are then compared with these. Matrices are row-major arrays without gaps.
package enum Reference {
  /// e to the power of x: x = n·ln 2 + r, Taylor series of eʳ, times 2ⁿ.
  @inlinable
  package static func exponential<Scalar: BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    if x.isNaN { return x }
    if x > 700 { return .infinity }
    if x < -700 { return 0 }
    let count = (x * 1.442695040888963407).rounded()
    // ln 2 in two parts, the first with zeros at its end, so that its product with `count` is exact in Double.
    let rest = (x - count * 0.693147180369123816490) - count * 1.90821492927058770002e-10
    var term: Scalar = 1
    var sum: Scalar = 1
    for power in 1...20 {
      term *= rest / Scalar(power)
      sum += term
    }
    return sum * Scalar(sign: .plus, exponent: Scalar.Exponent(Int(count)), significand: 1)
  }

  /// The natural logarithm of a positive number: x = m·2ⁿ with 1 ≤ m < 2, and log m = 2·artanh((m - 1) / (m + 1)).
  @inlinable
  package static func logarithm<Scalar: BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    guard x.isFinite, x > 0 else { return x == 0 ? -.infinity : x }
    let ratio = (x.significand - 1) / (x.significand + 1)
    var power = ratio
    var sum: Scalar = 0
    for index in 0..<25 {
      sum += power / Scalar(2 * index + 1)
      power *= ratio * ratio
    }
    return 2 * sum + Scalar(Int(x.exponent)) * 0.693147180559945309417
  }

  /// The cosine and sine of an angle in radians: whole turns removed, then Taylor series.
  @inlinable
  package static func cosineAndSine<Scalar: BinaryFloatingPoint>(_ angle: Scalar) -> (cosine: Scalar, sine: Scalar) {
    let turns = (angle / 6.283185307179586477).rounded()
    let rest = (angle - turns * 6.28318530717958623200) - turns * 2.44929359829470641435e-16
    var term: Scalar = 1
    var cosine: Scalar = 0
    var sine: Scalar = 0
    for power in 0..<36 {
      switch power % 4 {
      case 0: cosine += term
      case 1: sine += term
      case 2: cosine -= term
      default: sine -= term
      }
      term *= rest / Scalar(power + 1)
    }
    return (cosine, sine)
  }

  @inlinable
  package static func sigmoid<Scalar: BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    1 / (1 + exponential(-x))
  }

  /// The upper half of the bits of the bfloat16 nearest to `value`, ties to even: found by comparing its neighbours.
  package static func bfloat16Bits(_ value: Float) -> UInt16 {
    let lower = UInt16(value.bitPattern >> 16)
    if value.isNaN { return lower | 0x40 }
    let below = Float(bitPattern: UInt32(lower) << 16)
    if below == value || value.isInfinite { return lower }
    let isLargest = lower & 0x7FFF == 0x7F7F
    // Beyond the largest bfloat16 the next step would be 2¹²⁸.
    let above = isLargest ? 0x1p128 : Double(Float(bitPattern: (UInt32(lower) + 1) << 16).magnitude)
    let toBelow = Double(value.magnitude) - Double(below.magnitude)
    let toAbove = above - Double(value.magnitude)
    if toBelow == toAbove { return lower & 1 == 0 ? lower : lower + 1 }
    return toBelow < toAbove ? lower : lower + 1
  }
}
