import Storage

/// Strings, numbers and arrays that meet several schemas.
extension SchemaCompiler {
  /// The whole number in a member, 0 or above.
  func limit(_ id: SchemaID, _ key: String) throws(StructuredOutputError) -> Int32? {
    guard let value = schemas[id].value[key] else { return nil }
    guard let number = value.doubleValue, number >= 0, number == number.rounded() else {
      throw failure(schemas[id].pointer, "\(key) must be a whole number, 0 or above.")
    }
    return Int32(min(number, Double(Int32.max)))
  }

  /// The largest of all minima and the least of all maxima; nil if nothing lies between.
  func limits(
    _ parts: [Part], _ minimumKey: String, _ maximumKey: String
  ) throws(StructuredOutputError) -> (minimum: Int32, maximum: Int32)? {
    var (minimum, maximum): (Int32, Int32) = (0, Int32.max)
    for part in parts {
      minimum = max(minimum, try limit(part.schema, minimumKey) ?? 0)
      maximum = min(maximum, try limit(part.schema, maximumKey) ?? Int32.max)
    }
    guard minimum <= maximum, minimum < Int32.max else {
      if parts.count > 1 { return nil }
      throw failure(schemas[parts[0].schema].pointer, "\(minimumKey) is above \(maximumKey), or too large.")
    }
    return (minimum, maximum)
  }

  // MARK: Strings

  mutating func string(_ parts: [Part]) throws(StructuredOutputError) -> Grammar.Node {
    guard let (minimum, maximum) = try limits(parts, "minLength", "maxLength") else { return .alternatives([]) }
    guard let automaton = try stringAutomaton(parts, minimum, maximum) else {
      return .string(minimum: minimum, maximum: maximum)
    }
    return add(automaton.quoted())
  }

  /// The name of a format that restricts strings; nil where there is none.
  func format(_ id: SchemaID) throws(StructuredOutputError) -> String? {
    guard let name = schemas[id].value["format"]?.stringValue else { return nil }
    guard !StringFormat.unsupported.contains(name) else {
      throw failure(schemas[id].pointer, "the format \(JSON.quoted(name)) is not supported.")
    }
    return StringFormat.patterns[name] == nil ? nil : name
  }

