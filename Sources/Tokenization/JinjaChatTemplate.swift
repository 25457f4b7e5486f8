import Storage
import Templates

/// A chat template in Jinja with what `transformers` gives it: the one place that prepares a template's variables.
package struct JinjaChatTemplate: Sendable {
  /// The template's text.
  package let source: String
  private let template: Template
  /// The template for conversations with tools, where the tokenizer has one of its own.
  private let toolTemplate: Template?
  /// Names and texts of the tokenizer's tokens, such as `bos_token`.
  private let tokens: [(name: String, text: String)]

  /// - Throws: `TemplateError`.
  init(_ source: String, forTools: String?, tokens: [(name: String, text: String)]) throws(TemplateError) {
    self.source = source
    template = try Template(source)
    if let forTools { toolTemplate = try Template(forTools) } else { toolTemplate = nil }
    self.tokens = tokens
    words = Set(source.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init))
    knowsTools = forTools != nil || words.contains("tools")
    knowsReasoning = Self.reasoningNames.contains { name in
      ["message.\(name)", "['\(name)']", "[\"\(name)\"]", "'\(name)' in", "get('\(name)"].contains(
        where: source.contains)
    }
  }

  /// Whether the template has a place for tools. What it does with them is its own affair.
  package let knowsTools: Bool
  /// Whether the template looks at the reasoning of messages.
  package let knowsReasoning: Bool

  /// The names in the template, of variables and members and in its texts.
  private let words: Set<String>

  /// Whether the template looks at the variable, or has the word in a text.
  package func mentions(_ name: String) -> Bool { words.contains(name) }

  /// Whether the template writes calls of tools as `<tool_call>`, in which they are found in answers.
  package var writesToolCalls: Bool { knowsTools && source.contains("<tool_call>") }

  /// Names under which a message's reasoning is found, the first one being what templates read.
  private static let reasoningNames = ["reasoning_content", "thinking", "reasoning"]
  /// Variables that `transformers` gives every template.
  private static let ownVariables = ["messages", "tools", "documents", "add_generation_prompt"]

  /// The text of a conversation, as `apply_chat_template` of `transformers` 5 renders it: members of messages that are
  /// null are left out, the reasoning is found under each of its names, and `tools` and `documents` are null where there
  /// are none.
  ///
  /// - Parameters:
  ///   - messages: objects with `role` and what else the template reads.
  ///   - tools: null for none.
  ///   - variables: others of the template; they take precedence over the tokenizer's tokens.
  /// - Throws: `TemplateError`.
  package func render(
    _ messages: [JSON], tools: JSON = .null, documents: JSON = .null, addGenerationPrompt: Bool,
    _ variables: [JSON.Member] = []
  ) throws -> RenderedText {
    var values = [
      TemplateVariable(
        "messages", .array(messages.map(Self.prepared)),
        ownTexts: .member("role", oneOf: ChatMessage.Role.allCases.map(\.rawValue))),
      TemplateVariable("tools", tools), TemplateVariable("documents", documents),
      TemplateVariable("add_generation_prompt", .bool(addGenerationPrompt)),
    ]
    values += tokens.map { TemplateVariable($0.name, .string($0.text), ownTexts: .all) }
    values += variables.filter { !Self.ownVariables.contains($0.key) }.map { TemplateVariable($0.key, $0.value) }
    return try (tools.isNull ? template : toolTemplate ?? template).render(values)
  }

  private static func prepared(_ message: JSON) -> JSON {
    guard case .object(var members) = message else { return message }
    members.removeAll { $0.value.isNull }
    let reasoning = reasoningNames.lazy.compactMap { name in members.first { $0.key == name }?.value }.first
    guard let reasoning else { return .object(members) }
    let thinking = members.first { $0.key == "thinking" }?.value ?? reasoning
    members.removeAll { $0.key == "thinking" }
    members.insert(.init("thinking", thinking), at: 0)
    if let place = members.firstIndex(where: { $0.key == "reasoning_content" }) {
      members[place].value = reasoning
    } else {
      members.append(.init("reasoning_content", reasoning))
    }
    return .object(members)
  }
}
