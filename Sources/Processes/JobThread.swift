import Foundation
import Synchronization

/// A thread that does jobs one after another, in the order in which they came.
///
/// - Unchecked Sendable: `jobs`, `unfinished` and `isStopping` change only with `condition` locked; the rest is atomic.
final class JobThread: @unchecked Sendable {
  private let condition = NSCondition()
  private var jobs: [() -> Void] = []
  private var unfinished = 0
  private var isStopping = false
  private let awaited = Atomic<Bool>(false)

  init(name: String) {
    let thread = Thread { self.work() }
    thread.name = name
    thread.start()
  }

  /// Whether a thread waits for the jobs to end, so that polling without pauses is worth the processor time.
  var isAwaited: Bool { awaited.load(ordering: .relaxed) }

  /// Queues a job.
  func begin(_ job: @escaping () -> Void) {
    condition.lock()
    jobs.append(job)
    unfinished += 1
    condition.broadcast()
    condition.unlock()
  }

  /// Waits until all jobs are done.
  func finish() {
    finish { [self] in
      while unfinished > 0 { condition.wait() }
    }
  }

  /// - Parameter wait: returns when all jobs are done; `condition` is locked.
  private func finish(_ wait: () -> Void) {
    awaited.store(true, ordering: .relaxed)
    condition.lock()
    wait()
    condition.unlock()
    awaited.store(false, ordering: .relaxed)
  }

  /// Does a job after those that are queued and waits for it, for some seconds at most.
  ///
  /// - Parameter giveUp: called when they are over; the job may still be going on.
  func run<Result>(within seconds: Double, giveUp: () -> Never, _ job: () -> Result) -> Result {
    let end = Date(timeIntervalSinceNow: seconds)
    return run(job) { [self] in
      while unfinished > 0 {
        if !condition.wait(until: end) && unfinished > 0 {
          condition.unlock()
          giveUp()
        }
      }
    }
  }

  /// Does a job after those that are queued and waits for it.
  func run<Result>(_ job: () -> Result) -> Result {
    run(job) { [self] in
      while unfinished > 0 { condition.wait() }
    }
  }

  /// - Parameter wait: returns when all jobs are done; `condition` is locked.
  private func run<Result>(_ job: () -> Result, _ wait: () -> Void) -> Result {
    var result: Result?
    withoutActuallyEscaping(job) { job in
      begin { result = job() }
      finish(wait)
    }
    return result!
  }

  /// Ends the thread after the jobs that are queued.
  func stop() {
    condition.lock()
    isStopping = true
    condition.broadcast()
    condition.unlock()
  }

  private func work() {
    while takeJob() {
      condition.lock()
      unfinished -= 1
      condition.broadcast()
      condition.unlock()
    }
  }

  /// Does the next job and releases it before returning; false when the thread is to end.
  @inline(never)
  private func takeJob() -> Bool {
    condition.lock()
    while jobs.isEmpty && !isStopping { condition.wait() }
    let job = jobs.isEmpty ? nil : jobs.removeFirst()
    condition.unlock()
    job?()
    return job != nil
  }
}
