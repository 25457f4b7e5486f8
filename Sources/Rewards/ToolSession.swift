import Storage
import Tokenization

/// The tools that are run while a task is answered.
package struct ToolSession: Sendable, Equatable {
  /// How often the model may call tools before its last answer.
  package let turns: Int
  package let turn: ToolTurn
  private let tools: [BuiltInTool]
  private let table: [JSON.Member]

  /// Calls in one answer; more would only be there to fill the context.
  private static let mostCalls = 8

  /// - Parameter turn: of the template that the task is asked by.
  /// - Returns: nil for a task whose tools are not run.
  package init?(_ task: VerifiableTask, _ turn: ToolTurn?) {
    guard task.turns > 0, let turn else { return nil }
    turns = task.turns
    self.turn = turn
    tools = BuiltInTool.allCases.filter { tool in
      task.tools.contains { $0["function"]?["name"]?.stringValue == tool.rawValue }
    }
    table = task.table
  }

  /// What the tools say to an answer, a line for each call; nil where it calls none.
  package func result(of answer: String) -> String? {
    guard let calls = ToolCall.calls(in: answer) else {
      return Self.error("a call must be a JSON object with a name and arguments between <tool_call> and </tool_call>.")
    }
    guard !calls.isEmpty else { return nil }
    guard calls.count <= Self.mostCalls else {
      return Self.error("an answer may call at most \(Self.mostCalls) tools.")
    }
    return calls.map { call in
      guard let tool = tools.first(where: { $0.rawValue == call.name }) else {
        let names = tools.map(\.rawValue).joined(separator: ", ")
        return Self.error("there is no tool \"\(call.name.prefix(40))\"; there are \(names).")
      }
      return tool.run(call.arguments, table: table).compactText
    }.joined(separator: "\n")
  }

  private static func error(_ sentence: String) -> String {
    JSON.object([.init("error", .string(sentence))]).compactText
  }
}

extension VerifiableTask {
  /// How its tools are run, where it is asked by a template.
  ///
  /// - Returns: nil for a task whose tools are not run.
  /// - Throws: what the template has no place for.
  package func session(_ template: ChatTemplate, _ tokenizer: Tokenizer) throws -> ToolSession? {
    guard turns > 0 else { return nil }
    return ToolSession(self, try template.toolTurn(after: messages, tools: tools, with: tokenizer))
  }
}
