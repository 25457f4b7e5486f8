import Storage
import Tokenization

/// Tools, calls of them and what they returned, for a chat template that has a place for them.
extension RowReader {
  /// The tools in a field of the row; none where there is no such field, or no use for it.
  func rowTools() throws(RowProblem) -> [JSON] {
    guard keepsTools, let index = fields.value(of: FieldNames.tools), let value = fields.json(index), !value.isEmpty
    else {
      return []
    }
    fields.use(index)
    return try tools(value, "\"tools\"")
  }

  /// A list of tools, which may be written as JSON in a text.
  ///
  /// - Parameter place: where it stands, for messages.
  func tools(_ value: RowJSON, _ place: String) throws(RowProblem) -> [JSON] {
    let json = try Self.written(value, place)
    guard case .array(let tools) = json, tools.allSatisfy({ if case .object = $0 { true } else { false } }) else {
      throw RowProblem("\(place) is no list of objects")
    }
    return tools
  }

  /// A message of a tool or of the developer, or one that calls tools.
  ///
  /// - Parameters:
  ///   - role: in lower case.
  ///   - calls: the member `tool_calls`, or `function_call` of older rows.
  func toolMessage(
    _ role: String, _ content: String?, _ calls: RowJSON?, fields: [JSON.Member], number: Int
  ) throws(RowProblem) -> ChatMessage {
    // ShareGPT's turns of a call have it as JSON in their text.
    let isCall = role == "tool_call" || role == "function_call"
    if calls == nil, !isCall {
      guard let content else { throw RowProblem("message \(number) has no \"content\" (or \"value\") with a text") }
      guard role != "developer" else { return ChatMessage(role: .developer, content: content) }
      return ChatMessage(role: .tool, content: content, fields: fields)
    }
    guard isCall || ["assistant", "gpt", "model", "bot", "chatgpt"].contains(role) else {
      throw RowProblem("message \(number) is of \"\(role.prefix(40))\" and calls tools, which only an answer does")
    }
    let place = "\"tool_calls\" of message \(number)"
    var json: JSON
    if let calls {
      json = try Self.written(calls, place)
    } else {
      do { json = try JSON(parsing: content ?? "") } catch {
        throw RowProblem("\(place): broken JSON: \(error.reason)")
      }
    }
    if case .object = json { json = .array([json]) }
    guard let normalized = ToolCalls.normalized(json), normalized != .array([]) else {
      throw RowProblem("\(place) is no list of calls with a name and arguments")
    }
    return ChatMessage(
      role: .assistant, content: calls == nil ? "" : content ?? "", fields: [.init("tool_calls", normalized)])
  }

  /// A value, or the one that its text spells as JSON.
  private static func written(_ value: RowJSON, _ place: String) throws(RowProblem) -> JSON {
    guard let text = value.string else { return value.json }
    do { return try JSON(parsing: text) } catch { throw RowProblem("\(place): broken JSON: \(error.reason)") }
  }
}
