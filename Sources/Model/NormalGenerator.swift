import Foundation
import Storage

/// Normally distributed numbers from a seed: the Box–Muller transform of uniform ones. The same seed gives the same
/// numbers on every run.
struct NormalGenerator {
  private var uniform: SplitMix64
  private var spare: Double?

  init(seed: UInt64) { uniform = SplitMix64(seed: seed) }

  /// The next draw of mean 0 and standard deviation 1.
  mutating func next() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let radius = (-2 * log(1 - uniform.nextUniform())).squareRoot()
    let angle = 2 * Double.pi * uniform.nextUniform()
    spare = radius * sin(angle)
    return radius * cos(angle)
  }
}
