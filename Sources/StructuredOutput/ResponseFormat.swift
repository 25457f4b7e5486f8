import Storage

/// What a client wants an answer to be: `response_format` of OpenAI's API, or the fields of other servers that say the same.
package enum ResponseFormat: Sendable, Equatable {
  case text
  /// Any JSON object.
  case jsonObject
  /// JSON that is valid by a schema, which was found at `place` of the request. It is always enforced, with `strict` or
  /// without.
  case jsonSchema(JSON, place: String = "response_format.json_schema.schema")

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
    case "json_object":
      // A schema beside it is llama.cpp's way.
      let schema = json["schema"].flatMap { $0.isNull ? nil : $0 }
      self = schema.map { .jsonSchema($0, place: "response_format.schema") } ?? .jsonObject
    case "json_schema":
      if let schema = json["json_schema"]?["schema"] {
        self = .jsonSchema(schema)
      } else if let schema = json["schema"], json["json_schema"] == nil {
        self = .jsonSchema(schema, place: "response_format.schema")
      } else {
        throw failure("json_schema must be an object with the member schema.")
      }
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
    case .jsonSchema(let schema, let place):
      JSONConstraint(try SchemaCompiler.grammar(schema, place: place), vocabulary: vocabulary)
    }
  }
}
