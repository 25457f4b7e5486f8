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
///
/// A node of the grammar holds for one value, for which several schemas can hold at once: `allOf`, `$ref` and what stands
/// beside them. So nodes are made of conjunctions of schemas, and those of the same conjunction are one; this is also how
/// a schema can name itself.
struct SchemaCompiler {
  private var document: SchemaDocument
  let place: String
  var nodes: [Grammar.Node] = []
  var automata: [Automaton] = []
  var budget = CompilationBudget()
  /// Whether some schema has no `type`, so that values of other types than it speaks of are left out.
  var infersTypes = false
  /// The node of a schema that allows anything, once there is one.
  var any: Grammar.NodeID?
  /// The schemas of the document that were met.
  private(set) var schemas: [Schema] = []
  private var schemaIDs: [String: SchemaID] = [:]
  /// The same by the schema around them and the path from there, which for what a reference leads to is its keyword.
  private var children: [Child: SchemaID] = [:]
  private var conjunctions: [[Part]: Grammar.NodeID] = [:]
  /// Those whose nodes are still to be made. A list, because calls within calls would let a request choose the depth.
  private var open: [(parts: [Part], node: Grammar.NodeID)] = []
  /// Schemas that no text of a node may meet, which are checked when all nodes exist.
  var exclusions: [Exclusion] = []
  /// Arrays whose items differ, which are completed when all nodes exist.
  var uniqueArrays: [(pointer: String, node: Grammar.NodeID, dropsOthers: Bool)] = []
  var patterns: [String: Automaton] = [:]
  /// The contents of strings by their patterns, formats and numbers of characters.
  var contents: [[String]: Automaton] = [:]
  static let maximumNodes = 4096
  /// The most bytes of a schema, about.
  private static let maximumSize = 1 << 20

  typealias SchemaID = Int

  struct Schema {
    let value: JSON
    /// Where it is in the document: "#/properties/a".
    let pointer: String
  }

  private struct Child: Hashable {
    let parent: SchemaID
    let path: [String]
  }

  /// A schema, or what is left of it, among those that hold for one value.
  struct Part: Hashable {
    enum Kind: Hashable {
      /// Everything that the schema says.
      case whole
      /// Its keywords, but none that holds a choice or leads to another schema for the same value.
      case keywords
      case choice(Choice)
      /// That the value does not meet it.
      case not
      /// That the value has no such member, or has these.
      case absent(String)
      case present([String])
    }

    /// A choice that a schema offers.
    enum Choice: Hashable {
      case anyOf, oneOf, condition
      /// One of its dependent schemas, or lists of names, by its place among them.
      case dependentSchema(Int), dependentRequired(Int)
    }

    var schema: SchemaID
    var kind: Kind
    /// The schemas around it with `unevaluatedProperties` or `unevaluatedItems` that hold for the same value.
    var owners: [SchemaID] = []
  }

  enum Exclusion {
    /// Of `oneOf`: no text of a node may meet the schema of another one.
    case others([SchemaID], nodes: [Grammar.NodeID], place: String)
    /// Of `not`: the node's choices that may meet the schema are left out; if `isStrict`, only ones of types not asked for.
    case not(SchemaID, node: Grammar.NodeID, place: String, isStrict: Bool)
  }

  /// - Parameter place: how the schema is called in messages.
  init(_ document: JSON, place: String) {
    self.document = SchemaDocument(document)
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
    let grammar = Grammar(nodes: compiler.nodes, root: root, automata: compiler.automata)
    try compiler.check(root, in: grammar)
    return grammar
  }

  /// The grammar of a text that is a value between two fixed texts, each choice with a schema and texts of its own.
  static func grammar(
    choices alternatives: [(prefix: String, schema: JSON, place: String, suffix: String)]
  ) throws(StructuredOutputError) -> Grammar {
    var nodes: [Grammar.Node] = []
    var automata: [Automaton] = []
    var budget = CompilationBudget()
    var choices: [Grammar.NodeID] = []
    var values: [(compiler: SchemaCompiler, root: Grammar.NodeID)] = []
    for (prefix, schema, place, suffix) in alternatives {
      var compiler = SchemaCompiler(schema, place: place)
      (compiler.nodes, compiler.automata, compiler.budget) = (nodes, automata, budget)
      let value = try compiler.compileDocument()
      let parts = [compiler.literal(prefix), value, compiler.literal(suffix)]
      choices.append(compiler.add(.sequence(parts)))
      (nodes, automata, budget) = (compiler.nodes, compiler.automata, compiler.budget)
      (compiler.nodes, compiler.automata) = ([], [])
      values.append((compiler, value))
    }
    nodes.append(.alternatives(choices))
    let grammar = Grammar(nodes: nodes, root: Grammar.NodeID(nodes.count - 1), automata: automata)
    for (compiler, root) in values { try compiler.check(root, in: grammar) }
    return grammar
  }

  /// Checks what only the whole grammar can tell of a schema.
  private func check(_ root: Grammar.NodeID, in grammar: Grammar) throws(StructuredOutputError) {
    guard grammar.isSatisfiable(root) else {
      let values = infersTypes ? "no value of the types that it speaks of" : "no value"
      throw StructuredOutputError(
        place: place,
        reason: "\(values) meets the schema, or only one nested deeper than \(Grammar.maximumDepth) levels.")
    }
  }

  private mutating func compileDocument() throws(StructuredOutputError) -> Grammar.NodeID {
    let root = node([Part(schema: schema(document.root, "#"), kind: .whole)])
    while let (parts, node) = open.popLast() {
      try take(parts.count, at: schemas[parts[0].schema].pointer)
      nodes[Int(node)] = try conjunction(parts, node)
    }
    try exclude()
    try completeUniqueArrays()
    mergeLiterals()
    return root
  }

