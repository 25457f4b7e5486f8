import Foundation

/// The learning rate of each step: a linear warm-up from nothing, then one of three shapes down to a tenth of the peak.
/// It begins with the run, or where the run was extended.
package struct LearningRateSchedule: Sendable, Equatable {
  package enum Shape: String, Codable, CaseIterable, Sendable {
    /// Half a cosine from the peak to a tenth.
    case cosine
    /// Warm-up, stable, decay: the peak, then a straight line to a tenth over the last fifth (Hu et al. 2024,
    /// arXiv 2404.06395, section 4).
    case warmupStableDecay = "wsd"
    /// The peak to the end.
    case constant
  }

  package var shape: Shape
  package var peak: Double
  package var warmupSteps: Int
  /// Steps from `startStep` to the end.
  package var length: Int
  /// The step after which it begins.
  package var startStep: Int

  package init(shape: Shape, peak: Double, warmupSteps: Int, totalSteps: Int, startStep: Int = 0) {
    self.shape = shape
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.startStep = startStep
    length = totalSteps - startStep
  }

  private static let floorShare = 0.1
  private static let decayShare = 0.2

  /// The rate of a step, numbered from 1: the peak at `warmupSteps` after the start, a tenth of it at the end (unless
  /// constant).
  package func rate(step: Int) -> Double {
    let step = step - startStep
    if step < warmupSteps { return peak * Double(step) / Double(warmupSteps) }
    switch shape {
    case .constant: return peak
    case .cosine:
      let share = progress(step, from: warmupSteps)
      return peak * (Self.floorShare + (1 - Self.floorShare) * (1 + cos(.pi * share)) / 2)
    case .warmupStableDecay:
      let decaySteps = Int((Double(length) * Self.decayShare).rounded())
      let share = progress(step, from: max(warmupSteps, length - decaySteps))
      return peak * (1 - (1 - Self.floorShare) * share)
    }
  }

  /// How far `step` is on the way from `start` to the last step: 0 to 1.
  private func progress(_ step: Int, from start: Int) -> Double {
    min(1, max(0, Double(step - start) / Double(max(1, length - start))))
  }
}
