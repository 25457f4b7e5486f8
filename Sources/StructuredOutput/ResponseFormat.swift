import Storage

/// What a client wants an answer to be: `response_format` of OpenAI's API, or the fields of other servers that say the same.
package enum ResponseFormat: Sendable, Equatable {
  case text
  /// Any JSON object.
  case jsonObject
  /// JSON that is valid by a schema, which was found at `place` of the request. It is always enforced, with `strict` or
  /// without.
  case jsonSchema(JSON, place: String = "response_format.json_schema.schema")
  /// One of these texts.
  case choice(JSON, place: String)
  /// A text that matches a regular expression from its beginning to its end.
  case regex(JSON, place: String)
  /// A text by a grammar in llama.cpp's GBNF.
  case grammar(JSON, place: String)

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

  /// Where in the request the format was found; nil of a text.
  package var place: String? {
    switch self {
    case .text: nil
    case .jsonObject: "response_format"
    case .jsonSchema(_, let place), .choice(_, let place), .regex(_, let place), .grammar(_, let place): place
    }
  }

  /// Whether two formats ask for the same, wherever it stands.
  package func isSame(as other: ResponseFormat) -> Bool { name == other.name }

  /// The constraint that enforces the format; nil for a text, which may be anything.
  package func constraint(_ vocabulary: TokenVocabulary) throws(StructuredOutputError) -> JSONConstraint? {
    if case .jsonSchema(let schema, let place) = self { try SchemaCompiler.checkSize([schema], place: place) }
    guard let name else { return nil }
    return try vocabulary.constraint(named: name) { () throws(StructuredOutputError) in
      JSONConstraint(try grammar(), vocabulary: vocabulary)
    }
  }

  /// What tells the format from others; nil for a text.
  private var name: String? {
    switch self {
    case .text: nil
    case .jsonObject: "object"
    case .jsonSchema(let value, _): "schema " + value.compactText
    case .choice(let value, _): "choice " + value.compactText
    case .regex(let value, _): "regex " + value.compactText
    case .grammar(let value, _): "grammar " + value.compactText
    }
  }

  private func grammar() throws(StructuredOutputError) -> Grammar {
    switch self {
    case .text, .jsonObject: SchemaCompiler.freeGrammar(objectsOnly: true)
    case .jsonSchema(let schema, let place): try SchemaCompiler.grammar(schema, place: place)
    case .choice(let texts, let place): try Grammar(choice: texts, place: place)
    case .regex(let pattern, let place): try Grammar(regex: pattern, place: place)
    case .grammar(let text, let place): try Grammar(gbnf: text, place: place)
    }
  }
}

extension Grammar {
  /// The most bytes of all choices together.
  private static let maximumChoices = 100_000

  init(choice: JSON, place: String) throws(StructuredOutputError) {
    let texts = (choice.arrayValue ?? []).map(\.stringValue)
    guard !texts.isEmpty, !texts.contains(nil) else {
      throw StructuredOutputError(place: place, reason: "it must be an array of texts, at least one.")
    }
    let bytes = texts.compactMap { $0.map { Array($0.utf8) } }
    guard bytes.reduce(0, { $0 + $1.count }) <= Self.maximumChoices else {
      throw StructuredOutputError(place: place, reason: "the texts have more than \(Self.maximumChoices) bytes.")
    }
    var budget = CompilationBudget()
    guard let automaton = try? Automaton(texts: bytes, &budget) else {
      throw StructuredOutputError(place: place, reason: "the texts take too many states. Give fewer, or shorter ones.")
    }
    self.init(automaton)
  }

  init(regex: JSON, place: String) throws(StructuredOutputError) {
    guard let pattern = regex.stringValue else {
      throw StructuredOutputError(place: place, reason: "it must be a text, a regular expression.")
    }
    let expression: RegularExpression
    do throws(RegularExpressionError) { expression = try RegularExpression(pattern) } catch {
      throw StructuredOutputError(place: place, reason: "it has \(error.reason), which is not supported.")
    }
    var budget = CompilationBudget()
    let automaton: Automaton
    do throws(AutomatonTooLarge) { automaton = try Automaton(expression, .plain, &budget) } catch {
      throw StructuredOutputError(place: place, reason: "it takes too many states. Say less, or smaller counts.")
    }
    guard !automaton.isEmpty else { throw StructuredOutputError(place: place, reason: "no text matches it.") }
    self.init(automaton)
  }

  init(gbnf: JSON, place: String) throws(StructuredOutputError) {
    guard let text = gbnf.stringValue else {
      throw StructuredOutputError(place: place, reason: "it must be a text, a grammar in llama.cpp's GBNF.")
    }
    self = try GBNFCompiler.grammar(text, place: place)
  }

  /// The grammar of an automaton's texts, of which there is at least one.
  private init(_ automaton: Automaton) {
    self.init(nodes: [.automaton(0)], root: 0, automata: [automaton], allowsEmpty: automaton.accepts(0))
  }
}
