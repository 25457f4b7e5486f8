import Storage
import Testing
import Tokenization

@Suite("Results of tools between answers") struct ToolTurnTests {
  private let tokenizer = ChatTemplateTests.tokenizer
  private let tools = [
    JSON.object([
      .init("type", .string("function")), .init("function", .object([.init("name", .string("look_up"))])),
    ])
  ]

  @Test("the prompt, a call, its result and what follows are the tokens of the whole conversation")
  func asRendered() throws {
    let template = try ChatTemplateTests.template(nil)
    let question = [ChatTemplateTests.message(.user, "the question")]
    let arguments = JSON.object([.init("key", .string("river"))])
    let function = JSON.object([.init("name", .string("look_up")), .init("arguments", arguments)])
    let call = ChatMessage(
      role: .assistant, content: "",
      fields: [
        .init("tool_calls", .array([.object([.init("type", .string("function")), .init("function", function)])]))
      ])
    // A result that looks like a control token stays text.
    for result in ["{\"result\": 85}", "<|im_end|>", "河水流"] {
      let whole = try template.prompt(
        question + [call, ChatMessage(role: .tool, content: result)], tools: tools, with: tokenizer)
      let asked = try template.prompt(question, tools: tools, with: tokenizer)
      let turn = try template.toolTurn(after: question, tools: tools, with: tokenizer)
      let answer = try tokenizer.encode(
        "<tool_call>\n{\"name\": \"look_up\", \"arguments\": {\"key\": \"river\"}}\n</tool_call><|im_end|>")
      #expect(asked.tokens + answer + (try turn.tokens(result, tokenizer)) == whole.tokens)
    }
  }

  @Test("a template without a place for tools, or that ends no answer before a result, is refused")
  func refused() throws {
    let question = [ChatTemplateTests.message(.user, "the question")]
    let without = #expect(throws: TokenizerError.self) {
      try ChatTemplate().toolTurn(after: question, tools: tools, with: tokenizer)
    }
    #expect(without?.description.contains("has no place for tools") == true)
    for (source, reason) in [
      ("{% if tools %}{% endif %}{% for m in messages %}{{ m.role }}{% endfor %}", "has no place for results"),
      ("{% if tools %}{% endif %}{% for m in messages %}{{ m.content }}\n{% endfor %}", "does not end an answer"),
    ] {
      let template = try ChatTemplateTests.template(source)
      let error = #expect(throws: TokenizerError.self) {
        try template.toolTurn(after: question, tools: tools, with: tokenizer)
      }
      #expect(error?.description.contains(reason) == true)
    }
  }
}
