import Tokenization

/// Runs generations and embeddings side by side on one model, a step at a time. Whoever owns an engine calls it from one
/// thread at a time.
package final class BatchEngine {
  package let model: InferenceModel
  package let tokenizer: Tokenizer
  private let maximumSequences: Int
  /// In the order of their coming.
  private var waiting: [EngineWork] = []
  private var running: [EngineWork] = []
  private var freeCaches: [KeyValueCache]
  private var totals = SchedulerTotals()

  /// - Parameter maximumSequences: the most that run at the same time.
  /// - Throws: `ComputeError.outOfMemory`.
  package init(_ model: InferenceModel, _ tokenizer: Tokenizer, maximumSequences: Int = 1) throws {
    precondition(maximumSequences > 0, "an engine for \(maximumSequences) sequences")
    freeCaches = try (0..<maximumSequences).map { _ in try model.makeCache() }
    self.model = model
    self.tokenizer = tokenizer
    self.maximumSequences = maximumSequences
  }

  package var hasWork: Bool { !waiting.isEmpty || !running.isEmpty }

  package var statistics: SchedulerStatistics {
    SchedulerStatistics(running: running.count, waiting: waiting.count, totals: totals)
  }

  /// Takes on a generation.
  ///
  /// - Parameters:
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onEvent: called within `step` and `cancel`.
  package func generate(_ request: GenerationRequest, id: Int, onEvent: @escaping (GenerationEvent) -> Void) {
    checkPrompt(request.prompt)
    let generation = Generation(
      request, tokenizer, endTokens: model.configuration.endTokenIDs, contextLength: model.contextLength)
    waiting.append(EngineWork(id: id, prompt: request.prompt, .generation(request, generation, onEvent)))
  }

  /// Takes on an embedding: the mean of the final hidden states over the tokens, normalised.
  ///
  /// - Parameters:
  ///   - tokens: at least one, no more than the context length.
  ///   - id: by which it can be cancelled; the owner's choice.
  ///   - onResult: called within `step` with [hiddenSize] numbers, or within `cancel` with nil.
  package func embed(_ tokens: [Int32], id: Int, onResult: @escaping ([Float]?) -> Void) {
    checkPrompt(tokens)
    waiting.append(EngineWork(id: id, prompt: tokens, .embedding(onResult)))
  }

  private func checkPrompt(_ tokens: [Int32]) {
    precondition(
      (1...model.contextLength).contains(tokens.count), "\(tokens.count) tokens, a context of \(model.contextLength)")
  }

  /// Ends a generation or an embedding, wherever it is; does nothing when it has ended already.
  package func cancel(_ id: Int) {
    guard let work = (waiting + running).first(where: { $0.id == id }) else { return }
    work.cancel()
    waiting.removeAll { $0.id == id }
    removeFinished()
  }

  package func cancelAll() {
    for work in waiting + running { cancel(work.id) }
  }

  private func removeFinished() {
    for work in running where work.isFinished {
      if let cache = work.cache { freeCaches.append(cache) }
    }
    running.removeAll(where: \.isFinished)
  }

  /// Brings everything that runs one step further.
  package func step() {
    while running.count < maximumSequences, !waiting.isEmpty {
      waiting[0].cache = freeCaches.removeLast()
      running.append(waiting.removeFirst())
    }
    for work in running { work.step(model, tokenizer, &totals) }
    removeFinished()
  }
}

/// What an engine has done.
package struct SchedulerTotals: Sendable, Equatable {
  /// Tokens of prompts, those that had not to be computed again included.
  package var promptTokens = 0
  package var cachedTokens = 0
  package var generatedTokens = 0
}

/// A generation or an embedding on its way.
private final class EngineWork {
  enum Task {
    case generation(GenerationRequest, Generation, (GenerationEvent) -> Void)
    case embedding(([Float]?) -> Void)
  }

  let id: Int
  private let prompt: [Int32]
  private var task: Task
  var cache: KeyValueCache?
  private var unreadToken: Int32?
  private(set) var isFinished = false

  init(id: Int, prompt: [Int32], _ task: Task) {
    self.id = id
    self.prompt = prompt
    self.task = task
  }

  func cancel() {
    isFinished = true
    switch task {
    case .generation(_, var generation, let onEvent): generation.finish(.cancelled, onEvent)
    case .embedding(let onResult): onResult(nil)
    }
  }

  func step(_ model: InferenceModel, _ tokenizer: Tokenizer, _ totals: inout SchedulerTotals) {
    switch task {
    case .embedding(let onResult):
      onResult(model.embedding(prompt, cache!))
      isFinished = true
      totals.promptTokens += prompt.count
    case .generation(let request, var generation, let onEvent):
      let logits = nextLogits(model, tokenizer, request, &totals, onEvent)
      if generation.isEmpty {
        generation.finish(.length, onEvent)
      } else {
        unreadToken = generation.advance(logits.span, onEvent)
        totals.generatedTokens += 1
      }
      isFinished = generation.isFinished
      task = .generation(request, generation, onEvent)
    }
  }

  private func nextLogits(
    _ model: InferenceModel, _ tokenizer: Tokenizer, _ request: GenerationRequest, _ totals: inout SchedulerTotals,
    _ onEvent: (GenerationEvent) -> Void
  ) -> [Float] {
    let cache = cache!
    if let unreadToken { return model.decode(unreadToken, cache) }
    cache.truncate(to: 0)
    totals.promptTokens += prompt.count
    guard request.reportsPromptLogProbabilities else {
      let logits = model.prefill(prompt, cache)
      onEvent(.prompt([], cachedTokens: 0))
      return logits
    }
    var probabilities: [TokenLogProbability?] = [nil]
    var logits = model.decode(prompt[0], cache)
    for token in prompt.dropFirst() {
      probabilities.append(
        TokenLogProbability(
          token, logits: logits.span, top: request.topLogProbabilities ?? 0,
          vocabularySize: tokenizer.vocabularySize))
      logits = model.decode(token, cache)
    }
    onEvent(.prompt(probabilities, cachedTokens: 0))
    return logits
  }
}
