import Storage

/// What a client wants an answer to be: `response_format` of OpenAI's API.
package enum ResponseFormat: Sendable, Equatable {
  case text
  /// Any JSON object.
  case jsonObject
  /// JSON that is valid by a schema. It is always enforced, with `strict` or without.
  case jsonSchema(JSON)

  /// - Parameter json: the member of the request; nil when it is absent.
  package init(_ json: JSON?) throws(StructuredOutputError) {
    func failure(_ reason: String) -> StructuredOutputError {
      StructuredOutputError(place: "response_format", reason: reason)
    }
    guard let json, !json.isNull else {
      self = .text
      return
    }
    switch json["type"]?.stringValue {
    case "text": self = .text
    case "json_object": self = .jsonObject
    case "json_schema":
      guard let schema = json["json_schema"]?["schema"] else {
        throw failure("json_schema must be an object with the member schema.")
      }
      self = .jsonSchema(schema)
    case .some(let type):
      throw failure("there is no type \(JSON.quoted(type)); there are text, json_object, json_schema.")
    case nil: throw failure("it must be an object with a type: text, json_object or json_schema.")
    }
  }

  /// The constraint that enforces the format; nil for a text, which may be anything.
  package func constraint(_ vocabulary: TokenVocabulary) throws(StructuredOutputError) -> JSONConstraint? {
    switch self {
    case .text: nil
    case .jsonObject: JSONConstraint(SchemaCompiler.freeGrammar(objectsOnly: true), vocabulary: vocabulary)
    case .jsonSchema(let schema):
      JSONConstraint(
        try SchemaCompiler.grammar(schema, place: "response_format.json_schema.schema"), vocabulary: vocabulary)
    }
  }
}
