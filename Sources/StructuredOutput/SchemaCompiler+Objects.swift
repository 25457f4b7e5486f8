import Storage

/// Objects that meet several schemas.
extension SchemaCompiler {
  /// A key, or all keys that match these patterns and no others of the schemas.
  private enum Keys {
    case named(String)
    case matching(Set<String>)
  }

  /// What a schema says of the members of a value.
  private struct Members {
    let part: Part
    let properties: [String: JSON]
    let patterns: [JSON.Member]
    let additional: JSON?
    let unevaluated: JSON?
  }

  /// The members of a keyword that is an object; none where it is absent.
  func members(_ part: Part, _ keyword: String) throws(StructuredOutputError) -> [JSON.Member] {
    guard let value = schemas[part.schema].value[keyword] else { return [] }
    guard case .object(let members) = value else {
      throw failure(schemas[part.schema].pointer, "\(keyword) must be an object.")
    }
    return members
  }

  /// The names that a value has, each once.
  private func required(_ all: Conjunction) throws(StructuredOutputError) -> [String] {
    var seen: Set<[UInt8]> = []
    var result: [String] = []
    for part in all.keywords {
      guard let value = schemas[part.schema].value["required"] else { continue }
      let names = value.arrayValue?.map(\.stringValue)
      guard let names, !names.contains(nil) else {
        throw failure(schemas[part.schema].pointer, "required must be an array of names.")
      }
      result += names.compactMap(\.self).filter { seen.insert(Array($0.utf8)).inserted }
    }
    for part in all.present {
      guard case .present(let names) = part.kind else { continue }
      result += names.filter { seen.insert(Array($0.utf8)).inserted }
    }
    return result
  }

  mutating func object(_ all: Conjunction) throws(StructuredOutputError) -> Grammar.Node {
    let parts = all.keywords
    let pointer = schemas[all.parts[0].schema].pointer
    guard let (minimum, maximum) = try limits(parts.isEmpty ? all.parts : parts, "minProperties", "maxProperties")
    else {
      return .alternatives([])
    }
    let required = try required(all)
    guard required.count <= Self.maximumNodes else { throw failure(pointer, "there are too many required names.") }
    let absent = Set(all.absent.compactMap { if case .absent(let key) = $0.kind { key } else { nil } })
    var names: [String] = []
    var known: Set<[UInt8]> = []
    for part in parts {
      for member in try members(part, "properties") where known.insert(Array(member.key.utf8)).inserted {
        names.append(member.key)
      }
    }
    let named = known
    for key in required where known.insert(Array(key.utf8)).inserted { names.append(key) }
    let others = try keyNames(parts)
    if let list = others.names {
      // The names that a schema of names lists come after those of the properties.
      names += list.filter { known.insert(Array($0.utf8)).inserted }
    }
    var patterns: [String] = []
    for part in parts {
      patterns += try members(part, "patternProperties").map(\.key).filter { !patterns.contains($0) }
    }
    guard patterns.count <= 8 else {
      throw failure(pointer, "more than 8 patternProperties for one value are not supported.")
    }
    for pattern in patterns { _ = try automaton(pattern: pattern, pointer) }
    // Each name is read by each pattern.
    try take(patterns.count * names.reduce(0) { $0 + $1.utf8.count } / 100, at: pointer)

    let requiredKeys = Set(required.map { Array($0.utf8) })
    let given = try parts.map { (part) throws(StructuredOutputError) in
      let schema = schemas[part.schema].value
      return Members(
        part: part,
        properties: Dictionary(try members(part, "properties").map { ($0.key, $0.value) }) { first, _ in first },
        patterns: try members(part, "patternProperties"), additional: schema["additionalProperties"],
        unevaluated: schema["unevaluatedProperties"])
    }
    try take(names.count * (1 + parts.count), at: pointer)
    var properties: [Grammar.ObjectNode.Property] = []
    for name in names {
      let key = Array(name.utf8)
      let isRequired = requiredKeys.contains(key)
      let isAllowed = !absent.contains(name) && others.allow(name)
      if isRequired && parts.count == 1 && !named.contains(key),
        schemas[parts[0].schema].value["additionalProperties"] == .bool(false), patterns.isEmpty
      {
        throw failure(pointer, "\(JSON.quoted(name)) is required, but not among the properties.")
      }
      // A name that is only listed by a schema of names is one of the other keys.
      let isListed = !named.contains(key) && !isRequired
      guard isAllowed, let value = memberParts(given, .named(name)) ?? (isListed ? closedValue(parts) : [])
      else {
        if isRequired { return .alternatives([]) }
        // It is known, so that it is none of the other keys.
        properties.append(property(name, add(.alternatives([])), isRequired: false))
        continue
      }
      properties.append(property(name, node(value), isRequired: isRequired))
    }
    for name in absent.sorted() where !known.contains(Array(name.utf8)) {
      properties.append(property(name, add(.alternatives([])), isRequired: false))
    }

    var object = Grammar.ObjectNode(properties: properties, additional: nil, minimum: minimum, maximum: maximum)
    if others.names != nil { return .object(object) }
    if patterns.isEmpty && others.automaton == nil {
      let value = memberParts(given, .matching([])) ?? closedValue(parts)
      object.additional = value.flatMap { $0 == [] ? anyValue() : isFalse($0) ? nil : node($0) }
      return .object(object)
    }
    for (keys, matched) in try keyGroups(patterns, others.automaton ?? Self.anyText, names + absent, pointer) {
      guard let value = memberParts(given, .matching(matched)) ?? closedValue(parts), !isFalse(value) else {
        continue
      }
      guard case .automaton(let index) = add(keys.quoted()) else { continue }
      object.groups.append(Grammar.ObjectNode.KeyGroup(automaton: index, value: node(value)))
    }
    return .object(object)
  }

