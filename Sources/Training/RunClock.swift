import Machine

/// Where the time of a session goes, and how much is left.
package struct RunClock {
  private let firstStep: Int
  private let totalSteps: Int
  private var start = 0.0
  private var last = 0.0
  /// When the steps that count for the rate began: the first ones also pay for page faults and new product shapes.
  private var rateStart: (step: Int, seconds: Double)?
  private var step: Int
  package private(set) var times = PhaseTimes()

  package init(firstStep: Int, totalSteps: Int) {
    self.firstStep = firstStep
    self.totalSteps = totalSteps
    step = firstStep
  }

  package mutating func start(at now: Double = monotonicSeconds()) {
    start = now
    last = now
  }

  /// Seconds since `start`.
  package var seconds: Double { monotonicSeconds() - start }

  /// Counts the time since the last lap to a phase.
  package mutating func lap(_ phase: WritableKeyPath<PhaseTimes, Double>, at now: Double = monotonicSeconds()) {
    times[keyPath: phase] += now - last
    last = now
  }

  package mutating func finishStep(_ step: Int, at now: Double = monotonicSeconds()) {
    self.step = step
    let warmup = min(10, max(1, (totalSteps - firstStep) / 10))
    if rateStart == nil, step - firstStep >= warmup { rateStart = (step, now) }
  }

  /// Seconds to the end of the run at the mean rate so far, evaluations and checkpoints included.
  package var secondsLeft: Double? { secondsLeft(at: monotonicSeconds()) }

  package func secondsLeft(at now: Double) -> Double? {
    guard let rateStart, step > rateStart.step else { return nil }
    return (now - rateStart.seconds) / Double(step - rateStart.step) * Double(totalSteps - step)
  }
}

/// Seconds of a session by what they were spent on.
package struct PhaseTimes: Sendable, Equatable {
  /// Forward and backward passes.
  package var passes = 0.0
  /// Gradient norm, AdamW, and zeroing the gradients.
  package var optimizer = 0.0
  /// Waiting for gradients and weights of other processes.
  package var exchange = 0.0
  /// Packing batches from the shards.
  package var data = 0.0
  package var evaluation = 0.0
  package var checkpoints = 0.0
}
