/// How far a value v is from the return R, where it was v₀ before the first pass over the answers:
///
///     max((v - R)², (clip(v, v₀ - ε, v₀ + ε) - R)²)/2
///
/// so that a value that has moved by more than ε, and nearer to the return, is left alone (trl; Schulman et al. 2017, arXiv
/// 1707.06347, has the same for the policy).
package struct ValueLoss: Sendable, Equatable {
  /// ε; 0 for no bound.
  package var clip: Double
  /// What the loss of values counts beside that of the policy.
  package var coefficient: Double

  package init(clip: Double, coefficient: Double) {
    self.clip = clip
    self.coefficient = coefficient
  }

  /// - Returns: the loss, its derivative with respect to v, and whether v is left alone.
  package func callAsFunction(
    _ value: Double, old: Double, target: Double
  ) -> (loss: Double, derivative: Double, isClipped: Bool) {
    let error = value - target
    guard clip > 0 else { return (error * error / 2, error, false) }
    let bounded = min(max(value, old - clip), old + clip) - target
    guard bounded * bounded > error * error else { return (error * error / 2, error, false) }
    return (bounded * bounded / 2, 0, true)
  }
}
