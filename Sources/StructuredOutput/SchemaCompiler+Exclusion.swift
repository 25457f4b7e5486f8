import Storage

/// `oneOf` and `not`: whether it is certain that no text of a node meets a schema.
extension SchemaCompiler {
  /// Leaves out what a `not` forbids, and refuses what cannot be decided.
  mutating func exclude() throws(StructuredOutputError) {
    // Inner nodes come later than those around them.
    for exclusion in exclusions.reversed() {
      switch exclusion {
      case .not(let schema, let node, let place, let isStrict):
        let choices = leaves(node)
        var kept: [Grammar.NodeID] = []
        for choice in choices {
          if excludes(choice, schema) {
            kept.append(choice)
          } else if isStrict && !isIncluded(choice, schema) {
            throw Self.notPlain(place, "not", "no value of the types beside it meets its schema")
          }
        }
        guard !kept.isEmpty || choices.allSatisfy({ isIncluded($0, schema) }) else {
          throw Self.notPlain(place, "not", "there are values of which none meets its schema")
        }
        nodes[Int(node)] = .alternatives(kept)
      case .others: break
      }
    }
    for exclusion in exclusions {
      guard case .others(let schemas, let nodes, let place) = exclusion else { continue }
      let isDecided = nodes.indices.allSatisfy { index in
        schemas.indices.allSatisfy { $0 == index || excludes(nodes[index], schemas[$0]) }
      }
      if isDecided { continue }
      throw StructuredOutputError(
        place: place,
        reason: "oneOf is supported where no value meets two of its schemas, which is not plain here. Use anyOf.")
    }
  }

  private static func notPlain(_ place: String, _ keyword: String, _ condition: String) -> StructuredOutputError {
    StructuredOutputError(
      place: place, reason: "\(keyword) is supported where \(condition), which is not plain here.")
  }

  /// The nodes that alternatives lead to.
  private func leaves(_ id: Grammar.NodeID) -> [Grammar.NodeID] {
    var result: [Grammar.NodeID] = []
    var seen: Set<Grammar.NodeID> = []
    var open = [id]
    while let next = open.popLast() {
      guard seen.insert(next).inserted else { continue }
      guard case .alternatives(let choices) = nodes[Int(next)] else {
        result.append(next)
        continue
      }
      open += choices.reversed()
    }
    return result
  }

  /// The types of a node's texts; for a number that may have a fraction "number" alone.
  private func kind(_ id: Grammar.NodeID) -> String? {
    switch nodes[Int(id)] {
    case .literal(let text, _):
      switch text.first {
      case UInt8(ascii: "{"): "object"
      case UInt8(ascii: "["): "array"
      case UInt8(ascii: "\""): "string"
      case UInt8(ascii: "n"): "null"
      case UInt8(ascii: "t"), UInt8(ascii: "f"): "boolean"
      default: "number"
      }
    case .string: "string"
    case .automaton(let index):
      automata[Int(index)].firstBytes.contains(UInt8(ascii: "\"")) ? "string" : "number"
    case .number(let format): format.isInteger ? "integer" : "number"
    case .array: "array"
    case .object: "object"
    case .alternatives, .sequence: nil
    }
  }

  /// Whether it is certain that all texts of a node meet a schema.
  private func isIncluded(_ node: Grammar.NodeID, _ id: SchemaID) -> Bool {
    switch schemas[id].value {
    case .bool(let answer): return answer
    case .object(let members):
      guard let kind = kind(node), members.allSatisfy({ $0.key == "type" }) else { return false }
      let names = (try? types(id)) ?? Self.types
      return names.contains(kind) || kind == "integer" && names.contains("number")
    default: return false
    }
  }

  /// Whether it is certain that no text of a node meets a schema. When no comparisons are left, it is not.
  mutating func excludes(_ node: Grammar.NodeID, _ id: SchemaID, depth: Int = 0) -> Bool {
    // Schemas may be recursive.
    guard depth <= 12, budget.allows(CompilationBudget.comparison) else { return false }
    if case .bool(let answer) = schemas[id].value { return !answer }
    guard case .object(let members) = schemas[id].value else { return false }
    switch nodes[Int(node)] {
    case .alternatives(let choices):
      for choice in choices where !excludes(choice, id, depth: depth + 1) { return false }
      return true
    case .literal(let text, _):
      guard let value = try? JSON(parsing: String(decoding: text, as: UTF8.self)) else { return false }
      return isValid(value, id) == false
    default: break
    }
    for member in members where excludes(node, id, member, depth) { return true }
    return false
  }

