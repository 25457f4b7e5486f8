/// A generator of random numbers whose whole state is one number (Steele, Lea and Flood, "Fast Splittable Pseudorandom
/// Number Generators", 2014). The same seed gives the same numbers on every run and every machine.
package struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  /// 64 random bits.
  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }

  /// A number in [0, 1) with 53 random bits.
  package mutating func nextUniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A number in 0..<bound, from one draw of 64 bits.
  package mutating func next(below bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }
}
