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
    let written = AnswerGatherer(count: requests.count)
    for (index, request) in requests.enumerated() {
      var request = request
      request.topLogProbabilities = 0
      request.reportsEndToken = true
      generate(request, id: index) { written.add($0, to: index) }
    }
    do {
      while hasWork {
        step()
        try progress(written.ended)
      }
    } catch {
      cancelAll()
      throw error
    }
    return written.answers
  }
}

/// Gathers the events of many generations.
private final class AnswerGatherer {
  private(set) var answers: [AnswerTokens]
  private(set) var ended = 0

  init(count: Int) { answers = Array(repeating: AnswerTokens(), count: count) }

  func add(_ event: GenerationEvent, to index: Int) {
    answers[index].text += event.text
    switch event {
    case .token(let token, _, let logProbability):
      answers[index].tokens.append(token)
      answers[index].logProbabilities.append(logProbability?.logProbability ?? 0)
    case .end(let reason, _):
      answers[index].isTruncated = reason == .length
      ended += 1
    case .prompt, .stopString: break
    }
  }
}
