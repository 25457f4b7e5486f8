import Storage

/// One turn of a conversation.
package struct ChatMessage: Sendable, Equatable {
  package enum Role: String, Sendable, Equatable, CaseIterable { case system, user, assistant }

  package var role: Role
  package var content: String

  package init(role: Role, content: String) {
    self.role = role
    self.content = content
  }
}

/// A piece of an encoded conversation.
package struct TemplatePart: Sendable, Equatable {
  package let ids: [Int32]
  /// The message that the piece belongs to.
  package let messageIndex: Int
  /// Whether the model is to learn this piece: an answer and its `</s>`.
  package let isAnswer: Bool
}

/// How a conversation becomes text: MiniMind v1's template, the only one there is.
///
///     {system, first message only}<s>user\n{content}</s>\n<s>assistant\n{answer}</s>\n…
///
/// Every user message opens the answer to it, so asking for a generation prompt adds nothing.
package struct ChatTemplate: Sendable {
  /// The template's text in `tokenizer_config.json`.
  static let source =
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}"
    + "{% if system_message is defined %}{{ system_message }}{% endif %}"
    + "{% for message in messages %}{% set content = message['content'] %}"
    + "{% if message['role'] == 'user' %}{{ '<s>user\\n' + content + '</s>\\n<s>assistant\\n' }}"
    + "{% elif message['role'] == 'assistant' %}{{ content + '</s>' + '\\n' }}{% endif %}{% endfor %}"

  /// v1's template, for a tokenizer that this program made.
  package init() {}

  /// Checks that the tokenizer in `tokenizerDirectory` brings v1's template.
  ///
  /// - Throws: `FileError` when a file cannot be read, `TokenizerError` when the tokenizer brings another template or none.
  package init(tokenizerDirectory: String) throws {
    switch try ChatTemplateSource(tokenizerDirectory: tokenizerDirectory) {
    case .text(let text) where Self.isSource(text): break
    case .text:
      throw TokenizerError(
        "\(tokenizerDirectory): its chat template is not MiniMind v1's, the only one that is supported; "
          + "rendering it differently would mislead the model. Use generate with a prompt that you format yourself.")
    case .several(let names):
      throw TokenizerError(
        "\(tokenizerDirectory): it has several chat templates (\(names.map(\.inQuotes).joined(separator: ", "))) and none "
          + "is named \"default\", so which one lays out a conversation is unknown. Give one that name.")
    case .none:
      throw TokenizerError(
        "\(tokenizerDirectory): there is no chat_template in tokenizer_config.json and no chat_template.jinja, so how to "
          + "lay out a conversation is unknown. Use generate, or a model that was fine-tuned for chat.")
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

  /// The Jinja text of the template that the tokenizer in `tokenizerDirectory` brings, whether it is v1's or not.
  ///
  /// - Returns: nil when it brings none, or several of which none is the one to use.
  /// - Throws: `FileError` or `TokenizerError` when a file cannot be read.
  package static func jinjaText(tokenizerDirectory: String) throws -> String? {
    let source = try ChatTemplateSource(tokenizerDirectory: tokenizerDirectory)
    return if case .text(let text) = source { text } else { nil }
  }

  /// The conversation as text, to the character as v1's template renders it.
  ///
  /// - Parameter addGenerationPrompt: changes nothing with this template, which opens an answer after every
  ///   user message by itself.
  package func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) -> String {
    var text = ""
    for (index, message) in messages.enumerated() {
      switch message.role {
      case .system: if index == 0 { text += message.content }
      case .user: text += "<s>user\n" + message.content + "</s>\n<s>assistant\n"
      case .assistant: text += message.content + "</s>\n"
      }
    }
    return text
  }

  /// The conversation as tokens, in pieces that say what is answer and what is not.
  ///
  /// Contents are encoded as text: a `</s>` that a user typed is four characters, not the end of the turn.
  /// An answer is encoded by itself, as the model will produce it, after a prompt that has ended.
  package func encode(_ messages: [ChatMessage], with tokenizer: Tokenizer, addGenerationPrompt: Bool)
    -> [TemplatePart]
  {
    let begin = tokenizer.beginToken
    let end = tokenizer.endToken
    let newline = tokenizer.encode("\n", specialTokens: .asText)
    let opening = [end] + newline + [begin] + tokenizer.encode("assistant\n", specialTokens: .asText)
    var parts: [TemplatePart] = []
    for (index, message) in messages.enumerated() {
      func add(_ ids: [Int32], isAnswer: Bool = false) {
        if !ids.isEmpty { parts.append(TemplatePart(ids: ids, messageIndex: index, isAnswer: isAnswer)) }
      }
      switch message.role {
      case .system: if index == 0 { add(tokenizer.encode(message.content, specialTokens: .asText)) }
      case .user: add([begin] + tokenizer.encode("user\n" + message.content, specialTokens: .asText) + opening)
      case .assistant:
        add(tokenizer.encode(message.content, specialTokens: .asText) + [end], isAnswer: true)
        add(newline)
      }
    }
    return parts
  }
}
