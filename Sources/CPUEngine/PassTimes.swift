import Machine

/// What a worker can be doing during a pass.
package enum PassPhase: Int, CaseIterable, Sendable {
  case products, attention, norms, activation, loss, rotary, routing, copies, waiting
}

/// Adds up where the time of each worker goes.
///
/// A worker that finishes something calls `lap`: the time since its previous lap counts for what it names.
package final class PassTimes {
  /// Numbers of a worker: one a phase, and the time of its last lap; on cache lines of its own.
  private static let stride = 16
  private let workers: Int
  private let nanoseconds: UnsafeMutablePointer<UInt64>

  package init(workers: Int) {
    self.workers = workers
    nanoseconds = .allocate(capacity: workers * Self.stride)
    nanoseconds.initialize(repeating: 0, count: workers * Self.stride)
  }

  deinit { nanoseconds.deallocate() }

  /// Begins the count of a worker again, without a phase.
  func start(_ worker: Int) { nanoseconds[worker * Self.stride + Self.stride - 1] = monotonicNanoseconds() }

  func lap(_ phase: PassPhase, _ worker: Int) {
    let base = nanoseconds + worker * Self.stride
    let now = monotonicNanoseconds()
    base[phase.rawValue] += now - base[Self.stride - 1]
    base[Self.stride - 1] = now
  }

  /// Seconds spent on a phase, over all workers.
  package func seconds(_ phase: PassPhase) -> Double {
    (0..<workers).reduce(0) { $0 + Double(nanoseconds[$1 * Self.stride + phase.rawValue]) / 1e9 }
  }
}
