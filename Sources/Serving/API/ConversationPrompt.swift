import Generation
import Storage
import StructuredOutput
import Tokenization

/// A conversation of a request as the model reads it, and the form that the answer is to have.
struct ConversationPrompt {
  let tokens: [Int32]
  /// The pictures, and where among the tokens they are.
  let pictures: [RequestPicture]
  let pictureTokens: [PlacedPicture]
  let opensReasoning: Bool
  let form: AnswerForm
  /// Messages that were left out so that the rest fits.
  let droppedMessages: Int

  /// - Parameters:
  ///   - template: the model's, or why there is none.
  ///   - isLimited: whether what the context has no room for is shortened, if the request or the server says so, or
  ///     refused.
  init(
    _ fields: RequestFields, _ reader: TextInputReader, _ template: Result<ChatTemplate, any Error>,
    _ vocabulary: TokenVocabulary, isLimited: Bool = true
  ) throws(APIError) {
    var layout: ChatTemplate
    switch template {
    case .success(let template): layout = template
    case .failure(let reason):
      throw APIError.invalid(nil, "This model only continues texts, at /v1/completions. \(reason)")
    }
    layout.pictureTokens = reader.placeholder
    let form = try AnswerForm(fields, vocabulary)
    let isJSON = form.constraint is JSONConstraint
    let variables = try TemplateRequest(fields, layout, isJSON: isJSON).variables
    let list = try ChatMessageReader.list(fields)
    let writer = Writer(
      layout: layout, form: form, variables: variables, tools: fields["tools"]?.arrayValue ?? [],
      tokenizer: reader.tokenizer, fetchesPictures: reader.fetchesPictures)
    let shortens = try Self.shortens(fields) ?? reader.shortens
    var prompt = try writer.prompt(list)
    var turns = ConversationTurns(list)
    if isLimited, shortens {
      let room = try Self.room(fields, reader)
      if prompt.tokens.count + room > reader.contextLength {
        let shortened = try turns.shorten { list throws(APIError) -> PicturedPrompt? in
          let prompt = try writer.prompt(list)
          return prompt.tokens.count + room <= reader.contextLength ? prompt : nil
        }
        prompt = if let shortened { shortened } else { try writer.prompt(turns.shortest()) }
      }
    }
    guard !isLimited || prompt.tokens.count <= reader.contextLength else {
      throw APIError.contextLength(
        "messages", form.tools.isEmpty ? "messages" : "messages and tools", tokens: prompt.tokens.count,
        limit: reader.contextLength)
    }
    tokens = prompt.tokens
    pictures = prompt.pictures
    pictureTokens = prompt.prompt.pictures
    opensReasoning = prompt.prompt.opensReasoning && !isJSON
    self.form = form
    droppedMessages = turns.droppedMessages
  }

  /// Tokens that are left for an answer, as `minimind chat` leaves them.
  private static func room(_ fields: RequestFields, _ reader: TextInputReader) throws(APIError) -> Int {
    var most = reader.defaults.maximumTokens
    for name in ["n_predict", "max_tokens", "max_completion_tokens"] {
      if let value = try fields.integer(name, in: -1...Int.max) { most = value }
    }
    let wanted = most.map { $0 < 0 ? Int.max : $0 } ?? Int.max
    return min(wanted, reader.contextLength / 4)
  }

  /// `truncation`, which OpenAI's Responses have; nil where the request does not say.
  private static func shortens(_ fields: RequestFields) throws(APIError) -> Bool? {
    switch try fields.string("truncation") {
    case nil: nil
    case "auto": true
    case "disabled": false
    default: throw APIError.invalid("truncation", "'truncation' must be auto or disabled.")
    }
  }

  private struct PicturedPrompt {
    var prompt: ChatPrompt
    var pictures: [RequestPicture]
    var tokens: [Int32] { prompt.tokens }
  }

  /// Lays out messages by the model's template.
  private struct Writer {
    let layout: ChatTemplate
    let form: AnswerForm
    let variables: [JSON.Member]
    let tools: [JSON]
    let tokenizer: Tokenizer
    let fetchesPictures: Bool

    func prompt(_ list: [JSON]) throws(APIError) -> PicturedPrompt {
      var reader = ChatMessageReader(template: layout, fetchesPictures: fetchesPictures)
      let messages = try reader.messages(list)
      do {
        return PicturedPrompt(prompt: try prompt(messages, knowsTools: reader.knowsTools), pictures: reader.pictures)
      } catch {
        // Some templates have a place for instructions at the beginning only, or want a user to speak.
        reader.foldsInstructions = true
        if let folded = try? reader.messages(list), folded != messages,
          let prompt = try? prompt(folded, knowsTools: reader.knowsTools)
        {
          return PicturedPrompt(prompt: prompt, pictures: reader.pictures)
        }
        throw APIError.invalid("messages", "\(error).")
      }
    }

    private func prompt(_ messages: [ChatMessage], knowsTools: Bool) throws -> ChatPrompt {
      try layout.prompt(
        knowsTools ? messages : form.instructing(messages), tools: knowsTools && !form.tools.isEmpty ? tools : [],
        variables: variables, with: tokenizer)
    }
  }
}

/// The messages of a conversation in turns: what a user says, and all that follows until the next word of a user.
package struct ConversationTurns {
  private let list: [JSON]
  /// Instructions at the beginning, which stay.
  private let fixed: Int
  /// Where each turn begins.
  private let starts: [Int]
  package private(set) var droppedMessages = 0

  package init(_ list: [JSON]) {
    self.list = list
    func role(_ index: Int) -> String { list[index]["role"]?.stringValue ?? "" }
    let fixed = list.indices.first { !["system", "developer"].contains(role($0)) } ?? list.count
    self.fixed = fixed
    starts = (fixed..<list.count).filter { $0 > fixed && role($0) == "user" }
  }

  private func without(_ turns: Int) -> [JSON] {
    turns == 0 ? list : Array(list[..<fixed] + list[starts[turns - 1]...])
  }

  /// The instructions and the last turn.
  package mutating func shortest() -> [JSON] {
    droppedMessages = starts.last.map { $0 - fixed } ?? 0
    return without(starts.count)
  }

  /// Leaves out as few of the oldest turns as it takes, at least one.
  ///
  /// - Parameter fit: what is made of a list of messages; nil if it is too long. A part of a list that fits fits as well.
  /// - Returns: nil if not even the last turn fits.
  package mutating func shorten<Value>(_ fit: ([JSON]) throws(APIError) -> Value?) throws(APIError) -> Value? {
    var (few, many) = (1, starts.count)
    var best: Value?
    while few <= many {
      let middle = (few + many) / 2
      if let value = try fit(without(middle)) {
        (best, many) = (value, middle - 1)
      } else {
        few = middle + 1
      }
    }
    if best != nil { droppedMessages = starts[few - 1] - fixed }
    return best
  }
}
