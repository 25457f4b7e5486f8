import Model

/// What a model wrote.
package struct WrittenAnswer: Sendable, Equatable {
  package var text = ""
  package var tokenCount = 0
  package var finishReason = FinishReason.length
}

/// Writes many answers side by side, and gives them in the order of their requests.
package final class OrderedGenerator {
  private let engine: BatchEngine
  private let atOnce: Int
  /// How many answers may be begun beyond the next one that is due: bounds what is kept in memory.
  private static let mostAhead = 32

  /// - Parameters:
  ///   - engine: idle.
  ///   - atOnce: as many sequences as it runs.
  package init(_ engine: BatchEngine, atOnce: Int) {
    self.engine = engine
    self.atOnce = atOnce
  }

  /// - Parameters:
  ///   - request: of an index; its prompt leaves room for an answer.
  ///   - isWanted: asked after each step, with the tokens written so far, whether to go on.
  ///   - onAnswer: gets each answer, in the order of the indices.
  /// - Returns: false when it was stopped.
  /// - Throws: what `onAnswer` throws; then everything is cancelled.
  package func run(
    _ indices: Range<Int>, request: (_ index: Int) throws -> GenerationRequest, isWanted: (_ tokens: Int) -> Bool,
    onAnswer: (_ index: Int, WrittenAnswer) throws -> Void
  ) throws -> Bool {
    let work = Work()
    defer { engine.cancelAll() }
    var next = indices.lowerBound
    var due = indices.lowerBound
    while due < indices.upperBound {
      // One waits for each that runs, so that no slot is empty for a step.
      while next < indices.upperBound, work.open.count < 2 * atOnce, next - due < Self.mostAhead * atOnce {
        let index = next
        work.open[index] = WrittenAnswer()
        engine.generate(try request(index), id: index) { work.take($0, index) }
        next += 1
      }
      engine.step()
      while let answer = work.ended.removeValue(forKey: due) {
        try onAnswer(due, answer)
        due += 1
      }
      guard isWanted(work.tokens) else { return false }
    }
    return true
  }

  /// Answers that are being written, and those that are complete and not due yet.
  private final class Work {
    var open: [Int: WrittenAnswer] = [:]
    var ended: [Int: WrittenAnswer] = [:]
    var tokens = 0

    func take(_ event: GenerationEvent, _ index: Int) {
      open[index]?.text += event.text
      switch event {
      case .token:
        open[index]?.tokenCount += 1
        tokens += 1
      case .end(let reason, _):
        guard var answer = open.removeValue(forKey: index) else { return }
        answer.finishReason = reason
        ended[index] = answer
      case .prompt, .stopString: break
      }
    }
  }
}
