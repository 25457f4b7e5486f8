import Storage

/// A request of another API in the words of `/v1/chat/completions`, and the way back for errors.
package struct TranslatedRequest: Sendable {
  private var members: [JSON.Member]
  private(set) var messages: [JSON] = []
  /// Where each message comes from in the client's request.
  private var places: [String] = []
  /// Our names of fields, and the client's.
  private var names: [(ours: String, theirs: String)] = []

  /// - Parameters:
  ///   - fields: the client's.
  ///   - translated: names of those that mean something else here, or nothing, and are not taken over as they are.
  init(_ fields: RequestFields, translated: String) {
    let translated = translated.split(separator: " ").map(String.init)
    guard case .object(let members) = fields.object else { preconditionFailure("a request is an object") }
    self.members = members.filter { !translated.contains($0.key) }
  }

  /// Sets a field, unless there is no value.
  mutating func set(_ name: String, _ value: JSON?, from theirs: String) {
    names.append((name, theirs))
    guard let value, !value.isNull else { return }
    members.removeAll { $0.key == name }
    members.append(.init(name, value))
  }

  mutating func add(_ role: String, _ content: JSON?, from place: String, _ others: [JSON.Member] = []) {
    messages.append(.object([.init("role", .string(role)), .init("content", content ?? .null)] + others))
    places.append(place)
  }

  /// Adds a call to the last message if that is an answer, or to one of its own.
  mutating func addCall(id: String, name: String, arguments: JSON, from place: String, _ others: [JSON.Member] = []) {
    let function = JSON.object([.init("name", .string(name)), .init("arguments", arguments)])
    let call = JSON.object([
      .init("id", .string(id)), .init("type", .string("function")), .init("function", function),
    ])
    if messages.last?["role"] != .string("assistant") { add("assistant", nil, from: place, others) }
    guard case .object(var message) = messages[messages.count - 1] else { return }
    let calls = message.first { $0.key == "tool_calls" }?.value.arrayValue ?? []
    message.removeAll { $0.key == "tool_calls" }
    message.append(.init("tool_calls", .array(calls + [call])))
    messages[messages.count - 1] = .object(message)
  }

  var fields: RequestFields {
    RequestFields(.object(members.filter { $0.key != "messages" } + [.init("messages", .array(messages))]))
  }

  /// Does something with the request, and gives errors in the client's words.
  package func perform<Value>(_ action: (RequestFields) throws(APIError) -> Value) throws(APIError) -> Value {
    do throws(APIError) { return try action(fields) } catch { throw renamed(error) }
  }

  /// The request as a conversation that is to be answered.
  package func call(_ make: (RequestFields) throws(APIError) -> GenerationCall) throws(APIError) -> GenerationCall {
    var call = try perform(make)
    call.renamed = renamed
    return call
  }

  @Sendable private func renamed(_ error: APIError) -> APIError {
    guard let parameter = error.parameter else { return error }
    var error = error
    for (index, place) in places.enumerated() {
      let own = "messages[\(index)]"
      guard parameter.hasPrefix(own) else { continue }
      error.parameter = place + parameter.dropFirst(own.count)
      error.message = error.message.replacing("'" + own, with: "'" + place)
      return error
    }
    for (own, theirs) in names
    where parameter == own || parameter.hasPrefix(own + ".") || parameter.hasPrefix(own + "[") {
      error.parameter = theirs + parameter.dropFirst(own.count)
      error.message = error.message.replacing("'" + own, with: "'" + theirs)
      return error
    }
    return error
  }
}

extension TranslatedRequest {
  /// Functions in the form of chat completions.
  ///
  /// - Parameter schema: what the API calls the parameters of a function.
  /// - Throws: `APIError` for a tool that this server would have to run.
  static func tools(_ fields: RequestFields, types: [String], schema: String) throws(APIError) -> JSON? {
    guard let value = fields["tools"] else { return nil }
    guard let tools = value.arrayValue else { throw APIError.invalid("tools", "'tools' must be a list.") }
    var functions: [JSON] = []
    for (index, tool) in tools.enumerated() {
      let type = tool["type"]?.stringValue ?? types[0]
      guard types.contains(type) else {
        throw APIError.unsupported(
          "tools[\(index)]",
          "'tools[\(index)]' has the type \(JSON.quoted(String(type.prefix(40)))); this server runs no tools, and calls "
            + "functions of the client only.")
      }
      var function: [JSON.Member] = []
      for (name, own) in [
        ("name", "name"), ("description", "description"), (schema, "parameters"), ("strict", "strict"),
      ] {
        if let value = tool[name], !value.isNull { function.append(.init(own, value)) }
      }
      functions.append(.object([.init("type", .string("function")), .init("function", .object(function))]))
    }
    return .array(functions)
  }
}
