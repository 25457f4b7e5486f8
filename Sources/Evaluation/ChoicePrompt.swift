import Tokenization

/// Lays a question out as MiniMind v1 asks C-Eval's: as a user's message after a system message, the answer's letter
/// being what the model says first.
///
/// Examples come as turns of the conversation before the question, each a user's message in the same form and an
/// answer that is the letter alone.
package struct ChoicePrompt {
  package static let system = "开始回答问题"
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  /// The system message by v1's template, of which every part of a conversation stands for itself.
  private let opening: [Int32]
  /// [letters] the token of each.
  let letterTokens: [Int32]

  /// - Throws: `TokenizerError`.
  package init(_ tokenizer: Tokenizer, _ template: ChatTemplate) throws {
    self.tokenizer = tokenizer
    self.template = template
    opening = template.jinja == nil ? try Self.encode([Self.systemMessage], tokenizer, template) : []
    letterTokens = try ChoiceQuestion.letters.map { letter in
      let tokens = try tokenizer.encode(letter, specialTokens: .asText)
      guard tokens.count == 1 else {
        throw EvaluationError(
          "the letter \(letter) is \(tokens.count) tokens of this tokenizer; an answer must be one.")
      }
      return tokens[0]
    }
  }

  private static var systemMessage: ChatMessage { ChatMessage(role: .system, content: system) }

  /// The user's message.
  package static func text(_ question: ChoiceQuestion) -> String {
    let choices = zip(ChoiceQuestion.letters, question.choices).map { "\($0): \($1)" }
    return "\(question.text)。选择 " + choices.joined(separator: ", ")
  }

  /// Solved questions that come before others.
  struct Examples {
    /// Two for each.
    fileprivate var messages: [[ChatMessage]]
    /// By v1's template.
    fileprivate var tokens: [[Int32]]
  }

  /// - Throws: `TokenizerError`.
  func examples(_ questions: some Sequence<ChoiceQuestion>) throws -> Examples {
    let messages = questions.map { example in
      [
        ChatMessage(role: .user, content: Self.text(example)),
        ChatMessage(role: .assistant, content: ChoiceQuestion.letters[example.answer]),
      ]
    }
    let tokens = template.jinja == nil ? try messages.map { try Self.encode($0, tokenizer, template) } : []
    return Examples(messages: messages, tokens: tokens)
  }

  /// A prompt whose next token is the answer.
  ///
  /// - Parameters:
  ///   - examples: those that do not fit are left out whole, the first ones first; the question itself is never cut.
  ///   - maximumTokens: of the prompt with examples.
  /// - Returns: the tokens, and how many examples are among them.
  /// - Throws: `TemplateError` when the template refuses the conversation.
  func encode(
    _ question: ChoiceQuestion, examples: Examples, maximumTokens: Int
  ) throws -> (tokens: [Int32], exampleCount: Int) {
    let message = ChatMessage(role: .user, content: Self.text(question))
    guard template.jinja == nil else {
      var shown = examples.messages[...]
      while true {
        let messages = [Self.systemMessage] + shown.flatMap { $0 } + [message]
        let tokens = try template.prompt(messages, with: tokenizer).tokens
        if tokens.count <= maximumTokens || shown.isEmpty { return (tokens, shown.count) }
        shown.removeFirst()
      }
    }
    let asked = try Self.encode([message], tokenizer, template)
    var shown = examples.tokens[...]
    while !shown.isEmpty, opening.count + shown.reduce(0, { $0 + $1.count }) + asked.count > maximumTokens {
      shown.removeFirst()
    }
    return (opening + shown.flatMap { $0 } + asked, shown.count)
  }

  private static func encode(_ messages: [ChatMessage], _ tokenizer: Tokenizer, _ template: ChatTemplate) throws
    -> [Int32]
  {
    try template.encode(messages, with: tokenizer, addGenerationPrompt: true).flatMap(\.ids)
  }
}
