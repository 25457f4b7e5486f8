import Storage

/// A function that a model may ask to be called.
package struct Tool: Sendable, Equatable {
  package var name: String
  package var description: String?
  /// A JSON Schema of the arguments, an object.
  package var parameters: JSON
  /// Whether arguments are held to `parameters` also where the model decides for itself whether to call.
  package var isStrict = false

  /// A function without `parameters` takes none.
  private static let noParameters = JSON.object([
    .init("type", .string("object")), .init("properties", .object([])), .init("additionalProperties", .bool(false)),
  ])

  /// The member `tools` of a request to OpenAI's API; none when it is absent.
  package static func list(_ json: JSON?) throws(StructuredOutputError) -> [Tool] {
    guard let json, !json.isNull else { return [] }
    guard let values = json.arrayValue else {
      throw StructuredOutputError(place: "tools", reason: "it must be an array.")
    }
    var tools: [Tool] = []
    var names: Set<String> = []
    for (index, value) in values.enumerated() {
      func failure(_ reason: String) -> StructuredOutputError {
        StructuredOutputError(place: "tools[\(index)]", reason: reason)
      }
      guard value["type"]?.stringValue == "function", let function = value["function"] else {
        throw failure("only tools of the type \"function\", with the member function, are supported.")
      }
      let allowed = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-".utf8)
      guard let name = function["name"]?.stringValue, (1...64).contains(name.utf8.count),
        name.utf8.allSatisfy(allowed.contains)
      else { throw failure("function.name must be 1 to 64 letters, digits, \"_\" and \"-\".") }
      guard names.insert(name).inserted else { throw failure("there are two functions \(name).") }
      let parameters = function["parameters"].flatMap { $0.isNull ? nil : $0 } ?? noParameters
      guard case .object = parameters else { throw failure("function.parameters must be an object, a JSON Schema.") }
      let strict = function["strict"].flatMap { $0.isNull ? nil : $0 } ?? .bool(false)
      guard case .bool(let isStrict) = strict else { throw failure("function.strict must be true or false.") }
      tools.append(
        Tool(
          name: name, description: function["description"]?.stringValue, parameters: parameters, isStrict: isStrict))
    }
    return tools
  }

  fileprivate var json: JSON {
    let description = description.map { [JSON.Member("description", .string($0))] } ?? []
    return .object([
      .init("type", .string("function")),
      .init(
        "function",
        .object([.init("name", .string(name))] + description + [.init("parameters", parameters)])),
    ])
  }
}

/// Whether and which function a model is to call: `tool_choice` of OpenAI's API.
package enum ToolChoice: Sendable, Equatable {
  case none
  /// The model decides.
  case auto
  /// One of the functions, whichever.
  case required
  case function(String)

  /// - Parameter json: the member of the request; when it is absent, the model decides, if there are tools.
  package init(_ json: JSON?, tools: [Tool]) throws(StructuredOutputError) {
    func failure(_ reason: String) -> StructuredOutputError {
      StructuredOutputError(place: "tool_choice", reason: reason)
    }
    let name = json?["function"]?["name"]?.stringValue
    switch json?.stringValue {
    case _ where json?.isNull ?? true: self = tools.isEmpty ? .none : .auto
    case "none": self = .none
    case "auto": self = tools.isEmpty ? .none : .auto
    case "required":
      guard !tools.isEmpty else { throw failure("a call is required, but there are no tools.") }
      self = .required
    case nil where json?["type"]?.stringValue == "function" && name != nil:
      guard let tool = tools.first(where: { $0.name == name }) else {
        throw failure("there is no function \(JSON.quoted(name ?? "")) among the tools.")
      }
      self = .function(tool.name)
    default:
      throw failure(
        "it must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}.")
    }
  }

  /// What makes an answer one call, with arguments by the function's schema; nil where the model may also write text.
  package func constraint(
    _ tools: [Tool], _ vocabulary: TokenVocabulary
  ) throws(StructuredOutputError) -> JSONConstraint? {
    let callable: [(offset: Int, element: Tool)] =
      switch self {
      case .none, .auto: []
      case .required: Array(tools.enumerated())
      case .function(let name): tools.enumerated().filter { $0.element.name == name }
      }
    return callable.isEmpty ? nil : try .call(of: callable, vocabulary: vocabulary)
  }
}

extension JSONConstraint {
  /// One call of one of these tools, with arguments by its schema.
  ///
  /// - Parameter tools: each with its place in the request, for messages.
  static func call(
    of tools: [(offset: Int, element: Tool)], vocabulary: TokenVocabulary
  ) throws(StructuredOutputError) -> JSONConstraint {
    let choices = tools.map { index, tool in
      let (prefix, suffix) = ToolText.around(tool.name)
      return (
        prefix: prefix, schema: tool.parameters, place: "tools[\(index)].function.parameters", suffix: suffix
      )
    }
    try SchemaCompiler.checkSize(tools.map(\.element.parameters), place: "tools")
    let name = tools.map { "\($0.element.name) \($0.element.parameters.compactText)" }.joined(separator: "\n")
    return try vocabulary.constraint(named: "call " + name) { () throws(StructuredOutputError) in
      JSONConstraint(try SchemaCompiler.grammar(choices: choices), vocabulary: vocabulary)
    }
  }
}

/// How tools, calls and results are written in the text of a conversation: as the Hermes models have them, since the
/// chat template has no place for tools.
package enum ToolText {
  static let opening = "<tool_call>"
  static let closing = "</tool_call>"

  /// The description of the tools for the model, for the end of the system message.
  package static func instructions(_ tools: [Tool]) -> String {
    """
    You may call functions to answer the user. These are their signatures, as JSON Schemas:
    <tools>
    \(tools.map(\.json.compactText).joined(separator: "\n"))
    </tools>
    To call a function, write its name and arguments as JSON, like this:
    \(opening)
    {"name": "function", "arguments": {"parameter": "value"}}
    \(closing)
    """
  }

  /// A call that an earlier answer made.
  ///
  /// - Parameter arguments: JSON.
  package static func call(name: String, arguments: String) -> String {
    let (prefix, suffix) = around(name)
    return prefix + arguments + suffix
  }

  /// What a function returned, for a user's message.
  package static func result(_ content: String) -> String { "<tool_response>\n\(content)\n</tool_response>" }

  static func around(_ name: String) -> (prefix: String, suffix: String) {
    ("\(opening)\n{\"name\": \(JSON.quoted(name)), \"arguments\": ", "}\n\(closing)")
  }
}