  /// The contents of strings by `pattern` and `format`, with a number of characters; nil where neither is given.
  mutating func stringAutomaton(
    _ parts: [Part], _ minimum: Int32, _ maximum: Int32
  ) throws(StructuredOutputError) -> Automaton? {
    var automata: [Automaton] = []
    var key: [String] = []
    var pointer = ""
    for part in parts {
      let schema = schemas[part.schema]
      if let pattern = schema.value["pattern"] {
        guard let text = pattern.stringValue else { throw failure(schema.pointer, "pattern must be a text.") }
        automata.append(try automaton(pattern: text, schema.pointer))
        key.append("pattern " + text)
        pointer = schema.pointer
      }
      if let format = try format(part.schema), let automaton = StringFormat.automaton(format) {
        automata.append(automaton)
        key.append("format " + format)
        pointer = schema.pointer
      }
    }
    guard let first = automata.first else { return nil }
    key += [String(minimum), String(maximum)]
    if let known = contents[key] { return known }
    let found = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
      var all = first
      for automaton in automata.dropFirst() { all = try all.intersection(automaton, &budget) }
      return try all.withLength(
        Int(minimum), maximum == Int32.max ? nil : Int(maximum), character: Self.character, &budget)
    }
    contents[key] = found
    return found
  }

  /// The contents of strings in which a pattern is found.
  mutating func automaton(pattern: String, _ pointer: String) throws(StructuredOutputError) -> Automaton {
    if let known = patterns[pattern] { return known }
    let expression: RegularExpression
    do throws(RegularExpressionError) { expression = try .containing(pattern) } catch {
      throw failure(pointer, "the pattern \(JSON.quoted(pattern)) has \(error.reason), which is not supported.")
    }
    let found = try limited(pointer) { (budget) throws(AutomatonTooLarge) in
      try Automaton(expression, .jsonString, &budget)
    }
    patterns[pattern] = found
    return found
  }

  /// Makes an automaton, or says that it is too large.
  mutating func limited(
    _ pointer: String, _ make: (inout CompilationBudget) throws(AutomatonTooLarge) -> Automaton
  ) throws(StructuredOutputError) -> Automaton {
    do throws(AutomatonTooLarge) { return try make(&budget) } catch {
      throw failure(
        pointer, "what is said of texts or numbers here takes too many states. Say less, or smaller counts.")
    }
  }

  /// Texts of one character, and of any number.
  static let character = { () -> Automaton in
    var budget = CompilationBudget()
    return try! Automaton(.set(.all), .jsonString, &budget)
  }()
  static let anyText = { () -> Automaton in
    var budget = CompilationBudget()
    return try! Automaton(.anything, .jsonString, &budget)
  }()

  // MARK: Numbers

  mutating func number(_ parts: [Part], isInteger: Bool) throws(StructuredOutputError) -> Grammar.Node {
    let multiples = parts.filter { schemas[$0.schema].value["multipleOf"] != nil }
    if multiples.isEmpty, let format = try plainNumber(parts, isInteger: isInteger) { return .number(format) }
    var range = DecimalRange(isInteger: isInteger)
    var pointer = schemas[parts.first?.schema ?? 0].pointer
    for part in parts {
      let schema = schemas[part.schema]
      for key in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
        guard let value = schema.value[key] else { continue }
        let isLower = key.hasSuffix("inimum")
        guard let limit = Decimal(value.rounded(up: isLower)) else {
          throw failure(schema.pointer, "\(key) must be a number.")
        }
        range.restrict(isLower: isLower, .init(value: limit, isIncluded: !key.hasPrefix("exclusive")))
        pointer = schema.pointer
      }
    }
    guard range.chooseDigits() else {
      throw failure(pointer, "limits of more than \(DecimalRange.maximumDigits) digits are not supported.")
    }
    var result: Automaton?
    for part in multiples {
      let schema = schemas[part.schema]
      guard let step = schema.value["multipleOf"].flatMap({ Decimal($0) }), !step.isZero, !step.isNegative else {
        throw failure(schema.pointer, "multipleOf must be a number above 0.")
      }
      var multiple = range
      guard multiple.setMultiple(of: step) else {
        throw failure(
          schema.pointer, "multipleOf is supported up to 6000 units of its last decimal place.")
      }
      let automaton = try limited(schema.pointer) { (budget) throws(AutomatonTooLarge) in
        try multiple.automaton(&budget)
      }
      result = try limited(schema.pointer) { (budget) throws(AutomatonTooLarge) in
        try result?.intersection(automaton, &budget) ?? automaton
      }
    }
    let all: Automaton
    if let result {
      all = result
    } else {
      all = try limited(pointer) { (budget) throws(AutomatonTooLarge) in try range.automaton(&budget) }
    }
    if all.isEmpty && parts.count == 1 { throw failure(pointer, "no number lies within its limits.") }
    return add(all)
  }

  /// Limits as far as they can be kept in whole numbers; nil where they need more digits.
  private func plainNumber(_ parts: [Part], isInteger: Bool) throws(StructuredOutputError) -> NumberFormat? {
    var format = NumberFormat(isInteger: isInteger)
    var bounds = -NumberFormat.largest...NumberFormat.largest
    for part in parts {
      let schema = schemas[part.schema]
      for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
        guard let value = schema.value[key] else { continue }
        guard value.doubleValue != nil else { throw failure(schema.pointer, "\(key) must be a number.") }
        let isLower = key.hasSuffix("inimum")
        guard let bound = bound(value, key, isLower: isLower, unit: format.unit) else { return nil }
        let lower = isLower ? max(bounds.lowerBound, bound) : bounds.lowerBound
        let upper = isLower ? bounds.upperBound : min(bounds.upperBound, bound)
        guard lower <= upper else { return nil }
        bounds = lower...upper
        format.bounds = bounds
      }
    }
    return format
  }

  /// The least or the largest number of units that a limit allows; nil where that is no whole number of them. Limits beyond
  /// all numbers that are written, such as those of 64 bits, come out beyond them and so restrict nothing, or leave nothing.
  private func bound(_ value: JSON, _ key: String, isLower: Bool, unit: Int) -> Int? {
    let beyond = NumberFormat.largest + 1
    let inwards = !key.hasPrefix("exclusive") ? 0 : isLower ? 1 : -1
    if let whole = value.integerValue {
      let (scaled, isTooLarge) = whole.multipliedReportingOverflow(by: unit)
      return isTooLarge || scaled.magnitude >= beyond ? beyond * whole.signum() : scaled + inwards
    }
    let limit = value.doubleValue!
    guard abs(limit) < Double(beyond / unit) else { return limit < 0 ? -beyond : beyond }
    // It has a fraction from here on.
    if unit == 1 { return Int(limit.rounded(isLower ? .up : .down)) }
    // Up to here every number of six decimals is a Double of its own.
    guard abs(limit) <= 1e9 else { return nil }
    let scaled = (limit * 1e6).rounded()
    return scaled / 1e6 == limit ? Int(scaled) + inwards : nil
  }

  // MARK: Arrays

  mutating func array(_ all: Conjunction) throws(StructuredOutputError) -> Grammar.Node {
    let parts = all.keywords
    guard var (minimum, maximum) = try limits(parts, "minItems", "maxItems") else { return .alternatives([]) }
    var prefixCount = 0
    for part in parts where schemas[part.schema].value["prefixItems"] != nil {
      prefixCount = max(prefixCount, try listValues(part.schema, "prefixItems").count)
    }
    // Items that `contains` asks for come first, after those of `prefixItems`.
    var (contained, excluded): ([(schema: SchemaID, said: Part)], [SchemaID]) = ([], [])
    for part in parts {
      guard let contains = schemas[part.schema].value["contains"] else { continue }
      let schema = schema(contains, in: part.schema, "contains")
      let least = try limit(part.schema, "minContains") ?? 1
      let most = try limit(part.schema, "maxContains")
      if let most, most < least { return .alternatives([]) }
      guard least <= 256 else {
        throw failure(schemas[part.schema].pointer, "a minContains above 256 is not supported.")
      }
      contained += repeatElement((schema: schema, said: part), count: Int(least))
      if let most, most < maximum { excluded.append(schema) }
    }
    let named = prefixCount
    if !contained.isEmpty {
      prefixCount += contained.count
      minimum = max(minimum, Int32(prefixCount))
    }
    guard prefixCount <= Self.maximumNodes else {
      throw failure(schemas[parts[0].schema].pointer, "there are too many items.")
    }
    var prefix: [Grammar.NodeID] = []
    for index in 0..<prefixCount {
      let own = index < named ? nil : contained[index - named]
      var items = itemParts(parts, at: index, evaluatedBy: own?.said)
      if let own { items.append(Part(schema: own.schema, kind: .whole)) }
      for schema in excluded where own?.schema != schema { items.append(Part(schema: schema, kind: .not)) }
      prefix.append(node(items))
    }
    var rest = itemParts(parts, at: Int.max)
    for schema in excluded { rest.append(Part(schema: schema, kind: .not)) }
    // Like the properties of an object: where the first items are given, there are no others, unless they are spoken of.
    let isClosed = named > 0 && contained.isEmpty && minimum <= Int32(named) && rest.isEmpty
    if isClosed { maximum = min(maximum, Int32(named)) }
    guard minimum <= maximum else { return .alternatives([]) }
    let items = isClosed ? add(.alternatives([])) : node(rest)
    let array = Grammar.ArrayNode(prefix: prefix, items: items, minimum: minimum, maximum: maximum)
    guard let unique = parts.first(where: { schemas[$0.schema].value["uniqueItems"] == .bool(true) }), maximum > 1
    else {
      return .array(array)
    }
    // Completed when the nodes of the items exist.
    let node = add(.array(array))
    uniqueArrays.append((schemas[unique.schema].pointer, node, rest.isEmpty))
    return .alternatives([node])
  }

  /// What the item at an index meets; a large index stands for all after `prefixItems`.
  ///
  /// - Parameter contains: the schema whose `contains` the item meets.
  private mutating func itemParts(_ parts: [Part], at index: Int, evaluatedBy contains: Part? = nil) -> [Part] {
    var result: [Part] = []
    func prefix(_ part: Part) -> [JSON] { schemas[part.schema].value["prefixItems"]?.arrayValue ?? [] }
    for part in parts {
      let schema = schemas[part.schema].value
      if let list = schema["prefixItems"]?.arrayValue, index < list.count {
        let id = self.schema(list[index], in: part.schema, "prefixItems", String(index))
        result.append(Part(schema: id, kind: .whole))
      } else if let items = schema["items"] {
        result.append(Part(schema: self.schema(items, in: part.schema, "items"), kind: .whole))
      }
    }
    for owner in parts where schemas[owner.schema].value["unevaluatedItems"] != nil {
      let isEvaluated = parts.contains { part in
        guard part.owners.contains(owner.schema) else { return false }
        let schema = schemas[part.schema].value
        return schema["items"] != nil || prefix(part).count > index
          || part.schema != owner.schema && schema["unevaluatedItems"] != nil
      }
      if !isEvaluated, contains?.owners.contains(owner.schema) != true {
        let value = schemas[owner.schema].value["unevaluatedItems"]!
        result.append(Part(schema: schema(value, in: owner.schema, "unevaluatedItems"), kind: .whole))
      }
    }
    return result
  }
}

