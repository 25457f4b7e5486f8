import Generation
import Storage
import StructuredOutput
import Tokenization

/// Which of the two kinds of answers a client wants.
enum AnswerKind: String, Sendable {
  case chat = "chat.completion"
  case completion = "text_completion"
}

/// What a client asks a model to write: a request of either kind, decoded and checked.
package struct GenerationCall: Sendable {
  var kind: AnswerKind
  package var prompts: [TextInput]
  /// Answers to each prompt.
  package var count = 1
  package var isStreamed = false
  /// Whether a stream ends with the number of tokens.
  var includesUsage = false
  /// Whether the answer begins with the prompt.
  var echoes = false
  /// Functions that the answer may call.
  package var tools: [Tool] = []
  /// Whether the prompt has begun the reasoning, of which the answer then has only the rest.
  package var opensReasoning = false
  /// Messages of the conversation that were left out so that the rest fits.
  package var droppedMessages = 0
  /// The pictures of the conversation, still to be encoded, and where they are in the prompt.
  var pictures: [RequestPicture] = []
  var pictureTokens: [PlacedPicture] = []
  /// What an error about a picture becomes in the words of the client's API.
  var renamed: @Sendable (APIError) -> APIError = { $0 }
  /// Everything except the prompt.
  package var request: GenerationRequest

  /// The parts of the answer, one for each choice.
  package var parts: Int { prompts.count * count }

  /// The request for one choice.
  package func request(_ choice: Int) -> GenerationRequest {
    var request = request
    request.prompt = prompts[choice / count].tokens
    request.sampling.seed &+= UInt64(choice)
    return request
  }

  /// Reads what both kinds of requests have in common.
  ///
  /// - Parameters:
  ///   - kind: log-probabilities and the number of tokens have other names in each.
  ///   - defaults: what absent fields mean.
  init(
    _ fields: RequestFields, _ kind: AnswerKind, prompts: [TextInput], defaults: GenerationDefaults
  ) throws(APIError) {
    self.kind = kind
    self.prompts = prompts
    request = GenerationRequest(prompt: [])
    count = try fields.integer("n", in: 1...128) ?? 1
    try checkParts()
    isStreamed = try fields.bool("stream") ?? false
    if let options = try fields.fields("stream_options") {
      guard isStreamed else {
        throw APIError.invalid("stream_options", "'stream_options' is only for requests with 'stream': true.")
      }
      includesUsage = try options.bool("include_usage") ?? false
      try options.refuse(
        "include_obfuscation", unless: { $0 == .bool(false) }, "pieces of a stream are as long as their text.")
    }
    // −1 is MiniMind v1's word for no limit.
    let most = try fields.integer("max_completion_tokens", in: -1...Int.max)
    var limit = try fields.integer("max_tokens", in: -1...Int.max)
    if limit == nil { limit = try fields.integer("n_predict", in: -1...Int.max) }
    // /v1/completions has OpenAI's old default, which tools rely on.
    request.maximumTokens = (most ?? limit ?? (kind == .completion ? 16 : defaults.maximumTokens)).flatMap {
      $0 < 0 ? nil : $0
    }
    request.stops = try Self.stops(fields)
    request.ignoresEndTokens = try fields.bool("ignore_eos") ?? false
    request.minimumTokens = try fields.integer("min_tokens", in: 0...Int.max) ?? 0
    try readSampling(fields, defaults.sampling)
  }

  /// OpenAI takes four; tasks of lm-eval have more.
  private static let stopLimit = 64

  private static func stops(_ fields: RequestFields) throws(APIError) -> [String] {
    guard let value = fields["stop"] else { return [] }
    if let text = value.stringValue { return text.isEmpty ? [] : [text] }
    let texts = value.arrayValue?.compactMap(\.stringValue) ?? []
    guard let values = value.arrayValue, texts.count == values.count, texts.count <= stopLimit else {
      throw APIError.invalid("stop", "'stop' must be a string or a list of at most \(stopLimit) strings.")
    }
    guard texts.allSatisfy({ $0.utf8.count <= 1024 }) else {
      throw APIError.invalid("stop", "a string in 'stop' has more than 1024 bytes.")
    }
    return texts.filter { !$0.isEmpty }
  }

  /// Absent fields have the model's defaults, except the seed.
  private mutating func readSampling(_ fields: RequestFields, _ defaults: SamplingSettings) throws(APIError) {
    var sampling = defaults
    sampling.temperature = try fields.number("temperature", in: 0...2) ?? sampling.temperature
    sampling.topP = try fields.number("top_p", in: 0...1) ?? sampling.topP
    sampling.minP = try fields.number("min_p", in: 0...1) ?? sampling.minP
    sampling.topK = max(0, try fields.integer("top_k", in: -1...Int.max) ?? sampling.topK)
    sampling.repetitionPenalty = try Self.repetitionPenalty(fields) ?? sampling.repetitionPenalty
    sampling.presencePenalty = try fields.number("presence_penalty", in: -2...2) ?? 0
    sampling.frequencyPenalty = try fields.number("frequency_penalty", in: -2...2) ?? 0
    let seed = try fields.integer("seed", in: Int.min...Int.max)
    sampling.seed = seed.map { UInt64(bitPattern: Int64($0)) } ?? UInt64.random(in: 0...UInt64.max)
    request.sampling = sampling
  }

  /// `repeat_penalty` is llama.cpp's name, and counts as it does with `repeat_last_n` −1.
  private static func repetitionPenalty(_ fields: RequestFields) throws(APIError) -> Float? {
    let penalty = try fields.number("repetition_penalty", in: 0.1...10)
    guard let other = try fields.number("repeat_penalty", in: 0.1...10) else { return penalty }
    guard penalty == nil || penalty == other else {
      throw APIError.invalid("repeat_penalty", "'repeat_penalty' and 'repetition_penalty' are the same; give one.")
    }
    if other != 1 {
      try fields.refuse(
        "repeat_last_n", unless: { $0.integerValue == -1 }, "a repetition counts in the whole context, which -1 means.")
    }
    return other
  }

  /// Reads `stop_token_ids`, and `logit_bias`, whose keys are tokens of `tokenizer`.
  mutating func readTokens(_ fields: RequestFields, _ tokenizer: Tokenizer) throws(APIError) {
    if let value = fields["stop_token_ids"], value != .array([]) {
      guard let ids = value.tokens, ids.count <= 1024, ids.allSatisfy({ (0..<tokenizer.vocabularySize).contains($0) })
      else {
        throw APIError.invalid(
          "stop_token_ids",
          "'stop_token_ids' must be a list of at most 1024 tokens of this model, 0 to \(tokenizer.vocabularySize - 1).")
      }
      request.endTokens = ids.map(Int32.init)
    }
    guard let value = fields["logit_bias"] else { return }
    guard case .object(let members) = value, members.count <= 1024 else {
      throw APIError.invalid("logit_bias", "'logit_bias' must be an object with at most 1024 members.")
    }
    for member in members {
      guard let token = Int32(member.key), token >= 0, token < tokenizer.vocabularySize else {
        throw APIError.invalid(
          "logit_bias",
          "'logit_bias' has the key \(JSON.quoted(String(member.key.prefix(40)))); keys are tokens of this model, "
            + "0 to \(tokenizer.vocabularySize - 1).")
      }
      guard let bias = member.value.doubleValue, (-100...100).contains(bias) else {
        throw APIError.invalid("logit_bias", "the values of 'logit_bias' must be numbers between -100 and 100.")
      }
      request.sampling.logitBias[token] = Float(bias)
    }
  }
}
