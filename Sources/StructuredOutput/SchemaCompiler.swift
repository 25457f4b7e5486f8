import Foundation
import Storage

/// What a request for structured output asks for and cannot get, and where in the request.
package struct StructuredOutputError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where in the request: "response_format.json_schema.schema#/properties/a".
  package var place: String
  package var reason: String

  /// Both can quote names of the request, however long; an error does not send all of it back.
  package init(place: String, reason: String) {
    self.place = Self.excerpt(place)
    self.reason = Self.excerpt(reason)
  }

  private static func excerpt(_ text: String) -> String {
    let limit = 500
    return text.unicodeScalars.count <= limit
      ? text : String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit))) + "…"
  }

  package var description: String { "\(place): \(reason)" }
}

/// Makes a grammar of a JSON Schema (draft 2020-12), or refuses by name a keyword that is not supported.
///
/// Every text of the grammar is valid by the schema; the reverse does not hold: properties come in the schema's order,
/// and where a schema names properties and is silent about others, there are none.
struct SchemaCompiler {
  private let document: JSON
  private let place: String
  var nodes: [Grammar.Node] = []
  /// The node of a schema that allows anything, once there is one.
  var any: Grammar.NodeID?
  /// The node of each place in the document that a `$ref` names.
  private var references: [String: Grammar.NodeID] = [:]
  /// Places whose nodes are still to be made. A list, because calls within calls would let a request choose the depth.
  private var openReferences: [(pointer: String, node: Grammar.NodeID)] = []
  /// `oneOf`s, which are checked when all nodes exist.
  private var exclusive: [(place: String, choices: [Grammar.NodeID])] = []

  static let maximumNodes = 4096
  /// The most comparisons for telling the schemas of all `oneOf` apart: about a tenth of a second.
  private static let maximumComparisons = 1_000_000
  /// They say something about the value and do not restrict it; `format` is one of them in this draft.
  private static let annotations: Set = [
    "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly",
    "format", "contentEncoding", "contentMediaType", "discriminator", "$defs", "definitions",
  ]
  /// Each takes the place of the whole schema.
  private static let alone = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"]
  static let typed = [
    "object": ["properties", "required", "additionalProperties"], "array": ["items", "minItems", "maxItems"],
    "string": ["minLength", "maxLength"],
    "number": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  ]
  private static let types = ["object", "array", "string", "number", "integer", "boolean", "null"]

  /// - Parameter place: how the schema is called in messages.
  private init(_ document: JSON, place: String) {
    self.document = document
    self.place = place
  }

  /// Any JSON value, or any object.
  static func freeGrammar(objectsOnly: Bool) -> Grammar {
    var compiler = SchemaCompiler(.bool(true), place: "")
    let any = compiler.anyValue()
    guard objectsOnly, case .alternatives(let choices) = compiler.nodes[Int(any)] else {
      return Grammar(nodes: compiler.nodes, root: any)
    }
    return Grammar(nodes: compiler.nodes, root: choices[0])
  }

  /// The grammar of the values that a schema allows.
  static func grammar(_ schema: JSON, place: String) throws(StructuredOutputError) -> Grammar {
    var compiler = SchemaCompiler(schema, place: place)
    let root = try compiler.compileDocument()
    let grammar = Grammar(nodes: compiler.nodes, root: root)
    var comparisons = maximumComparisons
    try compiler.check(root, in: grammar, &comparisons)
    return grammar
  }

  /// The grammar of a text that is a value between two fixed texts, each choice with a schema and texts of its own.
  static func grammar(
    choices alternatives: [(prefix: String, schema: JSON, place: String, suffix: String)]
  ) throws(StructuredOutputError) -> Grammar {
    var nodes: [Grammar.Node] = []
    var choices: [Grammar.NodeID] = []
    var values: [(compiler: SchemaCompiler, root: Grammar.NodeID)] = []
    for (prefix, schema, place, suffix) in alternatives {
      var compiler = SchemaCompiler(schema, place: place)
      compiler.nodes = nodes
      let value = try compiler.compileDocument()
      let parts = [compiler.literal(prefix), value, compiler.literal(suffix)]
      choices.append(compiler.add(.sequence(parts)))
      nodes = compiler.nodes
      compiler.nodes = []
      values.append((compiler, value))
    }
    nodes.append(.alternatives(choices))
    let grammar = Grammar(nodes: nodes, root: Grammar.NodeID(nodes.count - 1))
    var comparisons = maximumComparisons
    for (compiler, root) in values { try compiler.check(root, in: grammar, &comparisons) }
    return grammar
  }