extension JSON {
  /// The number, or where its last digits may not be those of the request, one just beyond it.
  fileprivate func rounded(up: Bool) -> JSON {
    guard holdsLargeInteger, let value = doubleValue, value.ulp >= 1 else { return self }
    return .number(up ? value.nextUp.nextUp : value.nextDown.nextDown)
  }
}

extension DecimalRange {
  static let maximumDigits = 60

  mutating func restrict(isLower: Bool, _ limit: Limit) {
    guard let other = isLower ? lower : upper else {
      if isLower { lower = limit } else { upper = limit }
      return
    }
    let order = limit.value.compared(to: other.value)
    let isTighter = isLower ? order > 0 : order < 0
    if isTighter || order == 0 && !limit.isIncluded {
      if isLower { lower = limit } else { upper = limit }
    }
  }

  /// Takes as many digits as the limits need; false where that is too many.
  mutating func chooseDigits() -> Bool {
    // A limit that no number of the usual digits reaches restricts nothing.
    let usual = Decimal("1000000000000000000")!
    if let limit = upper, limit.value.compared(to: usual) >= 0 {
      upper = lower.map { $0.value.compared(to: usual) >= 0 } == true ? upper : nil
    }
    if let limit = lower, limit.value.negated.compared(to: usual) >= 0 {
      lower = upper.map { $0.value.negated.compared(to: usual) >= 0 } == true ? lower : nil
    }
    for limit in [lower, upper].compactMap(\.self) {
      // One digit more, so that an excluded limit has a neighbour.
      integerDigits = max(integerDigits, limit.value.integer.count + 1)
      fractionDigits = max(fractionDigits, limit.value.fraction.count + 1)
    }
    return integerDigits <= Self.maximumDigits && fractionDigits <= Self.maximumDigits
  }

