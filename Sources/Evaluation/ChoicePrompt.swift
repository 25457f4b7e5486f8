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
  private let opening: [Int32]
  /// [letters] the token of each.
  let letterTokens: [Int32]

  package init(_ tokenizer: Tokenizer, _ template: ChatTemplate) {
    self.tokenizer = tokenizer
    self.template = template
    opening = Self.encode([ChatMessage(role: .system, content: Self.system)], tokenizer, template)
    letterTokens = ChoiceQuestion.letters.map { letter in
      // Every byte has a token of its own, or the tokenizer would not have been read; nothing merges one byte.
      let tokens = tokenizer.encode(letter, specialTokens: .asText)
      precondition(tokens.count == 1, "\(letter) is \(tokens)")
      return tokens[0]
    }
  }

  /// The user's message.
  package static func text(_ question: ChoiceQuestion) -> String {
    let choices = zip(ChoiceQuestion.letters, question.choices).map { "\($0): \($1)" }
    return "\(question.text)。选择 " + choices.joined(separator: ", ")
  }

  /// A solved question, as two turns.
  func encode(example: ChoiceQuestion) -> [Int32] {
    Self.encode(
      [
        ChatMessage(role: .user, content: Self.text(example)),
        ChatMessage(role: .assistant, content: ChoiceQuestion.letters[example.answer]),
      ], tokenizer, template)
  }

  /// A prompt whose next token is the answer.
  ///
  /// - Parameters:
  ///   - examples: encoded by `encode(example:)`. Those that do not fit are left out whole, the first ones first; the
  ///     question itself is never cut.
  ///   - maximumTokens: of the prompt with examples.
  /// - Returns: the tokens, and how many examples are among them.
  func encode(
    _ question: ChoiceQuestion, examples: [[Int32]], maximumTokens: Int
  ) -> (tokens: [Int32], exampleCount: Int) {
    let asked = Self.encode([ChatMessage(role: .user, content: Self.text(question))], tokenizer, template)
    var shown = examples[...]
    while !shown.isEmpty, opening.count + shown.reduce(0, { $0 + $1.count }) + asked.count > maximumTokens {
      shown.removeFirst()
    }
    return (opening + shown.flatMap { $0 } + asked, shown.count)
  }

  private static func encode(_ messages: [ChatMessage], _ tokenizer: Tokenizer, _ template: ChatTemplate) -> [Int32] {
    template.encode(messages, with: tokenizer, addGenerationPrompt: true).flatMap(\.ids)
  }
}
