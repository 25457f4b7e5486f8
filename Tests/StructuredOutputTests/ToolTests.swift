import Storage
import StructuredOutput
import Testing

@Suite struct ToolTests {
  static let json = #"""
    [{"type": "function", "function": {"name": "weather", "description": "Of a place", "parameters":
      {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}},
     {"type": "function", "function": {"name": "now"}}]
    """#
  static let tools = try! Tool.list(JSON(parsing: json))

  /// The events of a text that comes in pieces of so many characters, neighbours of a kind joined.
  static func events(_ text: String, pieces: Int) -> [ToolCallParser.Event] {
    var parser = ToolCallParser(tools: tools)
    var rest = text[...]
    var events: [ToolCallParser.Event] = []
    while !rest.isEmpty {
      events += parser.push(String(rest.prefix(pieces)))
      rest = rest.dropFirst(pieces)
    }
    events += parser.finish()
    return events.reduce(into: []) { joined, event in
      switch (joined.last, event) {
      case (.text(let before), .text(let text)): joined[joined.count - 1] = .text(before + text)
      case (.arguments(let call, let before), .arguments(let index, let text)) where call == index:
        joined[joined.count - 1] = .arguments(index: index, before + text)
      default: joined.append(event)
      }
    }
  }

  static let cases: [(String, [ToolCallParser.Event])] = [
    ("no call, a < b 你好", [.text("no call, a < b 你好")]),
    (
      "Let me see.<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"北京 }</tool_call>\\\"\"}}\n</tool_call>\n",
      [
        .text("Let me see."), .call(index: 0, name: "weather"),
        .arguments(index: 0, "{\"city\": \"北京 }</tool_call>\\\"\"}"),
      ]
    ),
    (
      "<tool_call>{\"arguments\":{\"city\":\"Rome\"},\"name\":\"weather\"}</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call> ok",
      [
        .call(index: 0, name: "weather"), .arguments(index: 0, "{\"city\":\"Rome\"}"), .call(index: 1, name: "now"),
        .arguments(index: 1, "{}"), .text("ok"),
      ]
    ),
    (
      #"<tool_call>{"name": "weather", "arguments": "{\"city\": \"Rome\"}", "id": 7}</tool_call>"#,
      [.call(index: 0, name: "weather"), .arguments(index: 0, #"{"city": "Rome"}"#)]
    ),
    ("<tool_call>no JSON</tool_call>", [.text("<tool_call>no JSON</tool_call>")]),
    (#"<tool_call>{"name": "other"}</tool_call>"#, [.text(#"<tool_call>{"name": "other"}</tool_call>"#)]),
    (#"<tool_call>{"city": 3}</tool_call>"#, [.text(#"<tool_call>{"city": 3}</tool_call>"#)]),
    ("<tool_call>{\"na", [.text("<tool_call>{\"na")]), ("<tool_ca", [.text("<tool_ca")]),
    ("<<tool_call><tool_calls", [.text("<<tool_call><tool_calls")]),
    (
      #"<tool_call>{"name": "weather", "arguments": {"city": "Ro"#,
      [.call(index: 0, name: "weather"), .arguments(index: 0, #"{"city": "Ro"#)]
    ),
  ]

  @Test("calls are found however the text is cut", arguments: cases.indices)
  func parsing(index: Int) {
    let (text, expected) = Self.cases[index]
    for pieces in 1...text.count {
      #expect(Self.events(text, pieces: pieces) == expected, "\(text), \(pieces) at a time")
    }
  }

  @Test("text flows at once, and only what may be a tag is held back")
  func holdingBack() {
    var parser = ToolCallParser(tools: Self.tools)
    #expect(parser.push("a <") == [.text("a ")])
    #expect(parser.push("b<tool") == [.text("<b")])
    #expect(parser.push("_call>{\"name\": \"weather\", \"argu") == [.call(index: 0, name: "weather")])
    #expect(parser.push("ments\": {\"city\": \"R") == [.arguments(index: 0, "{\"city\": \"R")])
    #expect(parser.push("ome\"}}") == [.arguments(index: 0, "ome\"}")])
    #expect(parser.push("\n</tool_call>") == [] && parser.finish() == [] && parser.callCount == 1)
  }

  @Test("a required call is one that the parser reads, with arguments by the schema")
  func required() throws {
    let choice = try ToolChoice(.string("required"), tools: Self.tools)
    let constraint = try #require(try choice.constraint(Self.tools, ConstraintTests.vocabulary))
    let call = ToolText.call(name: "weather", arguments: #"{"city": "Rome", "days": 3}"#)
    #expect(ConstraintTests.allows(constraint, call))
    #expect(ConstraintTests.allows(constraint, ToolText.call(name: "now", arguments: "{}")))
    #expect(!ConstraintTests.allows(constraint, ToolText.call(name: "now", arguments: #"{"a": 1}"#)))
    #expect(!ConstraintTests.allows(constraint, ToolText.call(name: "weather", arguments: "{}")))
    #expect(!ConstraintTests.allows(constraint, "Hello"))
    #expect(
      Self.events(call, pieces: 3) == [
        .call(index: 0, name: "weather"), .arguments(index: 0, #"{"city": "Rome", "days": 3}"#),
      ])
    let named = try ToolChoice(JSON(parsing: #"{"type": "function", "function": {"name": "now"}}"#), tools: Self.tools)
    let only = try #require(try named.constraint(Self.tools, ConstraintTests.vocabulary))
    #expect(!ConstraintTests.allows(only, call))
    #expect(ConstraintTests.allows(only, ToolText.call(name: "now", arguments: "{}")))
    #expect(try ToolChoice(nil, tools: Self.tools) == .auto && ToolChoice(nil, tools: []) == .none)
    #expect(try ToolChoice.auto.constraint(Self.tools, ConstraintTests.vocabulary) == nil)
  }

  @Test("with a strict tool text is free and calls are held to the schemas, however they are cut into tokens")
  func strictCalls() throws {
    var tools = Self.tools
    tools[0].isStrict = true
    let right = ToolText.call(name: "weather", arguments: #"{"city": "Rome", "days": 3}"#)
    let wrong = ToolText.call(name: "weather", arguments: #"{"days": "three"}"#)
    // Not strict, so that any object goes.
    let loose = ToolText.call(name: "now", arguments: #"{"zone": ["UTC", 1]}"#)
    let several = try StrictCallConstraint(tools, vocabulary: ConstraintTests.vocabulary, allowsSeveralCalls: true)
    let one = try StrictCallConstraint(tools, vocabulary: ConstraintTests.vocabulary, allowsSeveralCalls: false)
    for bytewise in [false, true] {
      func allows(_ constraint: StrictCallConstraint, _ text: String) -> Bool {
        ConstraintTests.allows(constraint, text, bytewise: bytewise)
      }
      for constraint in [several, one] {
        #expect(allows(constraint, "no call, a < b > c 你好 <tool_ca <<tool"))
        #expect(allows(constraint, "Let me see.<<tool_cal" + right))
        #expect(allows(constraint, right) && allows(constraint, loose))
        #expect(!allows(constraint, wrong) && !allows(constraint, "text " + wrong))
        #expect(!allows(constraint, "<tool_call>no JSON"))
        #expect(!allows(constraint, #"<tool_call>\#n{"name": "other", "arguments": {}}"#))
        // Within a call the text may not end.
        #expect(!allows(constraint, "<tool_call>"))
      }
      #expect(allows(several, right + "\n" + loose + " done") && !allows(several, right + wrong))
      #expect(!allows(one, right + "\n"))
    }
  }

  @Test("an answer of one call ends behind it", arguments: cases.indices)
  func oneCall(index: Int) throws {
    var constraint = OneCallConstraint(Self.tools, vocabulary: ConstraintTests.vocabulary)
    let end = ConstraintTests.tokenizer.endToken
    var text: [UInt8] = []
    for token in try ConstraintTests.tokenizer.encode(Self.cases[index].0, specialTokens: .asText) {
      guard constraint.allowedTokens().contains(token) else { break }
      #expect(constraint.allowedTokens().contains(end))
      constraint.accept(token)
      text += ConstraintTests.tokenizer.bytes(of: token)
    }
    // Up to its first whole call, and no longer, the text is what it would be.
    let expected = Self.cases[index].1.prefix {
      if case .call(let index, _) = $0 { index == 0 } else { true }
    }
    #expect(Self.events(String(decoding: text, as: UTF8.self), pieces: 1) == Array(expected))
  }

  @Test("wrong tools and choices are refused with their place")
  func refusals() throws {
    func reason(_ body: () throws -> Void) -> String {
      do { try body() } catch { return "\(error)" }
      return ""
    }
    #expect(reason { _ = try Tool.list(.string("x")) } == "tools: it must be an array.")
    #expect(
      reason { _ = try Tool.list(JSON(parsing: #"[{"type": "function", "function": {"name": "a b"}}]"#)) }
        == "tools[0]: function.name must be 1 to 64 letters, digits, \"_\" and \"-\".")
    #expect(
      reason { _ = try Tool.list(JSON(parsing: #"[{"type": "function", "function": {"name": "a", "strict": 1}}]"#)) }
        == "tools[0]: function.strict must be true or false.")
    #expect(
      reason {
        let tools = try Tool.list(
          JSON(
            parsing: #"""
              [{"type": "function", "function": {"name": "a", "strict": true, "parameters": {"type": "object", "properties":
                {"b": {"type": "string", "pattern": "(?=x)"}}}}}]
              """#))
        _ = try StrictCallConstraint(tools, vocabulary: ConstraintTests.vocabulary, allowsSeveralCalls: true)
      }.hasPrefix("tools[0].function.parameters"))
    #expect(
      reason {
        _ = try ToolChoice(JSON(parsing: #"{"type": "function", "function": {"name": "x"}}"#), tools: Self.tools)
      }
        == "tool_choice: there is no function \"x\" among the tools.")
    #expect(
      reason { _ = try ToolChoice(.string("required"), tools: []) }
        == "tool_choice: a call is required, but there are no tools.")
    #expect(reason { _ = try ToolChoice(.string("any"), tools: Self.tools) }.hasPrefix("tool_choice: it must be"))
    let odd = try Tool.list(
      JSON(
        parsing:
          #"[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "dependencies": {}}}}]"#))
    #expect(
      reason { _ = try ToolChoice.required.constraint(odd, ConstraintTests.vocabulary) }
        == "tools[0].function.parameters#: the keyword \"dependencies\" is not supported.")
  }

  @Test("the instructions name every tool as OpenAI's API has it")
  func instructions() throws {
    let text = ToolText.instructions(Self.tools)
    let lines = text.split(separator: "\n")
    #expect(try JSON(parsing: String(lines[2]))["function"]?["name"] == .string("weather"))
    #expect(try JSON(parsing: String(lines[3]))["type"] == .string("function"))
    #expect(text.contains("<tool_call>"))
  }
}
