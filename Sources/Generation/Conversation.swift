import Model
import Tokenization

/// A conversation with a model: the model reads every question with all that came before, as far as the context reaches.
///
/// With v1's template an answer is kept as the tokens that the model produced, so that its keys and values stay valid. A
/// template in Jinja may show earlier answers otherwise than as they were given, without their reasoning, for one; it
/// renders the whole conversation for each question.
package final class Conversation {
  private struct Turn {
    var messages: [ChatMessage]
    /// By v1's template: the question, its answer, and what ends an answer.
    var tokens: [Int32]
    /// By v1's template: where in the tokens the pictures are.
    var places: [PlacedPicture]
    /// The rows of each picture of the question, whose marks are counted from 0.
    var pictures: [[Float]]
  }

  /// A prompt, the rows of its pictures by their numbers, and by v1's template the question as it is in it.
  private struct Prompt {
    var prompt: ChatPrompt
    var pictures: [[Float]]
    var asked = PicturedTokens()
  }

  private let engine: BatchEngine
  private let template: ChatTemplate
  /// Tokens that stand for a picture; 0 for a model that does not see.
  private let rowsPerPicture: Int
  private let system: [ChatMessage]
  private var turns: [Turn] = []
  /// Answers asked for so far: each has random choices of its own.
  private var answerCount: UInt64 = 0
  /// Whether the last prompt has begun the reasoning, of which the answer then has only the rest.
  package private(set) var opensReasoning = false

  /// - Parameters:
  ///   - system: a message before all others; nil or empty for none.
  ///   - placeholder: the tokens that stand for a picture; empty for a model that does not see.
  /// - Throws: `OutOfMemoryError`, `TokenizerError`.
  package init(
    _ model: any InferenceEngine, _ tokenizer: Tokenizer, _ template: ChatTemplate, system: String? = nil,
    placeholder: [Int32] = []
  ) throws {
    engine = try BatchEngine(model, tokenizer)
    var template = template
    template.pictureTokens = placeholder
    self.template = template
    rowsPerPicture = placeholder.count
    self.system = (system ?? "").isEmpty ? [] : [ChatMessage(role: .system, content: system ?? "")]
  }

  /// Forgets all questions and answers; the system message stays.
  package func reset() {
    turns = []
    answerCount = 0
  }

  /// Questions, with their answers, that the model still reads.
  package var turnCount: Int { turns.count }

  /// The last answer, with its reasoning apart where the template is in Jinja.
  package var lastAnswer: ChatMessage? { turns.last?.messages.last }

  /// Asks a question. Oldest turns are forgotten, whole, until the rest leaves room for an answer.
  ///
  /// - Parameters:
  ///   - pictures: what the question is about, as `Sight` gives them; they come before its text.
  ///   - maximumTokens: of the answer; nil for no limit but the context.
  ///   - thinkingTokens: the most of its reasoning; nil for no limit.
  ///   - onEvent: called with each event; returns false to cancel the answer.
  /// - Throws: `InferenceError.messageTooLong` when the question does not fit even alone; `TemplateError` when the template
  ///   refuses it; `TokenizerError`; and what `onEvent` throws.
  package func ask(
    _ question: String, pictures: [[Float]] = [], sampling: SamplingSettings, maximumTokens: Int? = nil,
    thinkingTokens: Int? = nil, stops: [String] = [], onEvent: (GenerationEvent) throws -> Bool
  ) throws {
    precondition(pictures.isEmpty || rowsPerPicture > 0, "pictures for a model that does not see")
    precondition(pictures.count <= PictureMark.limit, "\(pictures.count) pictures")
    let text = rowsPerPicture > 0 ? PictureMark.cleaned(question) : question
    let message = ChatMessage(
      role: .user, content: pictures.indices.map { PictureMark.text($0) + "\n" }.joined() + text)
    let room = min(maximumTokens ?? Int.max, engine.model.contextLength / 4)
    let made = try template.jinja == nil ? builtInPrompt(message, pictures, room) : jinjaPrompt(message, pictures, room)
    let prompt = made.prompt
    let answerEnd = template.jinja == nil ? try encode(.init(role: .assistant, content: "")) : []
    opensReasoning = prompt.opensReasoning
    var request = GenerationRequest(prompt: prompt.tokens)
    request.embedded = Sight.spans(prompt.pictures, rows: made.pictures, rowsPerPicture: rowsPerPicture)
    request.sampling = sampling
    request.sampling.seed &+= answerCount
    request.maximumTokens = maximumTokens
    request.thinking = try thinkingTokens.map {
      try ThinkingBudget(maximumTokens: $0, isOpen: opensReasoning, engine.tokenizer)
    }
    request.stops = stops
    answerCount += 1
    var answer: [Int32] = []
    var written = ""
    // However the answer ends, what there is of it belongs to the conversation.
    defer {
      turns.append(
        Turn(
          messages: [
            message,
            template.answer(
              rowsPerPicture > 0 ? PictureMark.cleaned(written) : written, opensReasoning: opensReasoning),
          ],
          tokens: template.jinja == nil ? made.asked.ids + answer + answerEnd : [], places: made.asked.pictures,
          pictures: pictures))
    }
    for event in Generator(engine, request) {
      if case .token(let token, _, _) = event { answer.append(token) }
      written += event.text
      guard try onEvent(event) else { return }
    }
  }

  // MARK: - Prompts

  private func encode(_ message: ChatMessage) throws(TokenizerError) -> [Int32] {
    try template.encode([message], with: engine.tokenizer, addGenerationPrompt: true).flatMap(\.ids)
  }

  private func builtInPrompt(_ message: ChatMessage, _ pictures: [[Float]], _ room: Int) throws -> Prompt {
    let contextLength = engine.model.contextLength
    let system = try system.flatMap(encode)
    let asked = PicturedTokens(try template.encode([message], with: engine.tokenizer, addGenerationPrompt: true))
    let fixed = system.count + asked.ids.count
    guard fixed < contextLength else {
      throw InferenceError.messageTooLong(tokens: fixed, contextLength: contextLength)
    }
    while !turns.isEmpty, fixed + turns.reduce(0, { $0 + $1.tokens.count }) + room > contextLength {
      turns.removeFirst()
    }
    var tokens = system
    var rows: [[Float]] = []
    var places: [PlacedPicture] = []
    func add(_ own: [Int32], _ ownPlaces: [PlacedPicture], _ ownRows: [[Float]]) {
      places += ownPlaces.map { PlacedPicture(number: rows.count + $0.number, token: tokens.count + $0.token) }
      tokens += own
      rows += ownRows
    }
    for turn in turns { add(turn.tokens, turn.places, turn.pictures) }
    add(asked.ids, asked.pictures, pictures)
    return Prompt(
      prompt: ChatPrompt(tokens: tokens, opensReasoning: false, pictures: places), pictures: rows, asked: asked)
  }

  private func jinjaPrompt(_ message: ChatMessage, _ pictures: [[Float]], _ room: Int) throws -> Prompt {
    let contextLength = engine.model.contextLength
    var kept = turns[...]
    while true {
      guard kept.reduce(pictures.count, { $0 + $1.pictures.count }) <= PictureMark.limit else {
        kept.removeFirst()
        continue
      }
      var messages = system
      var rows: [[Float]] = []
      for (own, ownRows) in kept.map({ ($0.messages, $0.pictures) }) + [([message], pictures)] {
        var question = own[0]
        question.content = PictureMark.shifted(question.content, by: rows.count)
        messages += [question] + own.dropFirst()
        rows += ownRows
      }
      let prompt = try template.prompt(messages, with: engine.tokenizer)
      if kept.isEmpty || prompt.tokens.count + room <= contextLength {
        guard prompt.tokens.count < contextLength else {
          throw InferenceError.messageTooLong(tokens: prompt.tokens.count, contextLength: contextLength)
        }
        turns = Array(kept)
        return Prompt(prompt: prompt, pictures: rows)
      }
      kept.removeFirst()
    }
  }
}

extension ChatTemplate {
  /// An answer as a message, with its reasoning apart where the template is in Jinja.
  ///
  /// - Parameter opensReasoning: whether the prompt has begun the reasoning, of which the text then has only the rest.
  package func answer(_ text: String, opensReasoning: Bool) -> ChatMessage {
    guard jinja != nil else { return ChatMessage(role: .assistant, content: text) }
    var splitter = ReasoningSplitter(isOpen: opensReasoning)
    let begin = splitter.push(text)
    let end = splitter.finish()
    let reasoning = begin.reasoning + end.reasoning
    return ChatMessage(
      role: .assistant, content: begin.answer + end.answer, reasoning: reasoning.isEmpty ? nil : reasoning)
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