  /// Whether one keyword of a schema excludes all texts of a node that is of one type.
  private mutating func excludes(
    _ node: Grammar.NodeID, _ id: SchemaID, _ keyword: JSON.Member, _ depth: Int
  ) -> Bool {
    let said = keyword.value
    switch keyword.key {
    case "type":
      guard let kind = kind(node), let names = try? types(id) else { return false }
      return !names.contains {
        $0 == kind || $0 == "number" && kind == "integer" || $0 == "integer" && kind == "number"
      }
    case "const": return !mayBe(node, said)
    case "enum": return said.arrayValue.map { $0.allSatisfy { !mayBe(node, $0) } } ?? false
    case "$ref":
      guard let target = try? target(of: id, "$ref") else { return false }
      return excludes(node, target, depth: depth + 1)
    case "allOf", "anyOf", "oneOf":
      guard let schemas = try? list(id, keyword.key) else { return false }
      var excluded = 0
      for schema in schemas where excludes(node, schema, depth: depth + 1) { excluded += 1 }
      return keyword.key == "allOf" ? excluded > 0 : excluded == schemas.count
    case "not":
      let not = schema(said, in: id, "not")
      return isIncluded(node, not)
    default: break
    }
    switch nodes[Int(node)] {
    case .object(let object): return excludes(object, id, keyword, depth)
    case .array(let array): return excludes(array, id, keyword, depth)
    case .string(let minimum, let maximum):
      switch keyword.key {
      case "minLength": return said.doubleValue.map { Double(maximum) < $0 } ?? false
      case "maxLength": return said.doubleValue.map { Double(minimum) > $0 } ?? false
      default: return false
      }
    case .automaton(let index):
      guard keyword.key == "pattern", kind(node) == "string", let text = said.stringValue,
        let pattern = try? automaton(pattern: text, ""),
        let both = try? automata[Int(index)].intersection(pattern.quoted(), &budget)
      else { return false }
      return both.isEmpty
    case .number(let format):
      guard let bounds = format.bounds, let limit = said.doubleValue else { return false }
      // Limits far apart, so that rounding does not matter.
      let (lower, upper) = (
        Double(bounds.lowerBound) / Double(format.unit), Double(bounds.upperBound) / Double(format.unit)
      )
      switch keyword.key {
      case "minimum": return upper < limit - abs(limit) * 1e-9
      case "exclusiveMinimum": return upper <= limit && abs(limit) < 1e9
      case "maximum": return lower > limit + abs(limit) * 1e-9
      case "exclusiveMaximum": return lower >= limit && abs(limit) < 1e9
      default: return false
      }
    default: return false
    }
  }

  /// Whether a value may be among the texts of a node that is of one type.
  private func mayBe(_ node: Grammar.NodeID, _ value: JSON) -> Bool {
    switch nodes[Int(node)] {
    case .automaton(let index):
      guard case .string(let text) = value else { return kind(node) == "number" && value.doubleValue != nil }
      return automata[Int(index)].matches(JSON.quoted(text).utf8)
    case .number(let format):
      guard let number = value.doubleValue else { return false }
      return number == number.rounded() || !format.isInteger
    case .string(let minimum, let maximum):
      guard let count = value.stringValue?.unicodeScalars.count else { return false }
      return count >= Int(minimum) && count <= Int(maximum)
    case .array: return value.arrayValue != nil
    case .object: if case .object = value { return true } else { return false }
    case .alternatives, .sequence, .literal: return true
    }
  }

  private mutating func excludes(
    _ object: Grammar.ObjectNode, _ id: SchemaID, _ keyword: JSON.Member, _ depth: Int
  ) -> Bool {
    guard budget.allows(object.properties.count) else { return false }
    let required = object.properties.filter(\.isRequired)
    func mayHave(_ key: String) -> Bool {
      if let property = object.properties.first(where: { $0.key == Array(key.utf8) }) {
        if case .alternatives(let choices) = nodes[Int(property.value)] { return !choices.isEmpty }
        return true
      }
      if object.additional != nil { return true }
      return object.groups.contains { automata[Int($0.automaton)].matches(JSON.quoted(key).utf8) }
    }
    switch keyword.key {
    case "required":
      guard budget.allows((keyword.value.arrayValue?.count ?? 0) * object.properties.count) else { return false }
      return keyword.value.arrayValue?.contains { !mayHave($0.stringValue ?? "") } ?? false
    case "properties":
      for property in required {
        let key = String(decoding: property.key, as: UTF8.self)
        guard let value = keyword.value[key] else { continue }
        if excludes(property.value, schema(value, in: id, "properties", key), depth: depth + 1) { return true }
      }
      return false
    case "additionalProperties", "unevaluatedProperties":
      let own = schemas[id].value
      guard keyword.value == .bool(false), own["patternProperties"] == nil else { return false }
      // What another keyword of the schema evaluates is not known here.
      if keyword.key == "unevaluatedProperties",
        ["$ref", "allOf", "anyOf", "oneOf", "if", "$dynamicRef", "dependentSchemas"].contains(where: { own[$0] != nil })
      {
        return false
      }
      return required.contains { own["properties"]?[String(decoding: $0.key, as: UTF8.self)] == nil }
    case "minProperties":
      let most =
        object.additional == nil && object.groups.isEmpty
        ? min(object.properties.count, Int(object.maximum)) : Int(object.maximum)
      return keyword.value.doubleValue.map { Double(most) < $0 } ?? false
    case "maxProperties":
      return keyword.value.doubleValue.map { Double(max(required.count, Int(object.minimum))) > $0 } ?? false
    case "dependentRequired":
      guard case .object(let lists) = keyword.value else { return false }
      return lists.contains { list in
        required.contains { $0.key == Array(list.key.utf8) }
          && list.value.arrayValue?.contains { !mayHave($0.stringValue ?? "") } ?? false
      }
    default: return false
    }
  }

