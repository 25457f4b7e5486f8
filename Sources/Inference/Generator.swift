import Tokenization

/// Why a generation ended.
package enum FinishReason: String, Sendable, Codable {
  /// The model ended the text, or a stop string came.
  case stop
  /// As many tokens as asked for, or the context is full.
  case length
}

/// What a generation brings, one thing after another.
package enum GenerationEvent: Sendable, Equatable {
  /// A token, and the text that is complete with it: often its own, sometimes none yet or more.
  case token(Int32, text: String)
  /// The last event, with the text that had been held back.
  case end(FinishReason, text: String)
}

/// Continues a text token by token: a sequence of events that ends after `.end`.
///
///     for event in Generator(model, tokenizer, prompt: tokens, cache: cache, …) { … }
///
/// Texts are whole characters. The cache keeps what was read, so that the next generation with a prompt that begins
/// like this one reads only what is new.
package struct Generator: Sequence, IteratorProtocol {
  private let model: InferenceModel
  private let prompt: [Int32]
  private let cache: KeyValueCache
  private let maximumTokens: Int
  private let endTokens: Set<Int32>
  private var sampler: Sampler
  private var decoder: StreamingDecoder
  private var stops: StopFinder
  /// Tokens generated so far.
  package private(set) var count = 0
  /// The last token, as long as the model has not read it.
  private var unreadToken: Int32?
  private var ending: FinishReason?
  private var isFinished = false

  /// - Parameters:
  ///   - prompt: at least one token, no more than the context length.
  ///   - cache: of this model; what it has in common with the prompt is not computed again.
  ///   - maximumTokens: nil for no limit but the context.
  ///   - stops: texts that end the generation and are not part of it.
  package init(
    _ model: InferenceModel, _ tokenizer: Tokenizer, prompt: [Int32], cache: KeyValueCache, sampling: SamplingSettings,
    maximumTokens: Int? = nil, stops: [String] = []
  ) {
    precondition(
      !prompt.isEmpty && prompt.count <= cache.capacity, "a prompt of \(prompt.count) tokens for \(cache.capacity)")
    self.model = model
    self.prompt = prompt
    self.cache = cache
    self.maximumTokens = maximumTokens ?? Int.max
    endTokens = Set(model.configuration.endTokenIDs.map(Int32.init))
    sampler = Sampler(sampling, vocabularySize: tokenizer.vocabularySize, context: prompt)
    decoder = StreamingDecoder(tokenizer, skippingSpecialTokens: true)
    self.stops = StopFinder(stops)
    if self.maximumTokens == 0 { ending = .length }
  }

  package mutating func next() -> GenerationEvent? {
    if isFinished { return nil }
    if let ending { return finish(ending) }
    let logits = unreadToken.map { model.decode($0, cache) } ?? model.logits(after: prompt, cache)
    let token = sampler.next(logits.span).token
    if endTokens.contains(token) { return finish(.stop) }
    count += 1
    unreadToken = token
    let text = stops.push(decoder.push(token))
    if stops.isFound {
      ending = .stop
    } else if count >= maximumTokens || cache.room == 0 {
      ending = .length
    }
    return .token(token, text: text)
  }

  private mutating func finish(_ reason: FinishReason) -> GenerationEvent {
    isFinished = true
    let rest = stops.push(decoder.finish()) + stops.finish()
    return .end(stops.isFound ? .stop : reason, text: rest)
  }
}
