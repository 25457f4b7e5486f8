/// The Floats of a cache line, and of the longest vectors: what begins at a multiple of them is read without crossing one.
package let cacheLineFloats = 16

extension Int {
  /// The least multiple of `unit` that is not below this number, which is not negative.
  package func roundedUp(to unit: Int) -> Int { (self + unit - 1) / unit * unit }
}
