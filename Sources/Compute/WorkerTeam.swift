import Foundation
import Synchronization

/// A fixed team of threads that do the same work side by side, each on its own part.
///
/// The calling thread is worker 0; the others wait for `run`. Within `run`, `barrier()` waits for all workers.
package final class WorkerTeam {
  package let count: Int
  /// The matrix products of each worker.
  package let products: [MatrixProducts]
  private let state: SharedState

  /// - Parameter count: threads, the calling one included.
  package init(count: Int) {
    precondition(count > 0, "a team of \(count)")
    self.count = count
    products = (0..<count).map { _ in MatrixProducts() }
    let state = SharedState()
    self.state = state
    // Each worker computes on its own core; its products must not start threads of its own inside them.
    ProductKernel.useOneThread()
    for worker in 1..<max(count, 1) {
      let thread = Thread {
        ProductKernel.useOneThread()
        state.work(as: worker)
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  deinit { state.stop() }

  /// Makes the current thread worker 0, the one that calls `run`: only needed in another thread than that of `init`.
  package func moveToCurrentThread() { ProductKernel.useOneThread() }

  /// Calls `body` once in each worker, at the same time, with the worker's number; returns when all are done.
  ///
  /// `body` may write only what belongs to its worker, until a barrier says that the others have finished reading.
  package func run(_ body: (_ worker: Int) -> Void) {
    if count == 1 { return body(0) }
    withoutActuallyEscaping(body) { body in
      state.start(body, helpers: count - 1)
      body(0)
      state.finish()
    }
  }

  /// Waits until every worker of the current `run` has called this.
  package func barrier() {
    if count > 1 { state.barrier(count) }
  }

  /// The part of `total` things that belongs to a worker, in units of `multiple`: contiguous, all together everything.
  package func share(of total: Int, worker: Int, multiple: Int = 1) -> Range<Int> {
    let units = (total + multiple - 1) / multiple
    return min(total, units * worker / count * multiple)..<min(total, units * (worker + 1) / count * multiple)
  }
}

/// What the threads of a team share.
///
/// - Unchecked Sendable: `body`, `generation` and `isStopping` change only with `condition` locked, and `body` stays as
///   it is until `finish` has seen the last helper leave it. The rest is atomic.
private final class SharedState: @unchecked Sendable {
  private let condition = NSCondition()
  private var body: ((Int) -> Void)?
  private var generation = 0
  private var isStopping = false
  /// The same number as `generation`, for looking without the lock.
  private let announced = Atomic<Int>(0)
  private let running = Atomic<Int>(0)
  private let arrivals = Atomic<Int>(0)
  private let barriersPassed = Atomic<Int>(0)

  func start(_ body: @escaping (Int) -> Void, helpers: Int) {
    running.store(helpers, ordering: .releasing)
    condition.lock()
    self.body = body
    generation += 1
    announced.store(generation, ordering: .releasing)
    condition.broadcast()
    condition.unlock()
  }

  func finish() {
    wait { running.load(ordering: .acquiring) == 0 }
    condition.lock()
    body = nil
    condition.unlock()
  }

  func stop() {
    condition.lock()
    isStopping = true
    condition.broadcast()
    condition.unlock()
  }

  /// Takes part in every run until the team goes.
  func work(as worker: Int) {
    var seen = 0
    while takePart(as: worker, after: &seen) { running.subtract(1, ordering: .releasing) }
  }

  /// Waits for the run after generation `seen` and does the worker's part of it; false when the team goes.
  ///
  /// A call of its own, so that the worker has released `body` before it counts as done: `withoutActuallyEscaping`
  /// stops the program if the closure is still held when `finish` returns.
  @inline(never)
  private func takePart(as worker: Int, after seen: inout Int) -> Bool {
    // The next run mostly follows when a token has been chosen and handed on; to fall asleep and be woken takes longer.
    wait(yields: 1024) { announced.load(ordering: .acquiring) != seen }
    condition.lock()
    while generation == seen && !isStopping { condition.wait() }
    seen = generation
    let body = isStopping ? nil : self.body
    condition.unlock()
    guard let body else { return false }
    body(worker)
    return true
  }

  func barrier(_ count: Int) {
    let passed = barriersPassed.load(ordering: .acquiring)
    if arrivals.add(1, ordering: .acquiringAndReleasing).newValue == count {
      arrivals.store(0, ordering: .relaxed)
      barriersPassed.add(1, ordering: .acquiringAndReleasing)
    } else {
      wait { barriersPassed.load(ordering: .acquiring) != passed }
    }
  }

  /// Looks again and again for some microseconds, then lets other threads run between looks.
  ///
  /// - Parameter yields: how often it does so at most, each some tenths of a microsecond where no other thread wants to run.
  private func wait(yields: Int = .max, until isDone: () -> Bool) {
    var looks = 0
    while !isDone() && looks - 4096 < yields {
      looks += 1
      if looks > 4096 { sched_yield() }
    }
  }
}
