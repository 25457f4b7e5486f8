import Storage

/// The schemas that hold for one value together.
extension SchemaCompiler {
  /// What they come to when `allOf`, `$ref` and choices are opened.
  struct Conjunction {
    /// Schemas by their own keywords, in the order of the document.
    var keywords: [Part] = []
    /// Choices that are still to be made.
    var choices: [Part] = []
    var nots: [Part] = []
    /// Names that the value does not have, and that it has.
    var absent: [Part] = []
    var present: [Part] = []
    /// Whether one of them is `false`.
    var isEmpty = false

    var parts: [Part] { keywords + choices + nots + absent + present }
  }

  /// Keywords of this and other drafts that restrict values in ways that are not supported.
  private static let unsupported: Set = [
    "dependencies", "additionalItems", "$recursiveRef", "extends", "disallow", "divisibleBy",
  ]
  static let objectKeywords = [
    "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
    "maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties",
  ]
  static let typed = [
    "object": objectKeywords,
    "array": [
      "items", "minItems", "maxItems", "prefixItems", "uniqueItems", "contains", "minContains", "maxContains",
      "unevaluatedItems",
    ],
    "string": ["minLength", "maxLength", "pattern"],
    "number": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  ]
  private static let typedKeywords = Set(typed.values.joined())
  static let types = ["object", "array", "string", "number", "integer", "boolean", "null"]

  /// Opens what leads to other schemas for the same value.
  mutating func expand(_ parts: [Part]) throws(StructuredOutputError) -> Conjunction {
    var result = Conjunction()
    var seen: Set<Part> = []
    // Each with the index of the part that led to it, so that a circle differs from two ways to one schema.
    var met: [(part: Part, origin: Int)] = []
    var open = parts.reversed().map { (part: $0, origin: -1) }
    while let (part, origin) = open.popLast() {
      guard seen.insert(part).inserted else {
        var index = origin
        while index >= 0 && met[index].part != part { index = met[index].origin }
        // A schema that a value meets if it meets it: there is no such value.
        if index >= 0 { result.isEmpty = true }
        continue
      }
      met.append((part, origin))
      switch part.kind {
      case .whole:
        let origin = met.count - 1
        open += try opened(part, &result).reversed().map { (part: $0, origin: origin) }
      case .keywords: result.keywords.append(part)
      case .choice: result.choices.append(part)
      case .not: result.nots.append(part)
      case .absent: result.absent.append(part)
      case .present: result.present.append(part)
      }
    }
    return result
  }

  /// The parts of a schema.
  private mutating func opened(_ part: Part, _ result: inout Conjunction) throws(StructuredOutputError) -> [Part] {
    let (value, pointer) = (schemas[part.schema].value, schemas[part.schema].pointer)
    if value == .bool(false) { result.isEmpty = true }
    if case .bool = value { return [] }
    guard case .object(let members) = value else { throw failure(pointer, "a schema is an object, true or false.") }
    if let other = members.first(where: { Self.unsupported.contains($0.key) }) {
      throw failure(pointer, "the keyword \(JSON.quoted(other.key)) is not supported.")
    }
    var owners = part.owners
    if members.contains(where: { $0.key == "unevaluatedProperties" || $0.key == "unevaluatedItems" }),
      !owners.contains(part.schema)
    {
      owners.append(part.schema)
    }
    var parts: [Part] = []
    let own: Set = ["type", "enum", "const"]
    if members.contains(where: { own.contains($0.key) || Self.typedKeywords.contains($0.key) || $0.key == "format" }) {
      parts.append(Part(schema: part.schema, kind: .keywords, owners: owners))
    }
    for keyword in ["$ref", "$dynamicRef"] where value[keyword] != nil {
      parts.append(Part(schema: try target(of: part.schema, keyword), kind: .whole, owners: owners))
    }
    if value["allOf"] != nil {
      parts += try list(part.schema, "allOf").map { Part(schema: $0, kind: .whole, owners: owners) }
    }
    if let not = value["not"] { parts.append(Part(schema: schema(not, in: part.schema, "not"), kind: .not)) }
    func choice(_ choice: Part.Choice) -> Part { Part(schema: part.schema, kind: .choice(choice), owners: owners) }
    if value["anyOf"] != nil { parts.append(choice(.anyOf)) }
    if value["oneOf"] != nil { parts.append(choice(.oneOf)) }
    if value["if"] != nil && (value["then"] != nil || value["else"] != nil) { parts.append(choice(.condition)) }
    parts += try self.members(part, "dependentRequired").indices.map { choice(.dependentRequired($0)) }
    parts += try self.members(part, "dependentSchemas").indices.map { choice(.dependentSchema($0)) }
    return parts
  }

