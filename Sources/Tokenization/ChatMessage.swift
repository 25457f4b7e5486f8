import Storage

/// One turn of a conversation.
package struct ChatMessage: Sendable, Equatable {
  package enum Role: String, Sendable, Equatable, CaseIterable {
    case system, developer, user, assistant, tool

    /// Whether the message tells the model how to answer, instead of being part of the talk.
    package var isInstruction: Bool { self == .system || self == .developer }
  }

  package var role: Role
  package var content: String
  /// What the model thought before its answer; nil where the message does not say.
  package var reasoning: String?
  /// Other members that a template may look at: `tool_calls` of an assistant, `tool_call_id` and `name` of a tool.
  package var fields: [JSON.Member] = []

  package init(role: Role, content: String, reasoning: String? = nil, fields: [JSON.Member] = []) {
    self.role = role
    self.content = content
    self.reasoning = reasoning
    self.fields = fields
  }

  /// Whether the message calls tools.
  package var callsTools: Bool { fields.contains { $0.key == "tool_calls" } }

  /// The message as templates know it.
  package var json: JSON {
    .object(
      [.init("role", .string(role.rawValue)), .init("content", .string(content))]
        + (reasoning.map { [.init("reasoning_content", .string($0))] } ?? []) + fields)
  }
}

/// Calls of tools in the form of OpenAI's API, which templates expect:
/// `{"type": "function", "function": {"name": …, "arguments": {…}}}`.
package enum ToolCalls {
  /// Takes calls with and without the outer object, and arguments written as JSON in a text, as they come from an API.
  ///
  /// - Returns: nil where `json` is no list of calls.
  package static func normalized(_ json: JSON) -> JSON? {
    guard let calls = json.arrayValue else { return nil }
    var result: [JSON] = []
    for call in calls {
      let function = call["function"] ?? call
      guard let name = function["name"]?.stringValue else { return nil }
      var arguments = function["arguments"] ?? function["parameters"] ?? .object([])
      if let text = arguments.stringValue, let parsed = try? JSON(parsing: text), case .object = parsed {
        arguments = parsed
      }
      let id = call["id"].flatMap { $0.isNull ? nil : [JSON.Member("id", $0)] } ?? []
      result.append(
        .object(
          id + [
            .init("type", .string("function")),
            .init("function", .object([.init("name", .string(name)), .init("arguments", arguments)])),
          ]))
    }
    return .array(result)
  }
}
