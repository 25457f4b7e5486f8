import Foundation
import Storage
import TestSupport
import Testing
import Tokenization

import Corpus

/// Rows for a chat template that has tools and thinking.
struct TemplateRowTests {
  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 330, threads: 1, layout: .miniMind3)
    try! trainer.add(document: "the answer to the question of the user")
    return try! trainer.train()
  }()

  static let template: ChatTemplate = try! withTemporaryDirectory { directory in
    try tokenizer.save(to: directory)
    return try ChatTemplate(tokenizerDirectory: directory)
  }

  static func prepare(
    _ rows: String, _ configure: (inout ConversationFilters) -> Void = { $0.maximumTokens = 2048 }
  ) throws -> PreparedData {
    var filters = ConversationFilters()
    configure(&filters)
    return try prepared(rows, task: .sft(filters, template)) {
      $0.heldOutFraction = 0
      $0.tokenizer = tokenizer
    }
  }

  /// minimind-3's published layout: tools and calls as JSON in texts.
  static let row =
    #"{"conversations": [{"role": "system", "content": "S", "tools": "[{\"type\": \"function\"}]"}, "#
    + #"{"role": "user", "content": "Q<|im_end|>"}, "#
    + #"{"role": "assistant", "content": "", "tool_calls": "[{\"name\": \"f\", \"arguments\": {\"n\": 1.0}}]"}, "#
    + #"{"role": "tool", "content": "R"}, {"role": "assistant", "content": "A", "reasoning_content": "T"}]}"# + "\n"

  @Test("a row of minimind-3 is learned with its tools, calls, results and thoughts")
  func published() throws {
    let data = try Self.prepare(Self.row)
    let text = try #require(data.marked.first)
    #expect(text.contains("<|im_start|>system\nS\n\n# Tools") && text.contains("{\"type\": \"function\"}\n</tools>"))
    #expect(
      text.hasSuffix(
        "Q<|im_end|><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
          + "[<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1.0}}\n</tool_call><|im_end|>\n]<|im_start|>user\n"
          + "<tool_response>\nR\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n[T\n</think>\n\nA<|im_end|>\n]"
      ),
      "\(text)")
    #expect(data.manifest.unusedFields?.isEmpty ?? true)
  }

  @Test("other spellings of tools are the same row, and broken ones are refused by name")
  func spellings() throws {
    let other =
      #"{"tools": [{"type": "function"}], "conversations": [{"from": "system", "value": "S"}, "#
      + #"{"from": "human", "value": "Q<|im_end|>"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"n\": 1.0}}"}, "#
      + #"{"from": "observation", "value": "R"}, {"from": "gpt", "value": "A", "thinking": "T"}]}"# + "\n"
    #expect(try Self.prepare(other).marked == Self.prepare(Self.row).marked)
    for (from, to, reason) in [
      (#""[{\"type\": \"function\"}]""#, #""[{""#, "\"tools\" of message 1: broken JSON"),
      (#"{\"name\": \"f\", "#, "{", "\"tool_calls\" of message 3 is no list of calls"),
      (#"{"role": "tool", "content": "R"}, "#, "", "message 4 is of the assistant, the tool or the user is expected"),
    ] {
      #expect(failure { try Self.prepare(Self.row.replacingOccurrences(of: from, with: to)) }.contains(reason))
    }
  }

  @Test("shares of conversations get a system message, or lose empty thoughts, the same ones on every run")
  func augmentations() throws {
    let rows = (0..<200).map { jsonRow(["q": "question \($0)", "a": "answer"]) }.joined()
    func prepare(_ system: Double, _ thinking: Double) throws -> PreparedData {
      try Self.prepare(rows) { ($0.systemPromptShare, $0.emptyThinkingRemovalShare) = (system, thinking) }
    }
    let plain = try prepare(0, 0)
    #expect(plain.marked.allSatisfy { $0.hasPrefix("<|im_start|>user") && $0.contains("<think>") })
    let data = try prepare(0.2, 0.8)
    let systems = data.marked.count { $0.hasPrefix("<|im_start|>system") }
    let thoughtless = data.marked.count { !$0.contains("<think>") }
    #expect((20...60).contains(systems) && (140...180).contains(thoughtless))
    #expect(data.manifest.rowsChanged == ["system-added": systems, "empty-thinking-removed": thoughtless])
    #expect(try prepare(0.2, 0.8).marked == data.marked)
    #expect(try prepare(1, 1).marked.allSatisfy { $0.contains("system") && !$0.contains("<think>") })
  }

  /// Shows thoughts after the last question alone, as Qwen 3's template does.
  static let forgetful =
    "{% if tools %}{{ tools }}{% endif %}{% set last = namespace(user=0) %}{% for message in messages %}{% if message.role == 'user' %}"
    + "{% set last.user = loop.index0 %}{% endif %}{% endfor %}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    + "{% if message.reasoning_content and loop.index0 > last.user %}{{ message.reasoning_content }}{% endif %}"
    + "{{ message.content }}{% if message.tool_calls %}call{% endif %}<|im_end|>\n{% endfor %}"
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  @Test("answers whose own document does not fit are left out and counted")
  func answersLeftOut() throws {
    let template = try withTemporaryDirectory { directory in
      try Self.tokenizer.save(to: directory)
      try Self.forgetful.write(toFile: directory + "/chat_template.jinja", atomically: true, encoding: .utf8)
      return try ChatTemplate(tokenizerDirectory: directory)
    }
    let row =
      #"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "reasoning_content": "#
      + "\"\(String(repeating: "T", count: 200))\", "
      + #""tool_calls": [{"name": "f", "arguments": {}}]}, {"role": "tool", "content": "R"}, "#
      + #"{"role": "assistant", "content": "A"}, {"role": "user", "content": "Q2"}, {"role": "assistant", "content": "A2"}]}"#
      + "\n"
    func prepare(maximumTokens: Int) throws -> PreparedData {
      var filters = ConversationFilters()
      filters.maximumTokens = maximumTokens
      return try prepared(row, task: .sft(filters, template)) {
        $0.heldOutFraction = 0
        $0.tokenizer = Self.tokenizer
      }
    }
    let whole = try prepare(maximumTokens: 2048)
    try #require(whole.marked.count == 2, "\(whole.marked)")
    #expect(whole.manifest.rowsChanged == ["answers-apart": 1])
    let cut = try prepare(maximumTokens: 150)
    #expect(cut.marked == [whole.marked[1]])
    #expect(cut.manifest.rowsChanged == ["answers-left-out": 1])
  }

  @Test("pairs with tools and thoughts differ in what is learned alone")
  func pairs() throws {
    let chosen = #"{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "reasoning_content": "T"}"#
    let row =
      #"{"tools": [{"a": 1}], "chosen": [\#(chosen)], "rejected": [{"role": "user", "content": "Q"}, "#
      + #"{"role": "assistant", "content": "B"}]}"# + "\n"
    let data = try prepared(row, task: .dpo(maximumTokens: 2048, Self.template)) {
      $0.heldOutFraction = 0
      $0.tokenizer = Self.tokenizer
    }
    #expect(data.marked[0].hasSuffix("<think>\n[T\n</think>\n\nA<|im_end|>\n]"), "\(data.marked)")
    #expect(data.marked[1].hasSuffix("<think>\n\n</think>\n\n[B<|im_end|>\n]"))
    #expect(data.marked.allSatisfy { $0.contains("# Tools") })
  }
}