  /// The schemas of a list.
  func listValues(_ id: SchemaID, _ keyword: String) throws(StructuredOutputError) -> [JSON] {
    guard let values = schemas[id].value[keyword]?.arrayValue, !values.isEmpty else {
      throw failure(schemas[id].pointer, "\(keyword) must be an array of schemas.")
    }
    return values
  }

  mutating func list(_ id: SchemaID, _ keyword: String) throws(StructuredOutputError) -> [SchemaID] {
    var result: [SchemaID] = []
    for (index, value) in try listValues(id, keyword).enumerated() {
      result.append(schema(value, in: id, keyword, String(index)))
    }
    return result
  }

  /// The node of what meets all of some schemas.
  mutating func conjunction(_ parts: [Part], _ node: Grammar.NodeID) throws(StructuredOutputError) -> Grammar.Node {
    let all = try expand(parts)
    if all.isEmpty { return .alternatives([]) }
    if all.keywords.contains(where: {
      schemas[$0.schema].value["enum"] != nil || schemas[$0.schema].value["const"] != nil
    }) {
      return try values(all)
    }
    if let choice = all.choices.first {
      var rest = all
      rest.choices.removeFirst()
      return try choose(choice, rest)
    }
    if let not = all.nots.first {
      var rest = all
      rest.nots.removeFirst()
      let inner = self.node(rest.parts)
      let isFree = rest.keywords.isEmpty
      exclusions.append(
        .not(not.schema, node: node, place: place + schemas[not.schema].pointer, isStrict: !isFree))
      return .alternatives([inner])
    }
    return try typed(all)
  }

  /// The alternatives of a choice, each beside what holds for all of them.
  private mutating func choose(_ choice: Part, _ rest: Conjunction) throws(StructuredOutputError) -> Grammar.Node {
    let (value, pointer) = (schemas[choice.schema].value, schemas[choice.schema].pointer)
    func part(_ schema: SchemaID, _ kind: Part.Kind = .whole) -> Part {
      Part(schema: schema, kind: kind, owners: kind == .whole ? choice.owners : [])
    }
    var alternatives: [[Part]] = []
    var others: [SchemaID] = []
    switch choice.kind {
    case .choice(.condition):
      let condition = schema(value["if"]!, in: choice.schema, "if")
      let results = ["then", "else"].map { key in value[key].map { schema($0, in: choice.schema, key) } }
      alternatives = [
        [part(condition)] + (results[0].map { [part($0)] } ?? []),
        [part(condition, .not)] + (results[1].map { [part($0)] } ?? []),
      ]
    case .choice(.anyOf): alternatives = try list(choice.schema, "anyOf").map { [part($0)] }
    case .choice(.oneOf):
      others = try list(choice.schema, "oneOf")
      alternatives = others.map { [part($0)] }
    case .choice(.dependentSchema(let index)):
      let member = try members(choice, "dependentSchemas")[index]
      let then = schema(member.value, in: choice.schema, "dependentSchemas", member.key)
      alternatives = [
        [part(choice.schema, .absent(member.key))], [part(choice.schema, .present([member.key])), part(then)],
      ]
    case .choice(.dependentRequired(let index)):
      let member = try members(choice, "dependentRequired")[index]
      guard let names = member.value.arrayValue?.map(\.stringValue), !names.contains(nil) else {
        throw failure(pointer, "dependentRequired must hold arrays of names.")
      }
      let needed = [member.key] + names.compactMap(\.self)
      alternatives = [[part(choice.schema, .absent(member.key))], [part(choice.schema, .present(needed))]]
    default: break
    }
    let nodes = alternatives.map { node(rest.parts + $0) }
    if others.count > 1 { exclusions.append(.others(others, nodes: nodes, place: place + pointer)) }
    return .alternatives(nodes)
  }

  /// Values that are given one by one.
  private mutating func values(_ all: Conjunction) throws(StructuredOutputError) -> Grammar.Node {
    let lists = all.keywords.filter {
      schemas[$0.schema].value["enum"] != nil || schemas[$0.schema].value["const"] != nil
    }
    let (value, pointer) = (schemas[lists[0].schema].value, schemas[lists[0].schema].pointer)
    var candidates: [JSON]
    if let constant = value["const"] {
      candidates = [constant]
    } else {
      guard let list = value["enum"]?.arrayValue else { throw failure(pointer, "enum must be an array.") }
      candidates = list
    }
    var texts: Set<String> = []
    var choices: [Grammar.NodeID] = []
    for candidate in candidates {
      guard !candidate.holdsLargeInteger else {
        throw failure(pointer, "whole numbers beyond 64 bits are not supported as values.")
      }
      let text = candidate.compactText
      guard texts.insert(text).inserted, try meets(candidate, all, listedBy: lists[0].schema) else { continue }
      choices.append(literal(text, depth: candidate.depth))
      guard nodes.count < Self.maximumNodes else { throw failure(pointer, "there are too many values.") }
    }
    return .alternatives(choices)
  }

