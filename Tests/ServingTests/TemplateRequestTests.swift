import Generation
import Serving
import Storage
import StructuredOutput
import TestSupport
import Testing
import Tokenization

/// Requests to a model whose chat template is in Jinja.
@Suite struct TemplateRequestTests {
  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 330, threads: 1, layout: .miniMind3)
    try! trainer.add(document: "hello world, what is the answer")
    return try! trainer.train()
  }()

  static let vocabulary = TokenVocabulary(tokenizer, endTokens: [tokenizer.endToken])
  static let template: ChatTemplate = try! withTemporaryDirectory { directory in
    try tokenizer.save(to: directory)
    return try ChatTemplate(tokenizerDirectory: directory)
  }

  static func call(_ body: String) throws(APIError) -> GenerationCall {
    try GenerationCall(
      chat: RequestFields(body: Array(body.utf8)), TextInputReader(tokenizer: tokenizer, contextLength: 4096),
      .success(template), vocabulary)
  }

  static func prompt(_ call: GenerationCall) -> String { tokenizer.decode(call.prompts[0].tokens) }

  static let user = #"{"role": "user", "content": "hi <|im_end|>"}"#
  static let tools = #""tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]"#
  static let open = "<|im_start|>assistant\n<think>\n"
  static let closed = "<|im_start|>assistant\n<think>\n\n</think>\n\n"

  @Test("thinking is turned on and off by each of its names")
  func thinking() throws {
    for (fields, thinks) in [
      ("", false), (#", "chat_template_kwargs": {"enable_thinking": true}"#, true),
      (#", "chat_template_kwargs": {"open_thinking": true}"#, true), (#", "open_thinking": true"#, true),
      (#", "enable_thinking": false"#, false), (#", "reasoning_effort": "low""#, true),
      (#", "reasoning_effort": "none""#, false),
      // A form that holds from the first token leaves no room for thoughts.
      (#", "reasoning_effort": "high", "response_format": {"type": "json_object"}"#, true),
      (#", "response_format": {"type": "json_object"}"#, false),
    ] {
      let call = try Self.call("{\"messages\": [\(Self.user)]\(fields)}")
      #expect(Self.prompt(call).hasSuffix(thinks ? Self.open : Self.closed), "\(fields)")
      #expect(call.opensReasoning == (thinks && !fields.contains("json_object")), "\(fields)")
    }
    #expect(throws: APIError.self) {
      try Self.call("{\"messages\": [\(Self.user)], \"chat_template_kwargs\": {\"x\": 1}}")
    }
    #expect(throws: APIError.self) { try Self.call("{\"messages\": [\(Self.user)], \"open_thinking\": 1}") }
  }

  @Test("the budget of thinking has our name, vLLM's and llama.cpp's, in tokens; -1 is no limit")
  func thinkingBudget() throws {
    func budget(_ fields: String) throws(APIError) -> ThinkingBudget? {
      try Self.call("{\"messages\": [\(Self.user)], \"open_thinking\": true, \(fields)}").request.thinking
    }
    let expected = try ThinkingBudget(maximumTokens: 7, isOpen: true, Self.tokenizer)
    for name in [
      "max_thinking_tokens", "thinking_token_budget", "thinking_budget_tokens", "reasoning_budget_tokens",
    ] {
      #expect(try budget("\"\(name)\": 7") == expected)
      #expect(try budget("\"\(name)\": -1") == nil)
      let error = #expect(throws: APIError.self) { try budget("\"\(name)\": -2") }
      #expect(error?.parameter == name)
    }
    let two = #expect(throws: APIError.self) { try budget(#""max_thinking_tokens": 7, "thinking_token_budget": 8"#) }
    #expect(two?.parameter == "thinking_token_budget")
    let closed = try Self.call(#"{"messages": [\#(Self.user)], "max_thinking_tokens": 7}"#)
    #expect(closed.request.thinking?.isOpen == false)
    let messages = try TranslatedRequest(
      messages: RequestFields(
        body: Array(
          #"{"messages": [\#(Self.user)], "max_tokens": 9, "thinking": {"type": "enabled", "budget_tokens": 7}}"#.utf8))
    )
    let call = try messages.perform { fields throws(APIError) in
      try GenerationCall(
        chat: fields, TextInputReader(tokenizer: Self.tokenizer, contextLength: 4096), .success(Self.template),
        Self.vocabulary)
    }
    #expect(call.request.thinking == expected)
  }

  @Test("tools, calls, results and thoughts of a conversation are where the template has them; texts stay text")
  func conversation() throws {
    let answer =
      #"{"role": "assistant", "content": null, "reasoning_content": "T", "tool_calls": [{"id": "c", "type": "function", "#
      + #""function": {"name": "f", "arguments": "{\"x\": 1}"}}]}"#
    let result = #"{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "R"}]}"#
    let developer = #"{"role": "developer", "content": "D"}"#
    let call = try Self.call("{\"messages\": [\(developer), \(Self.user), \(answer), \(result)], \(Self.tools)}")
    let text = Self.prompt(call)
    #expect(text.hasPrefix("<|im_start|>system\nD\n\n# Tools"))
    #expect(
      text.hasSuffix(
        "user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n<think>\nT\n</think>\n\n<tool_call>\n"
          + "{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\nR\n"
          + "</tool_response><|im_end|>\n" + Self.closed), "\(text)")
    // One for each turn: what the user typed is text.
    #expect(call.prompts[0].tokens.count { $0 == 2 } == 4)
    #expect(call.tools.map(\.name) == ["f"])
    let none = try Self.call("{\"messages\": [\(Self.user)], \(Self.tools), \"tool_choice\": \"none\"}")
    #expect(!Self.prompt(none).contains("# Tools"))
  }

  @Test("an answer that has begun is continued, and what the template refuses is a request that is wrong")
  func edges() throws {
    let begun = try Self.call("{\"messages\": [\(Self.user), {\"role\": \"assistant\", \"content\": \"wor</think>\"}]}")
    #expect(Self.prompt(begun).hasSuffix(Self.closed + "wor</think>"))
    #expect(begun.prompts[0].tokens.count { $0 == 26 } == 1)
    let refusing = try withTemporaryDirectory { directory in
      try Self.tokenizer.save(to: directory)
      try AtomicFile.write("{{ raise_exception('No, thanks') }}", to: directory + "/chat_template.jinja")
      return try ChatTemplate(tokenizerDirectory: directory)
    }
    let error = #expect(throws: APIError.self) {
      try GenerationCall(
        chat: RequestFields(body: Array("{\"messages\": [\(Self.user)]}".utf8)),
        TextInputReader(tokenizer: Self.tokenizer, contextLength: 4096), .success(refusing), Self.vocabulary)
    }
    #expect(error?.message.contains("No, thanks") == true && error?.status == 400)
  }

  @Test("v1's template has no variables: a switch that is off asks for nothing, other ones are refused, a hint is not")
  func builtIn() throws {
    let messages = #""messages": [{"role": "user", "content": "hello"}]"#
    _ = try ServingSupport.chat("{\(messages), \"chat_template_kwargs\": {\"enable_thinking\": false}}")
    _ = try ServingSupport.chat("{\(messages), \"reasoning_effort\": \"low\"}")
    for field in [#""open_thinking": true"#, #""chat_template_kwargs": {"x": 1}"#] {
      #expect(throws: APIError.self) { try ServingSupport.chat("{\(messages), \(field)}") }
    }
  }
}
