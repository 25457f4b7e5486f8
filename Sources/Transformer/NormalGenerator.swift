import Foundation

/// Normally distributed numbers from a seed: SplitMix64 (Steele, Lea and Flood, 2014) feeding the
/// Box–Muller transform. The same seed gives the same numbers on every run.
struct NormalGenerator {
  private var state: UInt64
  private var spare: Double?

  init(seed: UInt64) { state = seed }

  /// The next draw of mean 0 and standard deviation 1.
  mutating func next() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let radius = (-2 * log(1 - nextUniform())).squareRoot()
    let angle = 2 * Double.pi * nextUniform()
    spare = radius * sin(angle)
    return radius * cos(angle)
  }

  /// A number in [0, 1) with 53 random bits.
  private mutating func nextUniform() -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    bits ^= bits >> 31
    return Double(bits >> 11) * 0x1p-53
  }
}
