/// The Floats in a cache line, which is also the longest vector: a read of that many at a multiple of it crosses no
/// cache line.
@inlinable package var cacheLineFloats: Int { 16 }

extension Int {
  /// The smallest multiple of `unit` that is at least this number, which must not be negative.
  @inlinable
  package func roundedUp(to unit: Int) -> Int { (self + unit - 1) / unit * unit }
}
