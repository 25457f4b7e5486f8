import Model
import Tokenization

/// A generation or an embedding on its way through an engine.
final class EngineSequence {
  enum Task {
    case generation(GenerationRequest, AnswerWriter, (GenerationEvent) -> Void)
    /// The sum of the hidden states so far.
    case embedding(sum: [Float], ([Float]?) -> Void)
  }

  let id: Int
  let prompt: [Int32]
  /// Rows of the prompt that do not come from the embedding table.
  let embedded: [EmbeddedSpan]
  /// The most tokens that the model may read.
  let mostTokens: Int
  private(set) var task: Task
  /// Nil while it waits.
  private(set) var cache: KeyValueCache?
  private(set) var isFinished = false
  /// Tokens that the model has to read next: the last one of the answer, and guesses at those after it. Empty while the
  /// prompt is read.
  private var unread: [Int32] = []
  private var lookup = PromptLookup()
  /// Tokens of the cache when the step began, and how many of them stay there after it, without guesses that were wrong.
  private var stepStart = 0
  private var keptTokens = 0
  /// The token that a step has ended with.
  private var lastToken: Int32?
  private var promptProbabilities: [TokenLogProbability?] = [nil]
  /// Tokens of the prompt whose pages were shared with an earlier sequence, and not computed again.
  private(set) var cachedTokens = 0
  /// Tokens chosen so far.
  private(set) var generatedTokens = 0

  init(id: Int, prompt: [Int32], embedded: [EmbeddedSpan], mostTokens: Int, _ task: Task) {
    self.id = id
    self.prompt = prompt
    self.embedded = embedded
    self.mostTokens = mostTokens
    self.task = task
  }

  /// Whether all of the prompt has been read.
  var isWriting: Bool { !unread.isEmpty }

  /// Whether it can share the pages of an earlier sequence: not where something is wanted of every token of the prompt.
  var canShare: Bool {
    if case .generation(let request, _, _) = task { !request.reportsPromptLogProbabilities } else { false }
  }

  /// Pages that it may still need, once it has begun.
  var promisedPages: Int { cache.map { $0.pool.pages(mostTokens) - $0.pageCount } ?? 0 }

  func begin(_ cache: KeyValueCache) {
    self.cache = cache
    cachedTokens = cache.count
  }

  /// Its part of a step.
  ///
  /// - Parameters:
  ///   - budget: the most tokens of a prompt.
  ///   - guesses: whether to add guesses to the token that is to be read.
  func nextPiece(budget: Int, guesses: Bool) -> StepPiece {
    guard let cache else { preconditionFailure("a sequence that has not begun") }
    stepStart = cache.count
    if isWriting {
      if guesses { guess(cache) }
      return StepPiece(cache, unread[...], promptLength: nil, .allLogits)
    }
    let tokens = prompt[cache.count..<min(prompt.count, cache.count + budget)]
    let isLast = tokens.endIndex == prompt.count
    let output: StepPiece.Output =
      switch task {
      case .embedding: .hiddenStates
      case .generation(let request, _, _) where request.reportsPromptLogProbabilities: .allLogits
      case .generation: isLast ? .lastLogits : .nothing
      }
    return StepPiece(cache, tokens, promptLength: prompt.count, output)
  }

  private func guess(_ cache: KeyValueCache) {
    for token in cache.tokens[min(lookup.count, cache.count)...] { lookup.append(token) }
    if lookup.count == cache.count { lookup.append(unread[0]) }
    unread += lookup.guesses(most: mostTokens - cache.count - 1)
  }

  /// Receives what a step computed for a token.
  ///
  /// - Parameters:
  ///   - position: of the token in the sequence.
  ///   - values: its logits, [model's vocabularySize], or its hidden state, [hiddenSize].
  ///   - vocabularySize: of the tokenizer: tokens from here on are not named.
  func receive(_ values: Span<Float>, position: Int, vocabularySize: Int) {
    switch task {
    case .embedding(var sum, let onResult):
      for index in sum.indices { sum[index] += values[index] }
      task = .embedding(sum: sum, onResult)
      if position == prompt.count - 1 { finishEmbedding() }
    case .generation(let request, var answer, let onEvent):
      if position < prompt.count - 1 {
        promptProbabilities.append(
          TokenLogProbability(
            prompt[position + 1], logits: values, top: request.topLogProbabilities ?? 0,
            vocabularySize: vocabularySize))
        return
      }
      if position == prompt.count - 1 {
        onEvent(
          .prompt(request.reportsPromptLogProbabilities ? promptProbabilities : [], cachedTokens: cachedTokens))
      }
      // After a guess that was wrong nothing counts.
      let index = position - stepStart
      guard !isWriting || index == 0 || (lastToken == unread[index] && keptTokens == position && !isFinished) else {
        return
      }
      keptTokens = position + 1
      if answer.isEmpty {
        answer.finish(.length, onEvent)
      } else {
        lastToken = answer.advance(values, onEvent)
        generatedTokens += 1
      }
      isFinished = answer.isFinished
      task = .generation(request, answer, onEvent)
    }
  }

  /// Ends a step: guesses that were wrong are removed from the cache.
  func endStep() {
    guard let cache, case .generation = task, cache.count >= prompt.count else { return }
    cache.truncate(to: keptTokens)
    unread = isFinished ? [] : lastToken.map { [$0] } ?? []
  }

  private func finishEmbedding() {
    guard case .embedding(let sum, let onResult) = task else { return }
    isFinished = true
    let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
    onResult(sum.map { $0 / max(length, .leastNormalMagnitude) })
  }

  /// Ends it now.
  func cancel() {
    guard !isFinished else { return }
    isFinished = true
    switch task {
    case .embedding(_, let onResult): onResult(nil)
    case .generation(_, var answer, let onEvent): answer.finish(.cancelled, onEvent)
    }
  }
}
