import Foundation
import Storage
import StructuredOutput

/// What makes an answer right: the member `check` of a task.
///
///     {"kind": "number", "value": 85}                       the last number, or that after #### or in \boxed{}
///     {"kind": "text", "accepted": ["3, 7, 12"]}            the whole answer, or what is after #### or in \boxed{}
///     {"kind": "pattern", "pattern": "^yes"}                a regular expression (PCRE2) that matches somewhere
///     {"kind": "json", "schema": {…}, "value": {…}}         JSON that meets the schema, and is the value; either may be missing
///     {"kind": "calls", "calls": [{"name": …, "arguments": {…}}]}   these calls of tools, in this order, and no others
///
/// Reasoning in `<think>` does not count as answer.
package enum AnswerCheck: Sendable, Equatable {
  case number(Double)
  case text([String])
  case pattern(TextPattern)
  case json(schema: JSON?, value: JSON?)
  case calls([ToolCall])

  package var kind: String {
    switch self {
    case .number: "number"
    case .text: "text"
    case .pattern: "pattern"
    case .json: "json"
    case .calls: "calls"
    }
  }

  package static let kinds = ["number", "text", "pattern", "json", "calls"]

  package init(_ json: JSON) throws(TaskProblem) {
    func problem(_ reason: String) -> TaskProblem { TaskProblem("its check \(reason)") }
    switch json["kind"]?.stringValue {
    case "number":
      guard let value = json["value"]?.doubleValue, value.isFinite else {
        throw problem("of a number has no \"value\" that is one")
      }
      self = .number(value)
    case "text":
      let texts = (json["accepted"]?.arrayValue ?? []).compactMap(\.stringValue)
      guard !texts.isEmpty, texts.count == json["accepted"]?.arrayValue?.count else {
        throw problem("of a text has no list \"accepted\" of texts")
      }
      self = .text(texts)
    case "pattern":
      guard let source = json["pattern"]?.stringValue else { throw problem("has no \"pattern\" with a text") }
      do { self = .pattern(try TextPattern(source)) } catch {
        throw problem("has the pattern \(JSON.quoted(source)), which is no regular expression: \(error.description)")
      }
    case "json":
      self = .json(schema: json["schema"], value: json["value"])
      if let schema = json["schema"] {
        switch schema {
        case .object, .bool: break
        default: throw problem("has a \"schema\" that is no JSON Schema")
        }
        do { try SchemaCheck.verify(schema) } catch { throw problem("has a schema that is refused: \(error.reason)") }
      }
    case "calls":
      let calls = (json["calls"]?.arrayValue ?? []).compactMap { ToolCall($0) }
      guard !calls.isEmpty, calls.count == json["calls"]?.arrayValue?.count else {
        throw problem("of calls has no list \"calls\" of a name and arguments each")
      }
      self = .calls(calls)
    case let kind:
      throw problem(
        (kind.map { "has the kind \(JSON.quoted($0))" } ?? "has no \"kind\"")
          + "; there are \(Self.kinds.joined(separator: ", "))")
    }
  }

  package var json: JSON {
    let members: [JSON.Member] =
      switch self {
      case .number(let value): [.init("value", Int(exactly: value).map(JSON.integer) ?? .number(value))]
      case .text(let texts): [.init("accepted", .array(texts.map(JSON.string)))]
      case .pattern(let pattern): [.init("pattern", .string(pattern.source))]
      case .json(let schema, let value):
        (schema.map { [.init("schema", $0)] } ?? []) + (value.map { [.init("value", $0)] } ?? [])
      case .calls(let calls): [.init("calls", .array(calls.map(\.json)))]
      }
    return .object([.init("kind", .string(kind))] + members)
  }

  /// Whether an answer, its reasoning left out, is right.
  package func isMet(by answer: String) -> Bool {
    switch self {
    case .number(let value):
      guard let number = FinalAnswer.number(in: answer) else { return false }
      return abs(number - value) <= 1e-9 * max(1, abs(value))
    case .text(let accepted):
      let text = FinalAnswer.normalized(FinalAnswer.marked(in: answer) ?? answer)
      return accepted.contains { FinalAnswer.normalized($0) == text }
    case .pattern(let pattern): return pattern.matches(answer)
    case .json(let schema, let value):
      guard let found = FinalAnswer.json(in: answer) else { return false }
      if let value, !found.isSame(as: value) { return false }
      return schema.map { SchemaCheck.isValid(found, $0) == true } ?? true
    case .calls(let calls): return ToolCall.calls(in: answer) == calls
    }
  }

  /// The right answer, in so far as it is one: for counting how often the commonest is right.
  package var expected: String { json.compactText }
}

/// A call of a tool as a model writes it.
package struct ToolCall: Sendable, Equatable {
  package var name: String
  /// An object.
  package var arguments: JSON

  package init(name: String, arguments: JSON) {
    self.name = name
    self.arguments = arguments
  }

  init?(_ json: JSON) {
    guard let name = json["name"]?.stringValue else { return nil }
    let arguments = json["arguments"] ?? .object([])
    guard case .object = arguments else { return nil }
    self.init(name: name, arguments: arguments)
  }

  package var json: JSON { .object([.init("name", .string(name)), .init("arguments", arguments)]) }

  /// The calls between `<tool_call>` and `</tool_call>`.
  ///
  /// - Returns: nil when one of them is not closed, is no JSON, or has no name.
  package static func calls(in text: String) -> [ToolCall]? {
    var calls: [ToolCall] = []
    var rest = text[...]
    while let opening = rest.firstRange(of: "<tool_call>") {
      rest = rest[opening.upperBound...]
      guard let closing = rest.firstRange(of: "</tool_call>"),
        let json = try? JSON(parsing: String(rest[..<closing.lowerBound])), let call = ToolCall(json)
      else { return nil }
      calls.append(call)
      rest = rest[closing.upperBound...]
    }
    return calls
  }

  package static func == (left: ToolCall, right: ToolCall) -> Bool {
    left.name == right.name && left.arguments.isSame(as: right.arguments)
  }
}
