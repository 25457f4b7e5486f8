import Machine
import Model
import Tokenization

/// Runs generations and embeddings side by side on one model, a step at a time. Its owner calls it from one thread at a
/// time.
///
/// A step takes the next token of every sequence that writes, and some rows of prompts: as many as the model's limits say
/// when no sequence writes, else a quarter of them, so that a long prompt slows the others down but does not stop them.
/// Prompts are read in the order of their arrival.
///
/// A sequence joins when there is a slot for it and when all pages that it may need are free, or are only kept for
/// prompts to come; so none has to be stopped for lack of memory. None overtakes another, so none waits for ever. Full
/// pages are kept after their sequence ends, for prompts that begin alike.
package final class BatchEngine {
  package let model: any InferenceEngine
  package let tokenizer: Tokenizer
  /// The most that run at the same time.
  let maximumSequences: Int
  private let pool: KeyValuePool
  private var prefixes: PrefixCache
  private let endTokens: [Int32]
  /// In the order of arrival.
  private var waiting: [EngineSequence] = []
  private var running: [EngineSequence] = []
  /// Written tokens are those of sequences that have ended.
  private var totals = SchedulerTotals()
  /// Whether a sequence that runs alone reads guesses at its next tokens along with the last one; see `PromptLookup`. The
  /// text is the same. With others running, no compute is idle that guessing could use.
  package var guessesTokens = true

  /// - Parameters:
  ///   - maximumSequences: the most that run at the same time, up to the model's `limits.sequences`.
  ///   - cacheTokens: of all sequences together, kept ones included; at least the context length. Nil: the
  ///     context length for each sequence.
  /// - Throws: `OutOfMemoryError`.
  package init(
    _ model: any InferenceEngine, _ tokenizer: Tokenizer, maximumSequences: Int = 1, cacheTokens: Int? = nil
  ) throws {
    precondition(
      (1...model.limits.sequences).contains(maximumSequences) && cacheTokens ?? Int.max >= model.contextLength,
      "an engine for \(maximumSequences) sequences and \(cacheTokens ?? 0) tokens")
    self.model = model
    self.tokenizer = tokenizer
    self.maximumSequences = maximumSequences
    endTokens = model.endTokens(tokenizer)
    pool = try KeyValuePool(model, tokens: cacheTokens ?? model.cacheTokens(sequences: maximumSequences))
    prefixes = PrefixCache(pool, limit: max(pool.pages(model.contextLength), pool.pageCount / 4))
  }

  package var hasWork: Bool { !waiting.isEmpty || !running.isEmpty }

  package var statistics: SchedulerStatistics {
    let kept = prefixes.unusedCount
    var totals = totals
    for sequence in running { totals.generatedTokens += sequence.generatedTokens }
    return SchedulerStatistics(
      running: running.count, waiting: waiting.count, totals: totals,
      usedPages: pool.pageCount - pool.freeCount - kept, keptPages: kept, freePages: pool.freeCount)
  }

  /// Accepts a generation, which begins in one of the next steps.
  ///
  /// - Parameters:
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onEvent: called within `step` and `cancel`.
  package func generate(_ request: GenerationRequest, id: Int, onEvent: @escaping (GenerationEvent) -> Void) {
    checkPrompt(request.prompt)
    let answer = AnswerWriter(request, tokenizer, endTokens: endTokens, contextLength: model.contextLength)
    // The last token of an answer is not read.
    let mostTokens = request.prompt.count + max(0, answer.maximumTokens - 1)
    waiting.append(
      EngineSequence(
        id: id, prompt: request.prompt, embedded: request.embedded, mostTokens: mostTokens,
        .generation(request, answer, onEvent)))
  }

  /// Accepts an embedding: the mean of the final hidden states over the tokens, normalised.
  ///
  /// - Parameters:
  ///   - tokens: at least one, no more than the context length.
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onResult: called within `step` with [hiddenSize] numbers, or within `cancel` with nil.
  package func embed(_ tokens: [Int32], id: Int, onResult: @escaping ([Float]?) -> Void) {
    checkPrompt(tokens)
    let zero = [Float](repeating: 0, count: model.configuration.hiddenSize)
    waiting.append(
      EngineSequence(id: id, prompt: tokens, embedded: [], mostTokens: tokens.count, .embedding(sum: zero, onResult)))
  }

  private func checkPrompt(_ tokens: [Int32]) {
    precondition(
      (1...model.contextLength).contains(tokens.count), "\(tokens.count) tokens, a context of \(model.contextLength)")
  }

  /// Ends a generation or an embedding, waiting or running; a no-op when it has ended already.
  package func cancel(_ id: Int) {
    for sequence in waiting + running where sequence.id == id { sequence.cancel() }
    removeFinished()
  }

  package func cancelAll() {
    for sequence in waiting + running { sequence.cancel() }
    removeFinished()
  }

  /// Advances everything that runs by one step.
  package func step() {
    admit()
    let (sequences, pieces) = plan()
    guard !pieces.isEmpty else { return }
    let starts = pieces.map(\.cache.count)
    model.step(pieces) { piece, token, values in
      sequences[piece].receive(values, position: starts[piece] + token, vocabularySize: tokenizer.vocabularySize)
    }
    for (sequence, piece) in zip(sequences, pieces) {
      sequence.endStep()
      if piece.promptLength == piece.cache.count { keep(sequence) }
    }
    removeFinished()
  }

  /// Lets sequences join while there are slots and pages.
  private func admit() {
    while running.count < maximumSequences, let next = waiting.first {
      let cache = KeyValueCache(pool, capacity: next.mostTokens, embedded: next.embedded)
      if next.canShare && keepsPages(next) { prefixes.restore(next.prompt, to: cache) }
      let promised = running.reduce(0) { $0 + $1.promisedPages }
      let needed = pool.pages(next.mostTokens) - cache.pageCount
      guard promised + needed <= pool.freeCount + prefixes.unusedCount else { return }
      next.begin(cache)
      running.append(waiting.removeFirst())
      totals.promptTokens += next.prompt.count
      totals.cachedTokens += next.cachedTokens
    }
  }

  /// The sequences that take part in a step, and what each contributes.
  private func plan() -> (sequences: [EngineSequence], pieces: [StepPiece]) {
    let writing = running.filter(\.isWriting)
    var budget = writing.isEmpty ? model.limits.promptRows : max(1, model.limits.promptRows / 4)
    var sequences: [EngineSequence] = []
    var pieces: [StepPiece] = []
    func add(_ sequence: EngineSequence) {
      let piece = sequence.nextPiece(budget: budget, guesses: guessesTokens && running.count == 1)
      prefixes.makeRoom(piece.cache.missingPages(for: piece.tokens.count))
      piece.cache.reserve(piece.tokens.count)
      if !sequence.isWriting { budget -= piece.tokens.count }
      sequences.append(sequence)
      pieces.append(piece)
    }
    for sequence in writing { add(sequence) }
    for sequence in running where !sequence.isWriting && budget > 0 { add(sequence) }
    return (sequences, pieces)
  }

  /// With dynamic rotary scaling, the keys of a prompt beyond the trained length are valid for that length only.
  private func keepsPages(_ sequence: EngineSequence) -> Bool {
    !model.configuration.rotarySettings().dependsOnLength(sequence.prompt.count)
  }

  private func keep(_ sequence: EngineSequence) {
    if let cache = sequence.cache, keepsPages(sequence) { prefixes.keep(cache) }
  }

  private func removeFinished() {
    for sequence in running where sequence.isFinished {
      totals.generatedTokens += sequence.generatedTokens
      keep(sequence)
    }
    running.removeAll(where: \.isFinished)
    waiting.removeAll(where: \.isFinished)
  }
}

/// What an engine has done.
package struct SchedulerTotals: Sendable, Equatable {
  /// Tokens of prompts, those whose pages were shared included.
  package var promptTokens = 0
  package var cachedTokens = 0
  package var generatedTokens = 0
}