  /// Checks what only the whole grammar can tell of a schema.
  ///
  /// - Parameter comparisons: how many may still be made to tell the schemas of a `oneOf` apart.
  private func check(
    _ root: Grammar.NodeID, in grammar: Grammar, _ comparisons: inout Int
  ) throws(StructuredOutputError) {
    guard grammar.isSatisfiable(root) else {
      throw StructuredOutputError(
        place: place,
        reason: "no value meets the schema, or only one nested deeper than \(Grammar.maximumDepth) levels.")
    }
    for (place, choices) in exclusive {
      for (index, choice) in choices.enumerated() {
        for other in choices[(index + 1)...] where !grammar.areDisjoint(choice, other, comparisons: &comparisons) {
          throw StructuredOutputError(
            place: place,
            reason: "oneOf is supported where no value meets two of its schemas, which is not plain here. Use anyOf.")
        }
      }
    }
  }

  private mutating func compileDocument() throws(StructuredOutputError) -> Grammar.NodeID {
    let root = add(.alternatives([]))
    references["#"] = root
    openReferences = [("#", root)]
    while let (pointer, node) = openReferences.popLast() {
      guard let target = Self.resolve(pointer, in: document) else {
        throw StructuredOutputError(place: place, reason: "there is nothing at \(pointer), which a $ref names.")
      }
      nodes[Int(node)] = .alternatives([try compile(target, pointer)])
    }
    return root
  }

  @discardableResult
  mutating func add(_ node: Grammar.Node) -> Grammar.NodeID {
    nodes.append(node)
    return Grammar.NodeID(nodes.count - 1)
  }

  mutating func literal(_ text: String, depth: Int = 0) -> Grammar.NodeID {
    add(.literal(Array(text.utf8), depth: depth))
  }

  func failure(_ pointer: String, _ reason: String) -> StructuredOutputError {
    StructuredOutputError(place: place + pointer, reason: reason)
  }

  /// Adds the nodes of the schema at `pointer`.
  mutating func compile(_ schema: JSON, _ pointer: String) throws(StructuredOutputError) -> Grammar.NodeID {
    guard nodes.count < Self.maximumNodes else {
      throw failure(pointer, "the schema is too large: more than \(Self.maximumNodes) parts.")
    }
    switch schema {
    case .bool(true): return anyValue()
    case .bool(false): return add(.alternatives([]))
    case .object(let members): return try compile(members, schema, pointer)
    default: throw failure(pointer, "a schema is an object, true or false.")
    }
  }

  private mutating func compile(
    _ members: [JSON.Member], _ schema: JSON, _ pointer: String
  ) throws(StructuredOutputError) -> Grammar.NodeID {
    let known = Set(Self.typed.values.joined()).union(Self.alone).union(["type"])
    let keywords = members.map(\.key).filter { !Self.annotations.contains($0) && !$0.hasPrefix("x-") }
    if let unknown = keywords.first(where: { !known.contains($0) }) {
      throw failure(pointer, "the keyword \(JSON.quoted(unknown)) is not supported.")
    }
    guard let whole = keywords.first(where: Self.alone.contains), let value = schema[whole] else {
      return try compileTypes(schema, keywords, pointer)
    }
    let others = keywords.filter { $0 != whole && !($0 == "type" && (whole == "enum" || whole == "const")) }
    if let other = others.first {
      throw failure(pointer, "\(JSON.quoted(whole)) beside \(JSON.quoted(other)) is not supported.")
    }
    switch whole {
    case "$ref": return try reference(value, pointer)
    case "const": return try compileValues([value], schema, pointer)
    case "enum":
      guard let values = value.arrayValue else { throw failure(pointer, "enum must be an array.") }
      return try compileValues(values, schema, pointer)
    default: return try compileChoices(whole, value, pointer)
    }
  }

