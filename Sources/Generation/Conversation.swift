import Model
import Tokenization

/// A conversation with a model: the model reads every question with all that came before, as far as the context reaches.
///
/// An answer is kept as the tokens that the model produced, so that its keys and values stay valid.
package final class Conversation {
  private let engine: BatchEngine
  private let template: ChatTemplate
  private let system: [Int32]
  /// A question as the template lays it out, its answer, and what ends an answer.
  private var turns: [[Int32]] = []
  private let answerEnd: [Int32]
  /// Answers asked for so far: each has random choices of its own.
  private var answerCount: UInt64 = 0

  /// - Parameter system: a message before all others; nil or empty for none.
  /// - Throws: `OutOfMemoryError`.
  package init(_ model: any InferenceEngine, _ tokenizer: Tokenizer, _ template: ChatTemplate, system: String? = nil)
    throws
  {
    engine = try BatchEngine(model, tokenizer)
    self.template = template
    func encode(_ role: ChatMessage.Role, _ content: String) -> [Int32] {
      template.encode([ChatMessage(role: role, content: content)], with: tokenizer, addGenerationPrompt: false)
        .flatMap(\.ids)
    }
    self.system = encode(.system, system ?? "")
    answerEnd = encode(.assistant, "")
  }

  /// Forgets all questions and answers; the system message stays.
  package func reset() {
    turns = []
    answerCount = 0
  }

  /// Questions, with their answers, that the model still reads.
  package var turnCount: Int { turns.count }

  /// Asks a question. Oldest turns are forgotten, whole, until the rest leaves room for an answer.
  ///
  /// - Parameters:
  ///   - maximumTokens: of the answer; nil for no limit but the context.
  ///   - onEvent: called with each event; returns false to cancel the answer.
  /// - Throws: `InferenceError.messageTooLong` when the question does not fit even alone; and what `onEvent` throws.
  package func ask(
    _ question: String, sampling: SamplingSettings, maximumTokens: Int? = nil, stops: [String] = [],
    onEvent: (GenerationEvent) throws -> Bool
  ) throws {
    let message = ChatMessage(role: .user, content: question)
    let asked = template.encode([message], with: engine.tokenizer, addGenerationPrompt: true).flatMap(\.ids)
    let fixed = system.count + asked.count
    let contextLength = engine.model.contextLength
    guard fixed < contextLength else {
      throw InferenceError.messageTooLong(tokens: fixed, contextLength: contextLength)
    }
    let room = min(maximumTokens ?? Int.max, contextLength / 4)
    while !turns.isEmpty, fixed + turns.reduce(0, { $0 + $1.count }) + room > contextLength {
      turns.removeFirst()
    }
    var request = GenerationRequest(prompt: system + turns.flatMap { $0 } + asked)
    request.sampling = sampling
    request.sampling.seed &+= answerCount
    request.maximumTokens = maximumTokens
    request.stops = stops
    answerCount += 1
    var answer: [Int32] = []
    // However the answer ends, what there is of it belongs to the conversation.
    defer { turns.append(asked + answer + answerEnd) }
    for event in Generator(engine, request) {
      if case .token(let token, _, _) = event { answer.append(token) }
      guard try onEvent(event) else { return }
    }
  }
}

/// What can keep a model from answering.
package enum InferenceError: Error, Equatable, Sendable, CustomStringConvertible {
  case messageTooLong(tokens: Int, contextLength: Int)
  case tokenizerTooLarge(tokens: Int, vocabularySize: Int, path: String)

  package var description: String {
    switch self {
    case .messageTooLong(let tokens, let contextLength):
      "the text has \(tokens) tokens and the context \(contextLength), so there is no room for an answer. "
        + "Shorten it, or choose a larger --context."
    case .tokenizerTooLarge(let tokens, let vocabularySize, let path):
      "\(path): the tokenizer has \(tokens) tokens, the model only \(vocabularySize). "
        + "Use the tokenizer that the model was trained with."
    }
  }
}
