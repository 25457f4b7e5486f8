import Dispatch
import Foundation

/// Reads items, transforms them in several threads, and hands the results on in the order of the items.
enum OrderedPipeline {
  /// Runs until `next` gives nil.
  ///
  /// At most `4 * threads` items are between `next` and `commit`, and another is taken only while they weigh less than
  /// `maximumWeight`, which bounds the memory; the results, and so whatever `commit` writes, do not depend on the
  /// number of threads.
  ///
  /// - Parameters:
  ///   - next: gives the items; one thread at a time calls it.
  ///   - weight: the memory that an item takes, in bytes.
  ///   - makeTransform: called once in each thread, so that a transform can own what must not be shared.
  ///   - commit: takes the results in order; one thread at a time calls it.
  /// - Throws: the first error of `next` or `commit`; nothing is committed after it.
  static func run<Item, Output>(
    threads: Int, maximumWeight: Int, next: () throws -> Item?, weight: @Sendable (Item) -> Int,
    makeTransform: @Sendable () -> (Item) -> Output, commit: (Output) throws -> Void
  ) throws {
    let state = State<Output>(maximumCount: 4 * threads, maximumWeight: maximumWeight)
    // SAFETY: `next` and `commit` are each called by one thread at a time, ordered by the state's lock, and
    // `concurrentPerform` returns after the last call.
    nonisolated(unsafe) let next = next
    nonisolated(unsafe) let commit = commit
    DispatchQueue.concurrentPerform(iterations: threads) { _ in
      let transform = makeTransform()
      while let (sequence, item) = state.take(next, weight) {
        state.deliver(transform(item), sequence: sequence, weight: weight(item), to: commit)
      }
    }
    if let failure = state.failure { throw failure }
  }

  /// - Unchecked Sendable: every field is read and written with `condition` locked; `commit` runs unlocked, but
  ///   only in the thread that set `isCommitting`.
  private final class State<Output>: @unchecked Sendable {
    private let condition = NSCondition()
    private var nextSequence = 0
    private var committed = 0
    private var pending: [Int: (output: Output, weight: Int)] = [:]
    /// Of the items that are taken and not committed.
    private var outstandingWeight = 0
    private var isCommitting = false
    private var isExhausted = false
    private(set) var failure: (any Error)?
    private let maximumCount: Int
    private let maximumWeight: Int

    init(maximumCount: Int, maximumWeight: Int) {
      self.maximumCount = maximumCount
      self.maximumWeight = maximumWeight
    }

    private var isFull: Bool { nextSequence - committed >= maximumCount || outstandingWeight >= maximumWeight }

    func take<Item>(_ next: () throws -> Item?, _ weight: (Item) -> Int) -> (sequence: Int, item: Item)? {
      condition.lock()
      defer { condition.unlock() }
      // A thread that waits here has delivered all it took, so another one works on the item that all wait for.
      while failure == nil && !isExhausted && isFull { condition.wait() }
      guard failure == nil, !isExhausted else { return nil }
      do {
        if let item = try next() {
          nextSequence += 1
          outstandingWeight += weight(item)
          return (nextSequence - 1, item)
        }
      } catch {
        failure = error
      }
      isExhausted = true
      condition.broadcast()
      return nil
    }

    func deliver(_ output: Output, sequence: Int, weight: Int, to commit: (Output) throws -> Void) {
      condition.lock()
      defer { condition.unlock() }
      pending[sequence] = (output, weight)
      guard !isCommitting else { return }
      isCommitting = true
      while failure == nil, let ready = pending.removeValue(forKey: committed) {
        condition.unlock()
        let result = Result { try commit(ready.output) }
        condition.lock()
        committed += 1
        outstandingWeight -= ready.weight
        if case .failure(let error) = result, failure == nil { failure = error }
        condition.broadcast()
      }
      isCommitting = false
    }
  }
}
