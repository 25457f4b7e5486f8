import Foundation
import Machine

/// What the threads that ask and the one that works share.
///
/// - Unchecked Sendable: everything that changes is read and written with `condition` locked.
final class SchedulerMailbox: @unchecked Sendable {
  enum Message {
    case generate(Int, GenerationRequest, @Sendable (GenerationEvent) -> Void)
    case embed(Int, [Int32], @Sendable ([Float]?) -> Void)
    case cancel(Int)
  }

  private let condition = NSCondition()
  private let maximumSequences: Int
  private let queueLimit: Int
  private var messages: [Message] = []
  /// When each piece of work that has not ended was accepted, by its number.
  private var starts: [Int: Double] = [:]
  /// How long recent work has taken, waiting included: a running mean, for telling clients when to retry.
  private var meanSeconds = 1.0
  private var current = SchedulerStatistics()
  /// When to end what still runs; nil while new work is accepted.
  private var deadline: Double?
  private var hasEnded = false

  init(maximumSequences: Int, queueLimit: Int) {
    self.maximumSequences = maximumSequences
    self.queueLimit = queueLimit
  }

  var statistics: SchedulerStatistics {
    condition.withLock { current }
  }

  /// Leaves work for the thread.
  ///
  /// - Parameter continues: whether it belongs together with work that has just ended, and takes its place, which another
  ///   request may have taken meanwhile.
  func put(_ message: Message, id: Int, continues: Bool) throws(SchedulerError) {
    condition.lock()
    defer { condition.unlock() }
    if let deadline, !continues || monotonicSeconds() >= deadline { throw .stopping }
    if starts.count >= maximumSequences + queueLimit && !continues {
      let rounds = Double(starts.count) / Double(maximumSequences)
      throw .queueFull(retryAfterSeconds: max(1, Int(min(600, rounds * meanSeconds))))
    }
    starts[id] = monotonicSeconds()
    messages.append(message)
    condition.signal()
  }

  func cancel(_ id: Int) {
    condition.withLock {
      guard starts[id] != nil else { return }
      messages.append(.cancel(id))
      condition.signal()
    }
  }

  /// Hands all messages to the engine, after waiting for some if the engine has nothing to do.
  ///
  /// - Returns: false when it is time to end.
  func deliver(to engine: BatchEngine) -> Bool {
    condition.lock()
    while messages.isEmpty && !engine.hasWork && deadline == nil {
      current = engine.statistics
      condition.wait()
    }
    let messages = messages
    self.messages = []
    let deadline = deadline
    current = engine.statistics
    condition.unlock()
    for message in messages { handle(message, engine) }
    guard let deadline else { return true }
    if monotonicSeconds() >= deadline { engine.cancelAll() }
    guard !engine.hasWork else { return true }
    return condition.withLock {
      guard self.messages.isEmpty else { return true }
      current = engine.statistics
      hasEnded = true
      condition.broadcast()
      return false
    }
  }

  private func handle(_ message: Message, _ engine: BatchEngine) {
    switch message {
    case .generate(let id, let request, let onEvent):
      engine.generate(request, id: id) { [self] event in
        if case .end = event { ended(id) }
        onEvent(event)
      }
    case .embed(let id, let tokens, let onResult):
      engine.embed(tokens, id: id) { [self] result in
        ended(id)
        onResult(result)
      }
    case .cancel(let id): engine.cancel(id)
    }
  }

  private func ended(_ id: Int) {
    condition.withLock {
      guard let start = starts.removeValue(forKey: id) else { return }
      meanSeconds += 0.1 * (monotonicSeconds() - start - meanSeconds)
    }
  }

  /// Accepts no new work from now on, and cancels what still runs after some seconds.
  ///
  /// - Parameter waits: whether to return only when nothing runs any more.
  func stop(waitingFor seconds: Double, waits: Bool) {
    condition.withLock {
      deadline = min(deadline ?? .infinity, monotonicSeconds() + seconds)
      condition.signal()
      while waits && !hasEnded { condition.wait() }
    }
  }
}
