import Generation
import Synchronization

/// Runs the parts of one request, its generations or embeddings, a few at a time, so that a request of many parts does
/// not fill the queue at once.
final class PartRunner: Sendable {
  private struct State {
    var next = 0
    var handles: [Int: GenerationHandle] = [:]
    var isCancelled = false
  }

  private let state = Mutex(State())
  private let count: Int
  private let width: Int
  /// Starts a part, as one of the first or, if `continues`, in place of one that has ended. Unless this throws, `ended`
  /// must be called when the part has ended.
  private let start: @Sendable (PartRunner, _ part: Int, _ continues: Bool) throws -> GenerationHandle

  /// - Parameter width: how many run or wait at the same time.
  init(
    count: Int, width: Int,
    start: @escaping @Sendable (PartRunner, _ part: Int, _ continues: Bool) throws -> GenerationHandle
  ) {
    self.count = count
    self.width = width
    self.start = start
  }

  /// Starts the first parts.
  ///
  /// - Throws: what `start` throws; then nothing runs any more.
  func begin() throws { for _ in 0..<min(width, count) { try startNext(continues: false) } }

  /// Called when a part has ended; starts the next one.
  ///
  /// - Throws: what `start` throws; then nothing runs any more.
  func ended(_ part: Int) throws {
    _ = state.withLock { $0.handles.removeValue(forKey: part) }
    try startNext(continues: true)
  }

  /// Cancels all parts, and starts no more.
  func cancel() {
    let handles = state.withLock { state in
      state.isCancelled = true
      defer { state.handles = [:] }
      return Array(state.handles.values)
    }
    for handle in handles { handle.cancel() }
  }

  private func startNext(continues: Bool) throws {
    let part: Int? = state.withLock { state in
      guard state.next < count, !state.isCancelled else { return nil }
      defer { state.next += 1 }
      return state.next
    }
    guard let part else { return }
    do {
      let handle = try start(self, part, continues)
      let isCancelled = state.withLock { state in
        if !state.isCancelled { state.handles[part] = handle }
        return state.isCancelled
      }
      if isCancelled { handle.cancel() }
    } catch {
      cancel()
      throw error
    }
  }
}
