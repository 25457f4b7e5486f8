import Model
import Tokenization

extension BatchEngine {
  /// An engine for many answers at once: as many as its model can write, each of some tokens at most.
  ///
  /// - Parameters:
  ///   - count: of answers.
  ///   - longest: the most tokens of a prompt with its answer.
  /// - Throws: `OutOfMemoryError`.
  package convenience init(
    _ model: any InferenceEngine, _ tokenizer: Tokenizer, answers count: Int, longest: Int
  ) throws {
    let sequences = max(1, min(count, model.limits.sequences))
    let pages = model.limits.pages(min(longest, model.contextLength)) * sequences * model.limits.pageTokens
    try self.init(
      model, tokenizer, maximumSequences: sequences, cacheTokens: max(model.contextLength, pages))
  }

  /// Writes an answer to each request, as many at a time as there is room for. What comes out does not depend on the others.
  ///
  /// - Parameters:
  ///   - requests: each gets log-probabilities and its end token.
  ///   - progress: called after each step with the number of answers that have ended; what it throws ends all.
  /// - Returns: [requests]
  package func answers(
    to requests: [GenerationRequest], progress: (_ ended: Int) throws -> Void = { _ in }
  ) throws -> [AnswerTokens] {
    var answers: [AnswerTokens] = []
    _ = try writeAnswers(
      requests.indices,
      request: { index in
        var request = requests[index]
        request.topLogProbabilities = 0
        request.reportsEndToken = true
        return request
      },
      isWanted: { ended, _ in
        try progress(ended)
        return true
      }, onAnswer: { answers.append($1) })
    return answers
  }

  /// Answers that may be begun beyond the next one that is due, for each that runs: bounds what is kept in memory.
  private static let mostAhead = 32

  /// Writes many answers side by side, and gives them in the order of their requests. The engine is idle before and after.
  ///
  /// - Parameters:
  ///   - request: of an index; its prompt leaves room for an answer.
  ///   - isWanted: asked after each step, with the answers that have ended and the tokens written so far, whether to go on.
  ///   - onAnswer: gets each answer, in the order of the indices.
  /// - Returns: false when it was stopped.
  /// - Throws: what `request`, `isWanted` or `onAnswer` throws; then everything is cancelled.
  package func writeAnswers(
    _ indices: Range<Int>, request: (_ index: Int) throws -> GenerationRequest,
    isWanted: (_ ended: Int, _ tokens: Int) throws -> Bool, onAnswer: (_ index: Int, AnswerTokens) throws -> Void
  ) throws -> Bool {
    let gatherer = AnswerGatherer()
    defer { cancelAll() }
    var next = indices.lowerBound
    var due = indices.lowerBound
    while due < indices.upperBound {
      // One waits for each that runs, so that no slot is empty for a step.
      while next < indices.upperBound, gatherer.openCount < 2 * maximumSequences,
        next - due < Self.mostAhead * maximumSequences
      {
        let index = next
        gatherer.begin(index)
        generate(try request(index), id: index) { gatherer.add($0, to: index) }
        next += 1
      }
      step()
      while let answer = gatherer.takeEnded(due) {
        try onAnswer(due, answer)
        due += 1
      }
      guard try isWanted(gatherer.endedCount, gatherer.tokenCount) else { return false }
    }
    return true
  }
}

/// Gathers the events of many generations.
private final class AnswerGatherer {
  /// Answers that are being written, and those that are complete and not taken yet.
  private var open: [Int: AnswerTokens] = [:]
  private var ended: [Int: AnswerTokens] = [:]
  private(set) var endedCount = 0
  /// Of all answers.
  private(set) var tokenCount = 0

  var openCount: Int { open.count }

  func begin(_ index: Int) { open[index] = AnswerTokens() }

  func takeEnded(_ index: Int) -> AnswerTokens? { ended.removeValue(forKey: index) }

  func add(_ event: GenerationEvent, to index: Int) {
    open[index]?.text += event.text
    switch event {
    case .token(let token, _, let logProbability):
      open[index]?.tokens.append(token)
      open[index]?.logProbabilities.append(logProbability?.logProbability ?? 0)
      tokenCount += 1
    case .end(let reason, _):
      guard var answer = open.removeValue(forKey: index) else { return }
      answer.isTruncated = reason == .length
      ended[index] = answer
      endedCount += 1
    case .prompt, .stopString: break
    }
  }
}
