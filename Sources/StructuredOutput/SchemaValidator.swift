import Storage

/// Whether a value that is given is valid: for values beside other keywords.
extension SchemaCompiler {
  /// Whether a value meets a schema; nil where that cannot be decided.
  ///
  /// - Parameter isListed: whether the value comes from the schema's own list of values.
  mutating func isValid(_ value: JSON, _ id: SchemaID, isListed: Bool = false, depth: Int = 0) -> Bool? {
    guard depth < 32, budget.allows(CompilationBudget.comparison) else { return nil }
    let schema = schemas[id].value
    if case .bool(let answer) = schema { return answer }
    guard case .object(let members) = schema else { return nil }
    var result: Bool? = true
    let list = isListed ? (schema["const"] == nil ? "enum" : "const") : nil
    for member in members where member.key != list {
      let answer = isValid(value, id, member, depth)
      // What is certainly wrong is wrong, whatever is not known.
      if answer == false { return false }
      if answer == nil { result = nil }
    }
    return result
  }

  private mutating func all(
    _ values: [(JSON, SchemaID)], depth: Int
  ) -> Bool? {
    var result: Bool? = true
    for (value, id) in values {
      guard let answer = isValid(value, id, depth: depth + 1) else {
        result = nil
        continue
      }
      if !answer { return false }
    }
    return result
  }

