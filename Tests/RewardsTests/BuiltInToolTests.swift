import Rewards
import Storage
import Testing
import Tokenization

@Suite("Tools that the program runs") struct BuiltInToolTests {
  private func said(_ tool: BuiltInTool, _ arguments: String, table: [JSON.Member] = []) throws -> JSON {
    tool.run(try JSON(parsing: arguments), table: table)
  }

  @Test(
    "expressions are computed as in school",
    arguments: [
      ("2 + 3 * (4 - 1)", "11"), ("7/2", "3.5"), ("-(3) - -4", "1"), ("12 × 12 ÷ 6", "24"), ("0.1*30", "3"),
      ("8 / 4 / 2", "1"), ("99999999999999999999", "99999999999999999999"),
    ])
  func arithmetic(_ expression: String, _ result: String) throws {
    let said = try said(.calculate, "{\"expression\": \"\(expression)\"}")
    #expect(said["result"]?.doubleValue == Double(result), "\(said.compactText)")
  }

  @Test(
    "hostile arguments are answered in a sentence",
    arguments: [
      (BuiltInTool.calculate, #"{"expression": "1/0"}"#, "divided by 0"),
      (.calculate, #"{"expression": "2**3"}"#, "at \"*\""),
      (.calculate, #"{"expression": "system('ls')"}"#, "at \"s\""),
      (.calculate, #"{"expression": ""}"#, "ends too early"),
      (.calculate, #"{"expression": "(1"}"#, "ends too early"),
      (.calculate, #"{"expression": "1.2.3"}"#, "ends too early"),
      (.calculate, "{}", "needs a text \"expression\""), (.calculate, #"{"expression": 7}"#, "needs a text"),
      (.calculate, "{\"expression\": \"\(String(repeating: "(", count: 100))\"}", "20 parentheses"),
      (.calculate, "{\"expression\": \"\(String(repeating: "-", count: 100))1\"}", "20 parentheses"),
      (.calculate, "{\"expression\": \"\(String(repeating: "9", count: 300))\"}", "longer than 200 bytes"),
      (
        .calculate, "{\"expression\": \"\(String(repeating: "9", count: 99))*\(String(repeating: "9*", count: 1))1\"}",
        ""
      ),
      (.convert, #"{"value": 3, "from": "km", "to": "litres"}"#, "how many litres are in km"),
      (.convert, #"{"value": "3", "from": "km", "to": "m"}"#, "needs a number"),
      (.addDays, #"{"date": "2023-02-29", "days": 1}"#, "as 2024-02-29"),
      (.addDays, #"{"date": "x", "days": 1}"#, "as 2024-02-29"),
      (.addDays, #"{"date": "2024-02-29", "days": 99999999999}"#, "at most 100000"),
      (.addDays, #"{"date": "9999-12-31", "days": 1}"#, "years 1 to 9999"),
      (.lookUp, #"{"key": "nobody"}"#, "no entry \"nobody\""),
    ])
  func hostile(_ tool: BuiltInTool, _ arguments: String, _ reason: String) throws {
    let said = try said(tool, arguments)
    guard !reason.isEmpty else { return #expect(said["result"] != nil) }
    let sentence = try #require(said["error"]?.stringValue)
    #expect(sentence.contains(reason) && sentence.hasSuffix(".") && sentence.utf8.count < 200, "\(sentence)")
  }

  @Test("units, days and tables")
  func values() throws {
    #expect(try said(.convert, #"{"value": 3, "from": "km", "to": "m"}"#)["result"]?.integerValue == 3000)
    #expect(try said(.convert, #"{"value": 90, "from": "minutes", "to": "hours"}"#)["result"]?.doubleValue == 1.5)
    #expect(try said(.addDays, #"{"date": "2024-02-28", "days": 2}"#)["result"]?.stringValue == "2024-03-01")
    #expect(try said(.addDays, #"{"date": "2000-01-01", "days": -1}"#)["result"]?.stringValue == "1999-12-31")
    let table = [JSON.Member("Anna", .integer(7))]
    #expect(try said(.lookUp, #"{"key": "Anna"}"#, table: table)["result"]?.integerValue == 7)
  }

  @Test("an answer's calls are run, each with a line; what is no call is said")
  func session() throws {
    let row = """
      {"messages": [{"role": "user", "content": "q"}], "turns": 2, "tools": [\(BuiltInTool.lookUp.json.compactText)], \
      "table": {"Anna": 7}, "check": {"kind": "number", "value": 7}}
      """
    let task = try VerifiableTask(JSON(parsing: row))
    #expect(ToolSession(task, nil) == nil)
    let session = try #require(ToolSession(task, ToolTurn(before: "", after: "")))
    func call(_ name: String) -> String {
      "<tool_call>{\"name\": \"\(name)\", \"arguments\": {\"key\": \"Anna\"}}</tool_call>"
    }
    #expect(session.turns == 2 && session.result(of: "7") == nil)
    #expect(session.result(of: call("look_up") + "\n" + call("look_up")) == "{\"result\":7}\n{\"result\":7}")
    #expect(session.result(of: call("calculate"))?.contains("no tool \\\"calculate\\\"; there are look_up.") == true)
    #expect(session.result(of: "<tool_call>{")?.contains("between <tool_call>") == true)
    #expect(session.result(of: String(repeating: call("look_up"), count: 9))?.contains("at most 8") == true)
  }

  @Test(
    "a task with turns that cannot be run is refused",
    arguments: [
      (#""turns": 0"#, "\"turns\" is no whole number from 1 to 8"), (#""turns": 9"#, "from 1 to 8"),
      (#""turns": 2"#, "no \"tools\" to call"), (#""turns": 2, "tools": [{"function": {"name": "rm"}}]"#, "cannot run"),
      (#""table": []"#, "\"table\" is no object"),
    ])
  func refused(_ members: String, _ reason: String) throws {
    let row = try JSON(
      parsing:
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}], \(members), \"check\": {\"kind\": \"number\", \"value\": 1}}"
    )
    let error = #expect(throws: TaskProblem.self) { try VerifiableTask(row) }
    #expect(error?.description.contains(reason) == true)
  }
}
