import Model
import StructuredOutput

/// A text to continue, and how.
package struct GenerationRequest: Sendable {
  /// At least one token, each in the vocabulary, no more than the context length.
  package var prompt: [Int32]
  /// Rows of the prompt that do not come from the embedding table; tokens stand in their places. In the order of positions,
  /// without overlap.
  package var embedded: [EmbeddedSpan] = []
  /// Nil for no limit but the context.
  package var maximumTokens: Int?
  package var sampling = SamplingSettings()
  /// Texts that end the generation and are not part of it.
  package var stops: [String] = []
  /// Nil: no log-probabilities; 0: of the chosen tokens; k: and of the k most likely ones.
  package var topLogProbabilities: Int?
  /// Whether `GenerationEvent.prompt` brings the log-probabilities of the prompt's tokens, which then are all computed.
  package var reportsPromptLogProbabilities = false
  /// Whether the model's end tokens are tokens like any others, for measuring.
  package var ignoresEndTokens = false
  /// Whether the token by which the text ends comes as an event, without text: it is part of what a model learns from its
  /// own answers.
  package var reportsEndToken = false
  /// Tokens that end the text in addition to the model's, and are as little part of it.
  package var endTokens: [Int32] = []
  /// The text ends by no token before it has this many tokens.
  package var minimumTokens = 0
  /// The most tokens of the reasoning before the answer; nil for no limit.
  package var thinking: ThinkingBudget?
  /// What the text may be; nil for anything.
  package var constraint: (any TokenConstraint)?

  package init(prompt: [Int32]) { self.prompt = prompt }

  /// The most tokens that can be written after a prompt of `promptTokens`: with it they fit the context.
  package func tokenLimit(promptTokens: Int, contextLength: Int) -> Int {
    min(maximumTokens ?? Int.max, contextLength - promptTokens)
  }
}

/// Why a generation ended.
package enum FinishReason: String, Sendable, Codable {
  /// The model ended the text, or a stop string came.
  case stop
  /// As many tokens as asked for, or the context is full.
  case length
  /// The caller cancelled it.
  case cancelled
}

/// What a generation brings, one thing after another.
package enum GenerationEvent: Sendable, Equatable {
  /// The first event: the prompt has been read. The log-probability of each of its tokens if the request asks for them,
  /// nil for the first one; and how many of its tokens were not computed again.
  case prompt([TokenLogProbability?], cachedTokens: Int)
  /// A token, and the text that is complete with it: often its own, sometimes none yet or more.
  case token(Int32, text: String, TokenLogProbability?)
  /// The text ends before this stop string, which the model wrote; `end` follows.
  case stopString(String)
  /// The last event, with the text that had been held back.
  case end(FinishReason, text: String)

  /// The text that the event adds to the answer.
  package var text: String {
    switch self {
    case .prompt, .stopString: ""
    case .token(_, let text, _), .end(_, let text): text
    }
  }
}