  private mutating func isValid(_ value: JSON, _ id: SchemaID, _ keyword: JSON.Member, _ depth: Int) -> Bool? {
    let said = keyword.value
    func compare(_ isRight: (Int) -> Bool) -> Bool? {
      guard let number = Decimal(value) else { return true }
      return Decimal(said).map { isRight(number.compared(to: $0)) }
    }
    func count(_ number: Int?, _ isRight: (Double, Double) -> Bool) -> Bool? {
      guard let number else { return true }
      return said.doubleValue.map { isRight(Double(number), $0) }
    }
    let object: [JSON.Member]? = if case .object(let members) = value { members } else { nil }
    switch keyword.key {
    case "type":
      return (said.arrayValue ?? [said]).contains { value.isOfType($0.stringValue ?? "") }
    case "const": return budget.allows(value.size / 4) ? value.isSame(as: said) : nil
    case "enum":
      guard let list = said.arrayValue, budget.allows(list.count * (1 + value.size / 4)) else { return nil }
      return list.contains { value.isSame(as: $0) }
    case "minimum": return compare { $0 >= 0 }
    case "maximum": return compare { $0 <= 0 }
    case "exclusiveMinimum": return compare { $0 > 0 }
    case "exclusiveMaximum": return compare { $0 < 0 }
    case "multipleOf":
      guard let number = value.doubleValue, let step = said.doubleValue else {
        return value.doubleValue == nil ? true : nil
      }
      // Exact for whole numbers only.
      return number == number.rounded() && step == step.rounded() && step > 0
        ? number.truncatingRemainder(dividingBy: step) == 0 : nil
    case "minLength": return count(value.stringValue?.unicodeScalars.count, >=)
    case "maxLength": return count(value.stringValue?.unicodeScalars.count, <=)
    case "pattern":
      guard let text = value.stringValue else { return true }
      guard let pattern = said.stringValue, let automaton = try? automaton(pattern: pattern, "") else { return nil }
      return automaton.matches(JSON.content(text))
    case "format":
      guard let text = value.stringValue, let automaton = StringFormat.automaton(said.stringValue ?? "") else {
        return true
      }
      // Some texts of a format are missing from the automaton.
      return automaton.matches(JSON.content(text)) ? true : nil
    case "minItems": return count(value.arrayValue?.count, >=)
    case "maxItems": return count(value.arrayValue?.count, <=)
    case "uniqueItems":
      guard said == .bool(true), let values = value.arrayValue else { return true }
      guard budget.allows(values.count * value.size / 4) else { return nil }
      return !values.indices.contains { index in values[..<index].contains { $0.isSame(as: values[index]) } }
    case "prefixItems":
      guard let values = value.arrayValue else { return true }
      guard let list = said.arrayValue else { return nil }
      return all(
        zip(values, list).enumerated().map { ($1.0, schema($1.1, in: id, "prefixItems", String($0))) }, depth: depth)
    case "items":
      guard let values = value.arrayValue else { return true }
      let items = schema(said, in: id, "items")
      let first = schemas[id].value["prefixItems"]?.arrayValue?.count ?? 0
      return all(values.dropFirst(first).map { ($0, items) }, depth: depth)
    case "minProperties": return count(object?.count, >=)
    case "maxProperties": return count(object?.count, <=)
    case "required":
      guard object != nil else { return true }
      return said.arrayValue?.allSatisfy { value[$0.stringValue ?? ""] != nil }
    case "dependentRequired":
      guard object != nil else { return true }
      guard case .object(let lists) = said else { return nil }
      return lists.allSatisfy { list in
        value[list.key] == nil || (list.value.arrayValue ?? []).allSatisfy { value[$0.stringValue ?? ""] != nil }
      }
    case "properties":
      guard let object else { return true }
      return all(
        object.compactMap { member in
          said[member.key].map { (member.value, schema($0, in: id, "properties", member.key)) }
        },
        depth: depth)
    case "additionalProperties":
      guard let object else { return true }
      guard schemas[id].value["patternProperties"] == nil else { return nil }
      let properties = schemas[id].value["properties"]
      let other = schema(said, in: id, "additionalProperties")
      return all(object.filter { properties?[$0.key] == nil }.map { ($0.value, other) }, depth: depth)
    case "propertyNames":
      guard let object else { return true }
      let names = schema(said, in: id, "propertyNames")
      return all(object.map { (.string($0.key), names) }, depth: depth)
    case "allOf", "anyOf", "oneOf":
      guard let list = try? list(id, keyword.key) else { return nil }
      var answers: [Bool?] = []
      for choice in list { answers.append(isValid(value, choice, depth: depth + 1)) }
      switch keyword.key {
      case "allOf": return answers.contains(false) ? false : answers.contains(nil) ? nil : true
      case "anyOf": return answers.contains(true) ? true : answers.contains(nil) ? nil : false
      default:
        if answers.count(where: { $0 == true }) > 1 { return false }
        return answers.contains(nil) ? nil : answers.contains(true)
      }
    case "not": return isValid(value, schema(said, in: id, "not"), depth: depth + 1).map { !$0 }
    case "$ref":
      guard let target = try? target(of: id, "$ref") else { return nil }
      return isValid(value, target, depth: depth + 1)
    case "if":
      guard let isMet = isValid(value, schema(said, in: id, "if"), depth: depth + 1) else { return nil }
      let key = isMet ? "then" : "else"
      return schemas[id].value[key].map { isValid(value, schema($0, in: id, key), depth: depth + 1) } ?? true
    case "patternProperties", "dependentSchemas", "unevaluatedProperties":
      return object == nil ? true : nil
    case "contains", "unevaluatedItems": return value.arrayValue == nil ? true : nil
    case "$dynamicRef": return nil
    // Annotations, and what belongs to the keywords above.
    default: return true
    }
  }
}

extension JSON {
  /// Whether two values are one: objects in any order, 1 and 1.0.
  package func isSame(as other: JSON) -> Bool {
    switch (self, other) {
    case (.object(let members), .object(let others)):
      if members.count != others.count { return false }
      let known = Dictionary(others.map { ($0.key, $0.value) }) { first, _ in first }
      return members.allSatisfy { member in known[member.key].map { member.value.isSame(as: $0) } ?? false }
    case (.array(let values), .array(let others)):
      return values.count == others.count && zip(values, others).allSatisfy { $0.isSame(as: $1) }
    case (.integer, .number), (.number, .integer), (.number, .number):
      return doubleValue == other.doubleValue
    case (.string(let text), .string(let second)): return text.utf8.elementsEqual(second.utf8)
    default: return self == other
    }
  }
}
