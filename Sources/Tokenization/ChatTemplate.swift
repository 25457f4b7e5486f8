import Storage
import Templates

/// A piece of an encoded conversation.
package struct TemplatePart: Sendable, Equatable {
  package let ids: [Int32]
  /// The message that the piece belongs to.
  package let messageIndex: Int
  /// Whether the model is to learn this piece: an answer and its `</s>`.
  package let isAnswer: Bool
  /// Pictures among the tokens; places are counted from the piece's first token.
  package var pictures: [PlacedPicture] = []
}

/// A conversation as tokens, ending where the answer begins.
package struct ChatPrompt: Sendable {
  package let tokens: [Int32]
  /// Whether the template has begun the answer with an open `<think>`: what comes first is then reasoning.
  package let opensReasoning: Bool
  package let pictures: [PlacedPicture]

  package init(tokens: [Int32], opensReasoning: Bool, pictures: [PlacedPicture] = []) {
    self.tokens = tokens
    self.opensReasoning = opensReasoning
    self.pictures = pictures
  }
}

/// How a conversation becomes text: by a tokenizer's template in Jinja, or by MiniMind v1's, which is built in.
///
///     {system, first message only}<s>user\n{content}</s>\n<s>assistant\n{answer}</s>\n…
///
/// In v1's, every user message opens the answer to it, so asking for a generation prompt adds nothing.
package struct ChatTemplate: Sendable {
  /// The text of v1's template in `tokenizer_config.json`.
  static let source =
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}"
    + "{% if system_message is defined %}{{ system_message }}{% endif %}"
    + "{% for message in messages %}{% set content = message['content'] %}"
    + "{% if message['role'] == 'user' %}{{ '<s>user\\n' + content + '</s>\\n<s>assistant\\n' }}"
    + "{% elif message['role'] == 'assistant' %}{{ content + '</s>' + '\\n' }}{% endif %}{% endfor %}"

  /// nil for v1's template.
  package let jinja: JinjaChatTemplate?
  /// The template's text.
  package var text: String { jinja?.source ?? Self.source }
  /// Variables of the template that every conversation gets unless it brings its own, such as `enable_thinking`.
  package var variables: [JSON.Member] = []
  /// What stands for a picture in the tokens, where messages hold a `PictureMark`; empty for a model that does not see.
  package var pictureTokens: [Int32] = []

  /// v1's template, for a tokenizer that this program made.
  package init() { jinja = nil }

  /// The template that the tokenizer in a directory brings.
  ///
  /// - Throws: see `init(_:)`.
  package init(tokenizerDirectory: String) throws { try self.init(TokenizerFiles(directory: tokenizerDirectory)) }

  /// The template that a tokenizer's files bring.
  ///
  /// - Throws: `FileError` when a file cannot be read, `TokenizerError` when there is no template, several of which none is
  ///   the one to use, or one that is no Jinja as `transformers` reads it.
  package init(_ files: TokenizerFiles) throws {
    switch try ChatTemplateSource(files) {
    case .text(let text, _) where Self.isSource(text): jinja = nil
    case .text: jinja = try Self.jinja(files)
    case .several(let names):
      throw TokenizerError(
        "\(files.location): it has several chat templates (\(names.map(\.inQuotes).joined(separator: ", "))) and none "
          + "is named \"default\", so which one lays out a conversation is unknown. Give one that name.")
    case .none:
      throw TokenizerError(
        "\(files.location): there is no chat_template in tokenizer_config.json and no chat_template.jinja, so how to "
          + "lay out a conversation is unknown. Use generate, or a model that was fine-tuned for chat.")
    }
  }

  /// The template of a tokenizer as Jinja, v1's as well.
  ///
  /// - Throws: `FileError` or `TokenizerError`.
  package static func jinja(_ files: TokenizerFiles) throws -> JinjaChatTemplate {
    guard case .text(let text, let forTools) = try ChatTemplateSource(files) else {
      _ = try ChatTemplate(files)
      throw TokenizerError("\(files.location): its chat template changed while it was read. Try again.")
    }
    do {
      return try JinjaChatTemplate(
        text, forTools: forTools, tokens: TokenizerConfiguration(files).namedTokens)
    } catch let error as TemplateError {
      throw TokenizerError(
        "\(files.location): \(error). Use generate with a prompt that you format yourself, or repair the template.")
    }
  }

  /// Whether `text` renders as v1's template: editors end a file with a line break, of which Jinja drops one, and
  /// `trim_blocks`, which `transformers` sets, another one after the last block.
  private static func isSource(_ text: String) -> Bool {
    var bytes = Array(text.utf8)
    for _ in 0..<2 where bytes.last == 0x0A {
      bytes.removeLast()
      if bytes.last == 0x0D { bytes.removeLast() }
    }
    return bytes.elementsEqual(source.utf8)
  }

  /// The Jinja text of the template that a tokenizer's files bring, whether it is v1's or not.
  ///
  /// - Returns: nil when it brings none, or several of which none is the one to use.
  /// - Throws: `FileError` or `TokenizerError` when a file cannot be read.
  package static func jinjaText(_ files: TokenizerFiles) throws -> String? {
    if case .text(let text, _) = try ChatTemplateSource(files) { text } else { nil }
  }

  /// The conversation as a model is to read it that answers next.
  ///
  /// An answer at the end of `messages` is one that has begun: it follows the prompt for it, and is continued.
  ///
  /// - Parameters:
  ///   - tools: descriptions of tools, for a template that knows them.
  ///   - variables: of the template; they take precedence over `self.variables`.
  /// - Throws: `TemplateError` when the template refuses the conversation; `TokenizerError`.
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON] = [], variables: [JSON.Member] = [], with tokenizer: Tokenizer
  ) throws -> ChatPrompt {
    guard jinja != nil else {
      let text = try builtInPrompt(messages, tokenizer)
      return ChatPrompt(tokens: text.ids, opensReasoning: false, pictures: text.pictures)
    }
    let begun = messages.last?.role == .assistant ? messages.last?.content ?? "" : ""
    let asked = messages.last?.role == .assistant ? Array(messages.dropLast()) : messages
    var pieces = try rendered(asked, tools: tools, variables, addGenerationPrompt: true).pieces
    var own = pieces.last.map { $0.isContent ? "" : $0.text } ?? ""
    while own.last?.isWhitespace == true { own.removeLast() }
    let opensReasoning = own.hasSuffix("<think>") && !begun.contains("</think>")
    if !begun.isEmpty { pieces.append(.init(text: begun, isContent: true)) }
    let text = try encode(pieces, with: tokenizer)
    return ChatPrompt(tokens: text.ids, opensReasoning: opensReasoning, pictures: text.pictures)
  }

  private func builtInPrompt(_ messages: [ChatMessage], _ tokenizer: Tokenizer) throws(TokenizerError) -> PicturedTokens
  {
    var parts = try encode(messages, with: tokenizer, addGenerationPrompt: true)
    let last = messages.count - 1
    guard messages.last?.role == .assistant else { return PicturedTokens(parts) }
    let answer = parts.first { $0.messageIndex == last && $0.isAnswer }.map { $0.ids.dropLast() } ?? []
    parts.removeAll { $0.messageIndex == last }
    var text = PicturedTokens(parts)
    text.ids += answer
    return text
  }

  /// The conversation as a template in Jinja renders it.
  func rendered(
    _ messages: [ChatMessage], tools: [JSON], _ variables: [JSON.Member], addGenerationPrompt: Bool
  ) throws -> RenderedText {
    guard let jinja else {
      let text = render(messages, addGenerationPrompt: addGenerationPrompt)
      return RenderedText(pieces: [.init(text: text, isContent: false)], generationRanges: nil)
    }
    let others = self.variables.filter { own in !variables.contains { $0.key == own.key } }
    // Most templates do not know the developer, whose place the system had before.
    let knowsDeveloper = jinja.mentions("developer")
    let messages = messages.map { message in
      guard message.role == .developer, !knowsDeveloper else { return message.json }
      var message = message
      message.role = .system
      return message.json
    }
    return try jinja.render(
      messages, tools: tools.isEmpty ? .null : .array(tools), addGenerationPrompt: addGenerationPrompt,
      others + variables)
  }

  // MARK: - MiniMind v1's template

  /// The conversation as text, to the character as v1's template renders it.
  ///
  /// - Parameter addGenerationPrompt: changes nothing with this template, which opens an answer after every
  ///   user message by itself.
  package func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) -> String {
    var text = ""
    for (index, message) in messages.enumerated() {
      switch message.role {
      case .system, .developer: if index == 0 { text += message.content }
      case .tool: break
      case .user: text += "<s>user\n" + message.content + "</s>\n<s>assistant\n"
      case .assistant: text += message.content + "</s>\n"
      }
    }
    return text
  }

  /// The conversation as tokens by v1's template, in pieces that say what is answer and what is not.
  ///
  /// Contents are encoded as text: a `</s>` that a user typed is four characters, not the end of the turn.
  /// An answer is encoded by itself, as the model will produce it, after a prompt that has ended.
  package func encode(
    _ messages: [ChatMessage], with tokenizer: Tokenizer, addGenerationPrompt: Bool
  ) throws(TokenizerError) -> [TemplatePart] {
    func encode(_ text: String) throws(TokenizerError) -> [Int32] {
      try tokenizer.encode(text, specialTokens: .asText)
    }
    func content(_ text: String) throws(TokenizerError) -> PicturedTokens {
      try self.encode([.init(text: text, isContent: true)], with: tokenizer)
    }
    let begin = tokenizer.beginTokens
    let end = tokenizer.endToken
    let newline = try encode("\n")
    let opening = [end] + newline + begin + (try encode("assistant\n"))
    var parts: [TemplatePart] = []
    for (index, message) in messages.enumerated() {
      func add(_ ids: [Int32], isAnswer: Bool = false, pictures: [PlacedPicture] = []) {
        guard !ids.isEmpty else { return }
        parts.append(TemplatePart(ids: ids, messageIndex: index, isAnswer: isAnswer, pictures: pictures))
      }
      switch message.role {
      case .tool: break
      case .system, .developer: if index == 0 { add(try encode(message.content)) }
      case .user:
        var text = PicturedTokens(ids: begin)
        text.append(try content("user\n" + message.content))
        text.ids += opening
        add(text.ids, pictures: text.pictures)
      case .assistant:
        add((try encode(message.content)) + [end], isAnswer: true)
        add(newline)
      }
    }
    return parts
  }
}