  /// Whether a value that one of the schemas lists meets all schemas of a conjunction.
  mutating func meets(
    _ value: JSON, _ all: Conjunction, listedBy list: SchemaID
  ) throws(StructuredOutputError) -> Bool {
    for part in all.parts {
      let answer: Bool?
      switch part.kind {
      case .absent(let key): answer = value[key] == nil
      case .present(let keys): answer = keys.allSatisfy { value[$0] != nil }
      case .not: answer = isValid(value, part.schema).map { !$0 }
      // With the choices that the schema holds, which the value must meet, too.
      case .whole, .keywords, .choice: answer = isValid(value, part.schema, isListed: part.schema == list)
      }
      guard let answer else {
        throw failure(schemas[part.schema].pointer, "values beside what is said here are not supported.")
      }
      if !answer { return false }
    }
    return true
  }

  /// What `type` says; nil where it is absent.
  func types(_ id: SchemaID) throws(StructuredOutputError) -> [String]? {
    let (schema, pointer) = (schemas[id].value, schemas[id].pointer)
    guard let type = schema["type"] else { return nil }
    let names = type.arrayValue.map { $0.map { $0.stringValue ?? "" } } ?? [type.stringValue ?? ""]
    if let unknown = names.first(where: { !Self.types.contains($0) }) {
      throw failure(
        pointer, "there is no type \(JSON.quoted(unknown)); there are \(Self.types.joined(separator: ", ")).")
    }
    return names
  }

  /// The node of what meets schemas without choices, by type. Without `type` it is of the types that the keywords belong to.
  private mutating func typed(_ all: Conjunction) throws(StructuredOutputError) -> Grammar.Node {
    var types: [String]?
    var inferred: Set<String> = []
    for part in all.keywords {
      let schema = schemas[part.schema].value
      if let own = try self.types(part.schema) {
        types = types.map { Self.common($0, own) } ?? own
      } else {
        for (type, keywords) in Self.typed where keywords.contains(where: { schema[$0] != nil }) {
          inferred.insert(type)
        }
        if try format(part.schema) != nil { inferred.insert("string") }
      }
    }
    if !all.present.isEmpty || !all.absent.isEmpty { inferred.insert("object") }
    if types == nil && !inferred.isEmpty { infersTypes = true }
    let wanted = types ?? inferred.sorted()
    if types == nil && inferred.isEmpty { return .alternatives([anyValue()]) }
    var choices: [Grammar.Node] = []
    for type in wanted where !(type == "integer" && wanted.contains("number")) {
      switch type {
      case "object": choices.append(try object(all))
      case "array": choices.append(try array(all))
      case "string": choices.append(try string(all.keywords))
      case "number", "integer": choices.append(try number(all.keywords, isInteger: type == "integer"))
      case "boolean": choices += ["true", "false"].map { .literal(Array($0.utf8), depth: 0) }
      default: choices.append(.literal(Array("null".utf8), depth: 0))
      }
    }
    return choices.count == 1 ? choices[0] : .alternatives(choices.map { add($0) })
  }

  /// The types that two lists allow.
  private static func common(_ left: [String], _ right: [String]) -> [String] {
    left.compactMap { type in
      if right.contains(type) || type == "integer" && right.contains("number") { return type }
      return type == "number" && right.contains("integer") ? "integer" : nil
    }
  }

  /// Any value: an alternative of an object, an array, a string, a number and the three words, the object first.
  mutating func anyValue() -> Grammar.NodeID {
    if let any { return any }
    let any = add(.alternatives([]))
    self.any = any
    let choices = [
      add(.object(Grammar.ObjectNode(properties: [], additional: any))),
      add(.array(Grammar.ArrayNode(items: any, minimum: 0, maximum: Int32.max))),
      add(.string(minimum: 0, maximum: TextState.unlimited)), add(.number(NumberFormat(isInteger: false))),
      literal("true"), literal("false"), literal("null"),
    ]
    nodes[Int(any)] = .alternatives(choices)
    return any
  }
}
