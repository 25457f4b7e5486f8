import Tokenization

/// One answer while it is written: logits become tokens, tokens text, and at some point it ends.
struct AnswerWriter {
  private let endTokens: Set<Int32>
  let maximumTokens: Int
  private let minimumTokens: Int
  private let reportsEndToken: Bool
  private var sampler: Sampler
  private var decoder: StreamingDecoder
  private var stops: StopFinder
  /// Nil for no limit of the reasoning.
  private var thinking: ThinkingLimit?
  /// Tokens generated so far.
  private(set) var count = 0
  private(set) var isFinished = false

  /// - Parameters:
  ///   - endTokens: those by which the model ends a text.
  ///   - contextLength: the most tokens that the model reads.
  init(_ request: GenerationRequest, _ tokenizer: Tokenizer, endTokens: [Int32], contextLength: Int) {
    maximumTokens = request.tokenLimit(promptTokens: request.prompt.count, contextLength: contextLength)
    self.endTokens = Set((request.ignoresEndTokens ? [] : endTokens) + request.endTokens)
    minimumTokens = request.minimumTokens
    reportsEndToken = request.reportsEndToken
    sampler = Sampler(
      request.sampling, vocabularySize: tokenizer.vocabularySize, context: request.prompt,
      topLogProbabilities: request.topLogProbabilities, constraint: request.constraint)
    decoder = StreamingDecoder(tokenizer, skippingSpecialTokens: true)
    stops = StopFinder(request.stops)
    thinking = request.thinking.map(ThinkingLimit.init)
  }

  /// Whether there is nothing to generate at all.
  var isEmpty: Bool { maximumTokens <= 0 }

  /// Chooses the token after the last one.
  ///
  /// - Parameter logits: [vocabulary].
  /// - Returns: the token, which the model is to read next; nil when the answer has ended.
  mutating func advance(_ logits: Span<Float>, _ emit: (GenerationEvent) -> Void) -> Int32? {
    let (token, logProbability) = choose(logits)
    if endTokens.contains(token) {
      if reportsEndToken { emit(.token(token, text: "", logProbability)) }
      finish(.stop, emit)
      return nil
    }
    count += 1
    let text = decoder.push(token)
    thinking?.receive(text)
    emit(.token(token, text: stops.push(text), logProbability))
    if stops.isFound {
      finish(.stop, emit)
    } else if count >= maximumTokens {
      finish(.length, emit)
    }
    return isFinished ? nil : token
  }

  private mutating func choose(_ logits: Span<Float>) -> (token: Int32, logProbability: TokenLogProbability?) {
    if let forced = thinking?.next {
      if let taken = sampler.take(forced, logits) { return taken }
      thinking?.giveUp()
    }
    return sampler.next(logits, forbidden: count < minimumTokens ? endTokens : [])
  }

  /// Ends the answer, and emits what was held back.
  mutating func finish(_ reason: FinishReason, _ emit: (GenerationEvent) -> Void) {
    guard !isFinished else { return }
    isFinished = true
    let rest = stops.push(decoder.finish()) + stops.finish()
    if let found = stops.found { emit(.stopString(found)) }
    emit(.end(stops.isFound ? .stop : reason, text: rest))
  }
}
