import Rewards
import Storage
import Testing

@Suite struct AnswerCheckTests {
  private func check(_ text: String) throws -> AnswerCheck { try AnswerCheck(try JSON(parsing: text)) }

  @Test(
    "the number of an answer is the marked one, else the last",
    arguments: [
      ("47 + 38 = 85", 85), ("It is 85.", 85), ("85 apples, no: 7", 7), ("#### 12\nand 5", 12), ("\\boxed{-3} 4", -3),
      ("1,234,567", 1_234_567), ("3,12,45", 45), ("5-3", 3), ("x = -3", -3), ("x = \u{2212}3.5", -3.5), ("0.25。", 0.25),
      ("1.2.3", 2.3), ("#### 8 #### 9", 9), ("\\boxed{1} #### 2", 2), ("共 85 个", 85), ("-0", 0),
    ])
  func number(_ text: String, _ value: Double) { #expect(FinalAnswer.number(in: text) == value, "\(text)") }

  @Test("an answer without digits has no number") func noNumber() {
    #expect(FinalAnswer.number(in: "none") == nil && FinalAnswer.number(in: "") == nil)
    #expect(FinalAnswer.number(in: "5 #### none") == nil)
  }

  @Test(
    "each kind of check takes what is right and nothing else",
    arguments: [
      (#"{"kind": "number", "value": 85}"#, ["47 + 38 = 85"], ["85 - 1", "", "eighty-five"]),
      (
        #"{"kind": "text", "accepted": ["3, 7", "3 7"]}"#, [" 3,  7. ", "so #### 3 7"], ["3, 7, 9", "the answer: 3, 7"]
      ),
      (#"{"kind": "pattern", "pattern": "^yes\\b"}"#, ["yes.", "well:\nyes it is"], ["yesterday", "no, yes"]),
      (
        #"{"kind": "json", "schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}"#,
        [#"{"a": 1}"#, "```json\n{\"a\": 2}\n```"], [#"{"a": "1"}"#, "{}", "a", #"{"a": 1} and more"#]
      ),
      (#"{"kind": "json", "value": {"a": 1, "b": 2}}"#, [#"{"b": 2, "a": 1.0}"#], [#"{"a": 1}"#]),
      (
        #"{"kind": "calls", "calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}"#,
        [#"<tool_call>{"name": "add", "arguments": {"b": 2, "a": 1}}</tool_call>"#],
        [
          #"<tool_call>{"name": "add", "arguments": {"b": 2}}</tool_call>"#, "3",
          #"<tool_call>{"name": "add", "arguments": {"b": 2, "a": 1}}"#,
        ]
      ),
    ])
  func kinds(_ text: String, right: [String], wrong: [String]) throws {
    let check = try check(text)
    for answer in right { #expect(check.isMet(by: answer), "\(answer)") }
    for answer in wrong { #expect(!check.isMet(by: answer), "\(answer)") }
    #expect(try AnswerCheck(check.json) == check)
  }

  @Test(
    "a check that is none is refused with what it lacks",
    arguments: [
      (#"{"kind": "number", "value": "5"}"#, "no \"value\" that is one"), (#"{"kind": "sum"}"#, "the kind \"sum\""),
      (#"{}"#, "no \"kind\""), (#"{"kind": "text", "accepted": []}"#, "no list \"accepted\""),
      (#"{"kind": "pattern", "pattern": "("}"#, "no regular expression"),
      (#"{"kind": "json", "schema": {"type": "x"}}"#, "a schema that is refused"),
      (#"{"kind": "calls", "calls": [{"name": "f", "arguments": 3}]}"#, "no list \"calls\""),
    ])
  func refused(_ text: String, _ part: String) throws {
    let error = try #require(throws: TaskProblem.self) { try check(text) }
    #expect(error.description.contains(part), "\(error.description)")
  }

  @Test("a pattern that would go on for ever does not match") func slowPattern() throws {
    let pattern = try TextPattern("^(a+)+$")
    #expect(!pattern.matches(String(repeating: "a", count: 40) + "b"))
    #expect(pattern.matches("aaa"))
  }
}