  private func property(
    _ name: String, _ value: Grammar.NodeID, isRequired: Bool
  ) -> Grammar.ObjectNode.Property {
    Grammar.ObjectNode.Property(
      key: Array(name.utf8), spelling: Array((JSON.quoted(name) + ":").utf8), value: value, isRequired: isRequired)
  }

  private func isFalse(_ parts: [Part]) -> Bool { parts.contains { schemas[$0.schema].value == .bool(false) } }

  /// What keys mean that no schema speaks of: anything, where no properties are given; else there are none.
  private func closedValue(_ parts: [Part]) -> [Part]? {
    parts.contains {
      schemas[$0.schema].value["properties"] != nil || schemas[$0.schema].value["patternProperties"] != nil
    } ? nil : []
  }

  /// What the values under some keys meet; nil where no schema speaks of these keys.
  private mutating func memberParts(_ given: [Members], _ keys: Keys) -> [Part]? {
    var result: [Part] = []
    var isSpokenOf = false
    func matches(_ pattern: String) -> Bool {
      switch keys {
      case .named(let name): patterns[pattern]!.matches(JSON.content(name))
      case .matching(let matched): matched.contains(pattern)
      }
    }
    var evaluating: [Bool] = []
    for members in given {
      let id = members.part.schema
      var isNamed = false
      if case .named(let name) = keys, let value = members.properties[name] {
        result.append(Part(schema: schema(value, in: id, "properties", name), kind: .whole))
        isNamed = true
      }
      for member in members.patterns where matches(member.key) {
        result.append(Part(schema: schema(member.value, in: id, "patternProperties", member.key), kind: .whole))
        isNamed = true
      }
      if !isNamed, let additional = members.additional {
        result.append(Part(schema: schema(additional, in: id, "additionalProperties"), kind: .whole))
        isSpokenOf = true
      }
      isSpokenOf = isSpokenOf || isNamed
      evaluating.append(isNamed || members.additional != nil)
    }
    for owner in given {
      guard let value = owner.unevaluated else { continue }
      let isEvaluated = zip(given, evaluating).contains { members, evaluates in
        members.part.owners.contains(owner.part.schema)
          && (evaluates || members.part.schema != owner.part.schema && members.unevaluated != nil)
      }
      if isEvaluated { continue }
      result.append(Part(schema: schema(value, in: owner.part.schema, "unevaluatedProperties"), kind: .whole))
      isSpokenOf = true
    }
    return isSpokenOf ? result : nil
  }

