import Generation
import Storage
import Tokenization

/// Texts as clients give them: a string, several, tokens, or several lists of tokens.
package struct TextInput: Sendable, Equatable {
  /// At least one, each in the vocabulary.
  package var tokens: [Int32]
  /// How many tokens were added before those of the client.
  package var addedTokens = 0

  package init(tokens: [Int32], addedTokens: Int = 0) {
    self.tokens = tokens
    self.addedTokens = addedTokens
  }
}

/// Reads texts for a model.
package struct TextInputReader: Sendable {
  let tokenizer: Tokenizer
  let contextLength: Int
  /// What requests to the model leave out.
  let defaults: GenerationDefaults
  /// Whether the oldest turns of a conversation that is too long are left out, where a request does not say.
  let shortens: Bool
  /// The tokens that stand for a picture; empty for a model that does not see.
  let placeholder: [Int32]
  /// Whether pictures may be named by their addresses.
  let fetchesPictures: Bool
  /// How many texts a request may have.
  static let limit = 2048

  package init(
    tokenizer: Tokenizer, contextLength: Int, defaults: GenerationDefaults = GenerationDefaults(),
    shortens: Bool = false, placeholder: [Int32] = [], fetchesPictures: Bool = false
  ) {
    self.placeholder = placeholder
    self.fetchesPictures = fetchesPictures
    self.shortens = shortens
    self.tokenizer = tokenizer
    self.contextLength = contextLength
    self.defaults = defaults
  }

  /// The field `name`, at least one text of it.
  ///
  /// Strings are documents, which begin with `<s>` as in training. Tokens are used as they are.
  /// - Parameters:
  ///   - specialTokens: how `<s>` and the like in a string are encoded.
  ///   - longest: the most tokens of a text.
  func read(
    _ fields: RequestFields, _ name: String, specialTokens: SpecialTokenHandling, longest: Int
  ) throws(APIError) -> [TextInput] {
    guard let value = fields[name] else { throw APIError.invalid(name, "'\(name)' is missing.") }
    let parts: [JSON]
    if value.stringValue != nil || value.tokens != nil {
      parts = [value]
    } else {
      parts = try fields.list(name, limit: Self.limit) ?? []
    }
    var inputs: [TextInput] = []
    for part in parts {
      let input: TextInput
      if let text = part.stringValue {
        input = try encode(text, name, specialTokens)
      } else if let ids = part.tokens {
        input = TextInput(tokens: try check(ids, name))
      } else {
        throw APIError.invalid(name, "'\(name)' must be a string, a list of tokens, or a list of either.")
      }
      guard input.tokens.count <= longest else {
        throw APIError.contextLength(name, name, tokens: input.tokens.count, limit: contextLength)
      }
      inputs.append(input)
    }
    return inputs
  }

  /// The field `name`, a list of tokens.
  func tokens(_ fields: RequestFields, _ name: String) throws(APIError) -> [Int32] {
    guard let ids = fields[name]?.tokens else {
      throw APIError.invalid(name, "'\(name)' must be a list of tokens.")
    }
    return try check(ids, name)
  }

  private func encode(
    _ text: String, _ name: String, _ specialTokens: SpecialTokenHandling
  ) throws(APIError) -> TextInput {
    let tokens: [Int32]
    do { tokens = try tokenizer.encode(text, specialTokens: specialTokens) } catch {
      throw APIError.invalid(name, "'\(name)': \(error)")
    }
    if tokens.first == tokenizer.beginToken { return TextInput(tokens: tokens) }
    let begin = tokenizer.beginTokens
    return TextInput(tokens: begin + tokens, addedTokens: begin.count)
  }

  private func check(_ ids: [Int], _ name: String) throws(APIError) -> [Int32] {
    if let wrong = ids.first(where: { $0 < 0 || $0 >= tokenizer.vocabularySize }) {
      throw APIError.invalid(
        name,
        "'\(name)' has the token \(wrong), and this model's tokenizer has \(tokenizer.vocabularySize). Tokens must be "
          + "of this model, not of tiktoken's encodings; with LangChain's OpenAIEmbeddings, set "
          + "check_embedding_ctx_length=False, which sends text.")
    }
    return ids.map(Int32.init)
  }
}
