import Generation
import Model
import Rewards
import Tokenization

/// Answers to tasks, many at once. Where a task has tools, those that an answer calls are run, and the model goes on with their
/// results, as often as the task allows.
package enum TaskAnswers {
  /// - Parameters:
  ///   - requests: the most tokens of each are those of all its answers, with what is inserted between them.
  ///   - tools: [requests] nil for a task whose tools are not run.
  ///   - progress: called now and then with the number of answers that have ended; what it throws ends all.
  /// - Returns: [requests]
  /// - Throws: `TokenizerError`, and what `progress` throws.
  package static func write(
    _ requests: [GenerationRequest], tools: [ToolSession?], by engine: BatchEngine,
    progress: (_ ended: Int) throws -> Void
  ) throws -> [AnswerTokens] {
    var answers = try engine.answers(to: requests, progress: progress)
    var open = tools.indices.filter { tools[$0] != nil }
    var turn = 0
    while !open.isEmpty {
      turn += 1
      open = try open.filter { index in
        guard let session = tools[index], turn <= session.turns else { return false }
        return try answers[index].insertResults(
          of: session, most: room(for: requests[index], engine), engine.tokenizer)
      }
      let next = open.map { index in
        var request = requests[index]
        request.prompt += answers[index].tokens
        request.maximumTokens = room(for: requests[index], engine) - answers[index].tokens.count
        request.sampling.seed &+= UInt64(turn) &* 0x9E37_79B9_7F4A_7C15
        return request
      }
      let ended = requests.count - next.count
      let written = try engine.answers(to: next) { try progress(ended + $0) }
      for (index, answer) in zip(open, written) {
        answers[index].tokens += answer.tokens
        answers[index].logProbabilities += answer.logProbabilities
        (answers[index].text, answers[index].isTruncated) = (answer.text, answer.isTruncated)
      }
    }
    return answers
  }

  /// The most tokens after the prompt.
  private static func room(for request: GenerationRequest, _ engine: BatchEngine) -> Int {
    request.tokenLimit(promptTokens: request.prompt.count, contextLength: engine.model.contextLength)
  }
}

extension AnswerTokens {
  /// Adds what tools say to the last answer.
  ///
  /// - Parameter most: tokens in all, with at least one of the next answer.
  /// - Returns: false, and adds nothing, where the answer calls none, or there is no room.
  fileprivate mutating func insertResults(
    of session: ToolSession, most: Int, _ tokenizer: Tokenizer
  ) throws(TokenizerError) -> Bool {
    guard !isTruncated, let result = session.result(of: text) else { return false }
    let added = try session.turn.tokens(result, tokenizer)
    guard tokens.count + added.count < most else {
      isTruncated = true
      return false
    }
    earlierText += "\(text)\n\(result)\n"
    text = ""
    inserted.append(tokens.count..<tokens.count + added.count)
    tokens += added
    logProbabilities += [Float](repeating: 0, count: added.count)
    return true
  }
}
