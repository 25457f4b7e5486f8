import Foundation
import Model
import Synchronization
import Tokenization

/// Runs many generations at once on one model: sequences join and leave at every step.
///
/// A thread of the scheduler's own does all the work; the model is touched by it alone.
package final class BatchScheduler: Sendable {
  private let mailbox: SchedulerMailbox

  /// - Parameters:
  ///   - model: not to be used by others from now on.
  ///   - maximumSequences: the most that run at the same time.
  ///   - queueLimit: the most that wait.
  ///   - cacheTokens: of the key/value cache that all sequences share; at least the context length.
  /// - Throws: `OutOfMemoryError`.
  package init(
    _ model: sending any InferenceEngine, tokenizer: Tokenizer, maximumSequences: Int, queueLimit: Int, cacheTokens: Int
  ) throws {
    let mailbox = SchedulerMailbox(maximumSequences: maximumSequences, queueLimit: queueLimit)
    self.mailbox = mailbox
    // Sound, as the thread is the only one that has the engine, and with it the model, from here on.
    nonisolated(unsafe) let engine = try BatchEngine(
      model, tokenizer, maximumSequences: maximumSequences, cacheTokens: cacheTokens)
    let thread = Thread {
      engine.model.moveToCurrentThread()
      while mailbox.deliver(to: engine) { engine.step() }
    }
    thread.stackSize = 8 << 20
    thread.start()
  }

  deinit { mailbox.stop(waitingFor: 0, waits: false) }

  /// Accepts a generation.
  ///
  /// - Parameters:
  ///   - request: its prompt has at least one token and no more than the context length.
  ///   - continues: whether it takes the place of earlier work of the same request that has just ended: then it is
  ///     accepted though others wait or no new work is accepted. Only within the last call for that work.
  ///   - onEvent: called on the scheduler's thread, `.end` last; it must return at once.
  /// - Throws: `SchedulerError`.
  package func submit(
    _ request: GenerationRequest, continues: Bool = false, onEvent: @escaping @Sendable (GenerationEvent) -> Void
  ) throws(SchedulerError) -> GenerationHandle {
    let handle = GenerationHandle(mailbox)
    try mailbox.put(.generate(handle.id, request, onEvent), id: handle.id, continues: continues)
    return handle
  }

  /// Accepts an embedding: the mean of the final hidden states over the tokens, normalised.
  ///
  /// - Parameters:
  ///   - tokens: at least one, no more than the context length.
  ///   - continues: as for `submit`.
  ///   - onResult: called on the scheduler's thread with [hiddenSize] numbers, or nil if it was cancelled; it must
  ///     return at once.
  /// - Throws: `SchedulerError`.
  package func embed(
    _ tokens: [Int32], continues: Bool = false, onResult: @escaping @Sendable ([Float]?) -> Void
  ) throws(SchedulerError) -> GenerationHandle {
    let handle = GenerationHandle(mailbox)
    try mailbox.put(.embed(handle.id, tokens, onResult), id: handle.id, continues: continues)
    return handle
  }

  /// What goes on at the moment; may be read at any time.
  package var statistics: SchedulerStatistics { mailbox.statistics }

  /// Accepts no new work, lets what there is finish for some seconds, then cancels the rest. Returns when nothing runs any
  /// more.
  package func stop(waitingFor seconds: Double) { mailbox.stop(waitingFor: seconds, waits: true) }
}

/// What a scheduler does and has done.
package struct SchedulerStatistics: Sendable, Equatable {
  package var running = 0
  package var waiting = 0
  package var totals = SchedulerTotals()
  /// Of the key/value cache: pages of running sequences, pages kept for prompts to come, and free ones.
  package var usedPages = 0
  package var keptPages = 0
  package var freePages = 0
}

package enum SchedulerError: Error, Equatable, Sendable, CustomStringConvertible {
  case queueFull(retryAfterSeconds: Int)
  case stopping

  package var description: String {
    switch self {
    case .queueFull(let seconds): "too many requests wait already. Try again in \(seconds) s."
    case .stopping: "the server is stopping. Try again later."
    }
  }
}

/// Something that a scheduler has accepted.
package final class GenerationHandle: Sendable {
  private static let lastID = Atomic<Int>(0)
  let id = GenerationHandle.lastID.add(1, ordering: .relaxed).newValue
  private let mailbox: SchedulerMailbox

  fileprivate init(_ mailbox: SchedulerMailbox) { self.mailbox = mailbox }

  /// Ends it soon, with `.end(.cancelled, …)` unless it has ended already. May be called from any thread.
  package func cancel() { mailbox.cancel(id) }
}