  private mutating func compileChoices(
    _ keyword: String, _ value: JSON, _ pointer: String
  ) throws(StructuredOutputError) -> Grammar.NodeID {
    guard let schemas = value.arrayValue, !schemas.isEmpty else {
      throw failure(pointer, "\(keyword) must be an array of schemas.")
    }
    if keyword == "allOf" && schemas.count > 1 {
      throw failure(pointer, "allOf of more than one schema is not supported.")
    }
    var choices: [Grammar.NodeID] = []
    for (index, schema) in schemas.enumerated() {
      choices.append(try compile(schema, "\(pointer)/\(keyword)/\(index)"))
    }
    if keyword == "oneOf" { exclusive.append((place + pointer, choices)) }
    return add(.alternatives(choices))
  }

  private mutating func reference(_ value: JSON, _ pointer: String) throws(StructuredOutputError) -> Grammar.NodeID {
    guard let target = value.stringValue, target == "#" || target.hasPrefix("#/") else {
      throw failure(pointer, "a $ref must lead to a place in the same schema: \"#\" or \"#/…\".")
    }
    if let node = references[target] { return node }
    let node = add(.alternatives([]))
    references[target] = node
    openReferences.append((target, node))
    return node
  }

  /// The value at a JSON pointer (RFC 6901) that begins with "#".
  private static func resolve(_ pointer: String, in document: JSON) -> JSON? {
    pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst().reduce(Optional(document)) {
      value, part in
      let key = (part.removingPercentEncoding ?? String(part)).replacingOccurrences(of: "~1", with: "/")
        .replacingOccurrences(of: "~0", with: "~")
      if let values = value?.arrayValue {
        return Int(key).flatMap { values.indices.contains($0) ? values[$0] : nil }
      }
      return value?[key]
    }
  }

  /// Values that are given one by one.
  private mutating func compileValues(
    _ values: [JSON], _ schema: JSON, _ pointer: String
  ) throws(StructuredOutputError) -> Grammar.NodeID {
    let types = try self.types(schema, pointer)
    var texts: Set<String> = []
    var choices: [Grammar.NodeID] = []
    for value in values where types.map({ $0.contains { value.isOfType($0) } }) ?? true {
      guard !value.holdsLargeInteger else {
        throw failure(pointer, "whole numbers beyond 64 bits are not supported as values.")
      }
      let text = value.compactText
      guard texts.insert(text).inserted else { continue }
      choices.append(literal(text, depth: value.depth))
      guard nodes.count < Self.maximumNodes else { throw failure(pointer, "there are too many values.") }
    }
    return add(.alternatives(choices))
  }

  /// What `type` says; nil where it is absent.
  func types(_ schema: JSON, _ pointer: String) throws(StructuredOutputError) -> [String]? {
    guard let type = schema["type"] else { return nil }
    let names = type.arrayValue.map { $0.map { $0.stringValue ?? "" } } ?? [type.stringValue ?? ""]
    if let unknown = names.first(where: { !Self.types.contains($0) }) {
      throw failure(
        pointer, "there is no type \(JSON.quoted(unknown)); there are \(Self.types.joined(separator: ", ")).")
    }
    return names
  }
}

extension JSON {
  func isOfType(_ type: String) -> Bool {
    switch self {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    case .integer, .number: type == "number" || (type == "integer" && integerValue != nil)
    }
  }

  /// Whether there is a whole number whose last digits may not be those of the request any more.
  var holdsLargeInteger: Bool {
    switch self {
    // Of −2⁶³ − 1 the nearest Double is −2⁶³, which fits.
    case .number(let value): abs(value) >= 0x1p63
    case .array(let values): values.contains(where: \.holdsLargeInteger)
    case .object(let members): members.contains(where: \.value.holdsLargeInteger)
    default: false
    }
  }

  /// Arrays and objects that are open inside each other at most.
  var depth: Int {
    switch self {
    case .array(let values): 1 + (values.map(\.depth).max() ?? 0)
    case .object(let members): 1 + (members.map(\.value.depth).max() ?? 0)
    default: 0
    }
  }
}