  private mutating func excludes(
    _ array: Grammar.ArrayNode, _ id: SchemaID, _ keyword: JSON.Member, _ depth: Int
  ) -> Bool {
    switch keyword.key {
    case "minItems": return keyword.value.doubleValue.map { Double(array.maximum) < $0 } ?? false
    case "maxItems": return keyword.value.doubleValue.map { Double(array.minimum) > $0 } ?? false
    case "items", "prefixItems":
      let prefix = schemas[id].value["prefixItems"]?.arrayValue ?? []
      for index in 0..<min(Int(array.minimum), 64) {
        let item: SchemaID
        if index < prefix.count {
          item = schema(prefix[index], in: id, "prefixItems", String(index))
        } else if let items = schemas[id].value["items"] {
          item = schema(items, in: id, "items")
        } else {
          return false
        }
        if excludes(array.item(index), item, depth: depth + 1) { return true }
      }
      return false
    default: return false
    }
  }

  // MARK: Items that differ

  /// Makes automata of the items of arrays with `uniqueItems`.
  mutating func completeUniqueArrays() throws(StructuredOutputError) {
    for (pointer, node, dropsOthers) in uniqueArrays {
      let place = place + pointer
      guard case .array(var array) = nodes[Int(node)] else { continue }
      var items: [Int32?] = []
      // The more items there must be, the more texts each must have.
      for index in 0...array.prefix.count {
        let id = index < array.prefix.count ? array.prefix[index] : array.items
        let automaton = try uniqueItem(id, pointer, dropsOthers: dropsOthers || id == any)
        guard case .automaton(let number) = add(automaton) else {
          items.append(nil)
          continue
        }
        items.append(number)
      }
      func count(_ item: Int32?, _ limit: Int) -> Int? { item.map { automata[Int($0)].textCount(limit: limit) } ?? 0 }
      for index in 0..<array.prefix.count where index < Int(array.minimum) {
        if let count = count(items[index], index), count <= index {
          guard items.allSatisfy({ $0 == items[0] }) else {
            throw Self.notPlain(place, "uniqueItems", "each item has more values than there are items before it")
          }
          nodes[Int(node)] = .alternatives([])
        }
      }
      if Int(array.minimum) > array.prefix.count, let count = count(items.last!, Int(array.minimum)),
        count < Int(array.minimum)
      {
        guard array.prefix.isEmpty else {
          throw Self.notPlain(place, "uniqueItems", "each item has more values than there are items before it")
        }
        nodes[Int(node)] = .alternatives([])
      }
      array.unique = items
      if case .array = nodes[Int(node)] { nodes[Int(node)] = .array(array) }
    }
  }

  /// The texts of an item, each value with one text.
  private mutating func uniqueItem(
    _ id: Grammar.NodeID, _ pointer: String, dropsOthers: Bool
  ) throws(StructuredOutputError) -> Automaton {
    var parts: [Automaton] = []
    var texts: [[UInt8]] = []
    for leaf in leaves(id) {
      switch nodes[Int(leaf)] {
      case .literal(let text, _): texts.append(text)
      case .string(let minimum, let maximum):
        parts.append(
          try limited(pointer) { (budget) throws(AutomatonTooLarge) in
            try Self.anyText.withLength(
              Int(minimum), maximum == Int32.max ? nil : Int(maximum), character: Self.character, &budget
            ).quoted()
          })
      case .automaton(let index):
        let automaton = automata[Int(index)]
        guard kind(leaf) == "string" else {
          throw Self.notPlain(place + pointer, "uniqueItems", "numbers have no multipleOf and limits of usual size")
        }
        parts.append(automaton)
      case .number(let format):
        var range = DecimalRange(isInteger: format.isInteger)
        range.isCanonical = true
        (range.integerDigits, range.fractionDigits) = (Int(format.integerDigits), min(6, Int(format.fractionDigits)))
        if let bounds = format.bounds {
          let limits = [bounds.lowerBound, bounds.upperBound].map { bound in
            DecimalRange.Limit(value: Decimal("\(bound)" + (format.isInteger ? "" : "e-6"))!, isIncluded: true)
          }
          (range.lower, range.upper) = (limits[0], limits[1])
        }
        parts.append(try limited(pointer) { (budget) throws(AutomatonTooLarge) in try range.automaton(&budget) })
      case .array, .object, .alternatives, .sequence:
        guard dropsOthers else {
          throw Self.notPlain(place + pointer, "uniqueItems", "items are strings, numbers or constants")
        }
      }
    }
    return try limited(pointer) { (budget) throws(AutomatonTooLarge) in
      var all = try Automaton(texts: texts, &budget)
      for part in parts { all = try all.union(part, &budget) }
      return all
    }
  }
}
