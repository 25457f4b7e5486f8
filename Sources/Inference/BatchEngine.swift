import Tokenization

/// Runs generations and embeddings side by side on one model, a step at a time. Whoever owns an engine calls it from one
/// thread at a time.
///
/// A step takes the next token of every sequence that writes, and some tokens of prompts: `chunkTokens` when nobody
/// writes, else `chunkBesideWriting`, so that a long prompt slows the others down but does not stop them. Prompts are read in
/// the order of their coming.
///
/// A sequence joins when there is a place and when all pages that it can come to need are free, or hold what is only kept;
/// so none has to be stopped for want of memory. None overtakes another, so none waits for ever. Full pages are kept
/// after their sequence, for prompts that begin alike.
package final class BatchEngine {
  package let model: InferenceModel
  package let tokenizer: Tokenizer
  private let maximumSequences: Int
  private let pool: KeyValuePool
  private var prefixes: PrefixCache
  private let endTokens: [Int32]
  /// In the order of their coming.
  private var waiting: [EngineSequence] = []
  private var running: [EngineSequence] = []
  /// Of sequences that are done, as far as it is about written tokens.
  private var totals = SchedulerTotals()
  /// Whether a sequence that runs alone reads guesses at its next tokens along with the last one; see `PromptLookup`. The
  /// text is the same. Beside others there is no time that would be lost without.
  package var guessesTokens = true

  /// The most sequences of an engine: a step has a row for each.
  package static let maximumSequences = StepMemory.rows - StepMemory.chunkTokens
  /// Tokens of prompts in a step in which others write.
  private static let chunkBesideWriting = 128

  /// - Parameters:
  ///   - maximumSequences: the most that run at the same time.
  ///   - cacheTokens: of all sequences together, those included that are kept; at least the context length. Nil: the
  ///     context length for each sequence.
  /// - Throws: `OutOfMemoryError`.
  package init(
    _ model: InferenceModel, _ tokenizer: Tokenizer, maximumSequences: Int = 1, cacheTokens: Int? = nil
  ) throws {
    precondition(
      (1...Self.maximumSequences).contains(maximumSequences) && cacheTokens ?? Int.max >= model.contextLength,
      "an engine for \(maximumSequences) sequences and \(cacheTokens ?? 0) tokens")
    self.model = model
    self.tokenizer = tokenizer
    self.maximumSequences = maximumSequences
    endTokens = model.endTokens(tokenizer)
    pool = try model.makePool(tokens: cacheTokens ?? model.cacheTokens(sequences: maximumSequences))
    prefixes = PrefixCache(pool, limit: max(KeyValuePool.pages(model.contextLength), pool.pageCount / 4))
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

  /// Takes on a generation.
  ///
  /// - Parameters:
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onEvent: called within `step` and `cancel`.
  package func generate(_ request: GenerationRequest, id: Int, onEvent: @escaping (GenerationEvent) -> Void) {
    checkPrompt(request.prompt)
    let generation = Generation(request, tokenizer, endTokens: endTokens, contextLength: model.contextLength)
    // The last token of an answer is not read.
    let mostTokens = request.prompt.count + max(0, generation.maximumTokens - 1)
    waiting.append(
      EngineSequence(
        id: id, prompt: request.prompt, mostTokens: mostTokens, .generation(request, generation, onEvent)))
  }

  /// Takes on an embedding: the mean of the final hidden states over the tokens, normalised.
  ///
  /// - Parameters:
  ///   - tokens: at least one, no more than the context length.
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onResult: called within `step` with [hiddenSize] numbers, or within `cancel` with nil.
  package func embed(_ tokens: [Int32], id: Int, onResult: @escaping ([Float]?) -> Void) {
    checkPrompt(tokens)
    let zero = [Float](repeating: 0, count: model.configuration.hiddenSize)
    waiting.append(
      EngineSequence(id: id, prompt: tokens, mostTokens: tokens.count, .embedding(sum: zero, onResult)))
  }

  private func checkPrompt(_ tokens: [Int32]) {
    precondition(
      (1...model.contextLength).contains(tokens.count), "\(tokens.count) tokens, a context of \(model.contextLength)")
  }

  /// Ends a generation or an embedding, wherever it is; does nothing when it has ended already.
  package func cancel(_ id: Int) {
    for sequence in waiting + running where sequence.id == id { sequence.cancel() }
    removeFinished()
  }

  package func cancelAll() {
    for sequence in waiting + running { sequence.cancel() }
    removeFinished()
  }

  /// Forgets what was kept of earlier sequences.
  package func forget() { prefixes.removeAll() }

  /// Brings everything that runs one step further.
  package func step() {
    admit()
    let (sequences, pieces) = plan()
    guard !pieces.isEmpty else { return }
    let starts = pieces.map(\.cache.count)
    model.step(pieces) { piece, token, values in
      sequences[piece].take(values, position: starts[piece] + token, vocabularySize: tokenizer.vocabularySize)
    }
    for (sequence, piece) in zip(sequences, pieces) {
      sequence.endStep()
      if piece.promptLength == piece.cache.count { keep(sequence) }
    }
    removeFinished()
  }

  /// Lets sequences join, as far as there is room.
  private func admit() {
    while running.count < maximumSequences, let next = waiting.first {
      let cache = KeyValueCache(pool, capacity: next.mostTokens)
      if next.canShare && keepsPages(next) { prefixes.restore(next.prompt, to: cache) }
      let promised = running.reduce(0) { $0 + $1.promisedPages }
      let needed = KeyValuePool.pages(next.mostTokens) - cache.pageCount
      guard promised + needed <= pool.freeCount + prefixes.unusedCount else { return }
      next.begin(cache)
      running.append(waiting.removeFirst())
      totals.promptTokens += next.prompt.count
      totals.cachedTokens += next.cachedTokens
    }
  }

  /// Who takes part in a step, and with what.
  private func plan() -> (sequences: [EngineSequence], pieces: [StepPiece]) {
    let writing = running.filter(\.isWriting)
    var budget = writing.isEmpty ? StepMemory.chunkTokens : Self.chunkBesideWriting
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

  /// With dynamic rotary scaling, the keys of a prompt beyond the trained length are good for no other length.
  private func keepsPages(_ sequence: EngineSequence) -> Bool {
    !model.rotaryTable.settings.dependsOnLength(sequence.prompt.count)
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
  /// Tokens of prompts, those that had not to be computed again included.
  package var promptTokens = 0
  package var cachedTokens = 0
  package var generatedTokens = 0
}