  /// Restricts the numbers to multiples of one; false where it has too many digits.
  mutating func setMultiple(of step: Decimal) -> Bool {
    let digits = (step.integer + step.fraction).drop { $0 == 0 }
    guard step.fraction.count <= 18, digits.count <= 9 else { return false }
    divisor = digits.reduce(0) { $0 * 10 + Int($1) }
    decimals = step.fraction.count
    fractionDigits = decimals
    // 15 digits every reader holds exactly.
    if !isInteger && decimals > 0 { integerDigits = min(integerDigits, max(1, 15 - decimals)) }
    if isInteger {
      // Of the factors of ten nothing is left for whole numbers.
      for factor in [2, 5] {
        for _ in 0..<decimals where divisor % factor == 0 { divisor /= factor }
      }
      decimals = 0
    }
    if divisor > 1000 { integerDigits = min(integerDigits, max(digits.count + 1, lowerDigits)) }
    return divisor <= 6000
  }

  private var lowerDigits: Int { max(lower?.value.integer.count ?? 1, upper?.value.integer.count ?? 1) }
}

extension Decimal {
  /// −1 where it is less than the other one, 0 where it is equal, 1 where it is greater.
  func compared(to other: Decimal) -> Int {
    if isNegative != other.isNegative { return isNegative ? -1 : 1 }
    let order: Int
    if integer.count != other.integer.count {
      order = integer.count < other.integer.count ? -1 : 1
    } else if integer != other.integer {
      order = integer.lexicographicallyPrecedes(other.integer) ? -1 : 1
    } else {
      order = fraction == other.fraction ? 0 : fraction.lexicographicallyPrecedes(other.fraction) ? -1 : 1
    }
    return isNegative ? -order : order
  }
}