  /// What `propertyNames` says.
  private struct KeyNames {
    /// All names, where they are listed.
    var names: [String]?
    /// The contents of the keys, where they are restricted otherwise.
    var automaton: Automaton?
    private let known: Set<String>

    init(names: [String]? = nil, automaton: Automaton? = nil) {
      self.names = names
      self.automaton = automaton
      known = Set(names ?? [])
    }

    func allow(_ name: String) -> Bool {
      if names != nil { return known.contains(name) }
      return automaton?.matches(JSON.content(name)) ?? true
    }
  }

  private mutating func keyNames(_ parts: [Part]) throws(StructuredOutputError) -> KeyNames {
    var schemas: [Part] = []
    for part in parts {
      guard let names = self.schemas[part.schema].value["propertyNames"] else { continue }
      schemas.append(Part(schema: schema(names, in: part.schema, "propertyNames"), kind: .whole))
    }
    if schemas.isEmpty { return KeyNames() }
    let pointer = self.schemas[schemas[0].schema].pointer
    let all = try expand(schemas)
    if all.isEmpty { return KeyNames(names: []) }
    let lists = all.keywords.compactMap { part -> (schema: SchemaID, values: [JSON])? in
      let value = self.schemas[part.schema].value
      return (value["const"].map { [$0] } ?? value["enum"]?.arrayValue).map { (part.schema, $0) }
    }
    if let list = lists.first {
      var names: [String] = []
      var seen: Set<String> = []
      for value in list.values {
        guard let name = value.stringValue, seen.insert(name).inserted else { continue }
        if try meets(value, all, listedBy: list.schema) { names.append(name) }
      }
      guard names.count <= Self.maximumNodes else { throw failure(pointer, "there are too many names.") }
      return KeyNames(names: names)
    }
    guard all.choices.isEmpty, all.nots.isEmpty else {
      throw failure(pointer, "propertyNames with a choice or a not is not supported.")
    }
    for part in all.keywords {
      if let types = try types(part.schema), !types.contains("string") { return KeyNames(names: []) }
    }
    guard let (minimum, maximum) = try limits(all.keywords, "minLength", "maxLength") else {
      return KeyNames(names: [])
    }
    var automaton = try stringAutomaton(all.keywords, minimum, maximum)
    if automaton == nil && (minimum > 0 || maximum < Int32.max) {
      automaton = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
        try Self.anyText.withLength(
          Int(minimum), maximum == Int32.max ? nil : Int(maximum), character: Self.character, &budget)
      }
    }
    return KeyNames(automaton: automaton)
  }

  /// The keys that are not named, by the patterns that they match.
  private mutating func keyGroups(
    _ patterns: [String], _ keys: Automaton, _ names: [String], _ pointer: String
  ) throws(StructuredOutputError) -> [(keys: Automaton, matched: Set<String>)] {
    let others = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
      let texts = names.map { JSON.content($0) }
      return try keys.subtracting(Automaton(texts: texts, &budget), &budget)
    }
    var groups: [(keys: Automaton, matched: Set<String>)] = [(others, [])]
    for pattern in patterns {
      let automaton = self.patterns[pattern]!
      var next: [(keys: Automaton, matched: Set<String>)] = []
      for group in groups {
        let inside = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
          try group.keys.intersection(automaton, &budget)
        }
        let outside = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
          try group.keys.subtracting(automaton, &budget)
        }
        next += [(inside, group.matched.union([pattern])), (outside, group.matched)].filter { !$0.0.isEmpty }
      }
      groups = next
    }
    return groups
  }
}