  /// Makes one automaton of many constants of one choice, so that they are read together.
  private mutating func mergeLiterals() {
    for index in nodes.indices {
      guard case .alternatives(let choices) = nodes[index] else { continue }
      var texts: [[UInt8]] = []
      var others: [Grammar.NodeID] = []
      for choice in choices {
        if case .literal(let text, depth: 0) = nodes[Int(choice)] { texts.append(text) } else { others.append(choice) }
      }
      guard texts.count >= 8, let automaton = try? Automaton(texts: texts, &budget) else { continue }
      nodes[index] = .alternatives(others + [add(add(automaton))])
    }
  }

  /// Counts schemas that are taken together, or names that they speak of: where choices multiply, they end here.
  mutating func take(_ parts: Int, at pointer: String) throws(StructuredOutputError) {
    guard nodes.count < Self.maximumNodes, budget.allows(parts * CompilationBudget.conjunction) else {
      let reason = nodes.count < Self.maximumNodes ? "too many choices" : "more than \(Self.maximumNodes) parts"
      throw failure(pointer, "the schema is too large: \(reason).")
    }
  }

  /// Refuses schemas that together are too large to look at.
  static func checkSize(_ schemas: [JSON], place: String) throws(StructuredOutputError) {
    guard schemas.reduce(0, { $0 + $1.size }) <= maximumSize else {
      throw StructuredOutputError(place: place, reason: "the schema is too large: more than a mebibyte.")
    }
  }

  @discardableResult
  mutating func add(_ node: Grammar.Node) -> Grammar.NodeID {
    nodes.append(node)
    return Grammar.NodeID(nodes.count - 1)
  }

  mutating func literal(_ text: String, depth: Int = 0) -> Grammar.NodeID {
    add(.literal(Array(text.utf8), depth: depth))
  }

  mutating func add(_ automaton: Automaton) -> Grammar.Node {
    if automaton.shortestText == nil { return .alternatives([]) }
    if let known = automata.firstIndex(of: automaton) { return .automaton(Int32(known)) }
    automata.append(automaton)
    return .automaton(Int32(automata.count - 1))
  }

  func failure(_ pointer: String, _ reason: String) -> StructuredOutputError {
    StructuredOutputError(place: place + pointer, reason: reason)
  }

  /// The number of the schema at a pointer.
  mutating func schema(_ value: JSON, _ pointer: String) -> SchemaID {
    if let known = schemaIDs[pointer] { return known }
    schemas.append(Schema(value: value, pointer: pointer))
    schemaIDs[pointer] = schemas.count - 1
    return schemas.count - 1
  }

  /// The schema in a member of another one.
  mutating func schema(_ value: JSON, in parent: SchemaID, _ path: String...) -> SchemaID {
    let child = Child(parent: parent, path: path)
    if let known = children[child] { return known }
    let pointer = ([schemas[parent].pointer] + path.map(SchemaDocument.escaped)).joined(separator: "/")
    let id = schema(value, pointer)
    children[child] = id
    return id
  }

  /// The node for the values that meet all of some schemas, which is made later if it is new.
  mutating func node(_ parts: [Part]) -> Grammar.NodeID {
    var seen: Set<Part> = []
    let parts = parts.map { referenced($0) }.filter { part in
      let schema = schemas[part.schema].value
      let isFree = part.kind == .whole && (schema == .bool(true) || schema == .object([]))
      return !isFree && seen.insert(part).inserted
    }
    if parts.isEmpty { return anyValue() }
    if let known = conjunctions[parts] { return known }
    let node = add(.alternatives([]))
    conjunctions[parts] = node
    open.append((parts, node))
    return node
  }

  /// What a schema that is nothing but a `$ref` leads to, so that all that refer to a schema share its node.
  private mutating func referenced(_ part: Part) -> Part {
    guard part.kind == .whole, case .object(let members) = schemas[part.schema].value, members.count == 1,
      members[0].key == "$ref", let target = try? target(of: part.schema, "$ref")
    else { return part }
    return Part(schema: target, kind: .whole, owners: part.owners)
  }

  /// The schema that a `$ref` or `$dynamicRef` leads to.
  mutating func target(of id: SchemaID, _ keyword: String) throws(StructuredOutputError) -> SchemaID {
    let child = Child(parent: id, path: [keyword])
    if let known = children[child] { return known }
    let (schema, pointer) = (schemas[id].value, schemas[id].pointer)
    guard budget.allows(CompilationBudget.reference) else {
      throw failure(pointer, "the schema is too large: too many references.")
    }
    guard let reference = schema[keyword]?.stringValue, let target = document.target(of: reference, at: pointer) else {
      throw failure(pointer, "a \(keyword) must lead to a place in the same schema: \"#\" or \"#/…\".")
    }
    guard keyword == "$ref" || document.isPlain(dynamicReference: reference) else {
      throw failure(pointer, "a $dynamicRef that may lead to several places is not supported.")
    }
    guard let value = document.value(at: target) else {
      throw StructuredOutputError(place: place, reason: "there is nothing at \(target), which a \(keyword) names.")
    }
    let found = self.schema(value, target)
    children[child] = found
    return found
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
    case .integer, .number: type == "number" || (type == "integer" && isWhole)
    }
  }

  /// Whether it is a number without a fraction.
  private var isWhole: Bool { doubleValue.map { $0 == $0.rounded() } ?? false }

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

  /// About the bytes of the value's text.
  var size: Int {
    switch self {
    case .string(let text): text.utf8.count + 2
    case .array(let values): values.reduce(2) { $0 + $1.size + 1 }
    case .object(let members): members.reduce(2) { $0 + $1.key.utf8.count + $1.value.size + 4 }
    default: 4
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
