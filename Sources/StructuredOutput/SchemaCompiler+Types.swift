import Storage

/// The schemas that describe a value by its type.
extension SchemaCompiler {
  /// Any value: an alternative of an object, an array, a string, a number and the three words, the object first.
  mutating func anyValue() -> Grammar.NodeID {
    if let any { return any }
    let any = add(.alternatives([]))
    self.any = any
    let choices = [
      add(.object(Grammar.ObjectNode(properties: [], additional: any))),
      add(.array(items: any, minimum: 0, maximum: Int32.max)),
      add(.string(minimum: 0, maximum: TextState.unlimited)), add(.number(NumberFormat(isInteger: false))),
      literal("true"), literal("false"), literal("null"),
    ]
    nodes[Int(any)] = .alternatives(choices)
    return any
  }

  /// A schema without `type` is of those types that its keywords belong to.
  mutating func compileTypes(
    _ schema: JSON, _ keywords: [String], _ pointer: String
  ) throws(StructuredOutputError) -> Grammar.NodeID {
    let inferred = Self.typed.filter { $0.value.contains(where: keywords.contains) }.keys.sorted()
    let types = try types(schema, pointer) ?? inferred
    if types.isEmpty { return schema["type"] == nil ? anyValue() : add(.alternatives([])) }
    var choices: [Grammar.NodeID] = []
    for type in types where !(type == "integer" && types.contains("number")) {
      switch type {
      case "object": choices.append(try object(schema, pointer))
      case "array": choices.append(try array(schema, pointer))
      case "string":
        let (minimum, maximum) = try limits(schema, "minLength", "maxLength", pointer)
        choices.append(add(.string(minimum: minimum, maximum: maximum)))
      case "number", "integer":
        choices.append(add(.number(try number(schema, isInteger: type == "integer", pointer))))
      case "boolean": choices += [literal("true"), literal("false")]
      default: choices.append(literal("null"))
      }
    }
    return choices.count == 1 ? choices[0] : add(.alternatives(choices))
  }

  private func limits(
    _ schema: JSON, _ minimumKey: String, _ maximumKey: String, _ pointer: String
  ) throws(StructuredOutputError) -> (Int32, Int32) {
    func limit(_ key: String, _ absent: Int32) throws(StructuredOutputError) -> Int32 {
      guard let value = schema[key] else { return absent }
      guard let number = value.doubleValue, number >= 0, number == number.rounded() else {
        throw failure(pointer, "\(key) must be a whole number, 0 or above.")
      }
      return Int32(min(number, Double(Int32.max)))
    }
    let minimum = try limit(minimumKey, 0)
    let maximum = try limit(maximumKey, Int32.max)
    guard minimum <= maximum, minimum < Int32.max else {
      throw failure(pointer, "\(minimumKey) is above \(maximumKey), or too large.")
    }
    return (minimum, maximum)
  }

  private mutating func array(_ schema: JSON, _ pointer: String) throws(StructuredOutputError) -> Grammar.NodeID {
    let (minimum, maximum) = try limits(schema, "minItems", "maxItems", pointer)
    let items = try schema["items"].map { items throws(StructuredOutputError) in
      try compile(items, pointer + "/items")
    }
    return add(.array(items: items ?? anyValue(), minimum: minimum, maximum: maximum))
  }

  private mutating func object(_ schema: JSON, _ pointer: String) throws(StructuredOutputError) -> Grammar.NodeID {
    var members: [JSON.Member] = []
    if let properties = schema["properties"] {
      guard case .object(let found) = properties else { throw failure(pointer, "properties must be an object.") }
      members = found
    }
    var required: [String] = []
    if let value = schema["required"] {
      let names = value.arrayValue?.map(\.stringValue)
      guard let names, !names.contains(nil) else { throw failure(pointer, "required must be an array of names.") }
      var seen: Set<String> = []
      required = names.compactMap(\.self).filter { seen.insert($0).inserted }
    }
    guard required.count <= Self.maximumNodes else {
      throw failure(pointer, "there are too many required names.")
    }
    let (requiredKeys, memberKeys) = (Set(required), Set(members.map(\.key)))
    var additional: Grammar.NodeID?
    if let others = schema["additionalProperties"] {
      if others != .bool(false) { additional = try compile(others, pointer + "/additionalProperties") }
    } else if schema["properties"] == nil {
      additional = anyValue()
    }
    var properties: [Grammar.ObjectNode.Property] = []
    func add(_ key: String, _ value: Grammar.NodeID) {
      properties.append(
        Grammar.ObjectNode.Property(
          key: Array(key.utf8), spelling: Array((JSON.quoted(key) + ":").utf8), value: value,
          isRequired: requiredKeys.contains(key)))
    }
    for member in members { add(member.key, try compile(member.value, "\(pointer)/properties/\(member.key)")) }
    for key in required where !memberKeys.contains(key) {
      guard schema["additionalProperties"] != .bool(false) else {
        throw failure(pointer, "\(JSON.quoted(key)) is required, but not among the properties.")
      }
      add(key, additional ?? anyValue())
    }
    return self.add(.object(Grammar.ObjectNode(properties: properties, additional: additional)))
  }

  /// Limits of numbers are kept in whole numbers, so that no rounding can let a wrong one through.
  private func number(
    _ schema: JSON, isInteger: Bool, _ pointer: String
  ) throws(StructuredOutputError) -> NumberFormat {
    var format = NumberFormat(isInteger: isInteger)
    var bounds = -NumberFormat.largest...NumberFormat.largest
    for key in Self.typed["number"]! {
      guard let value = schema[key] else { continue }
      let isLower = key == "minimum" || key == "exclusiveMinimum"
      let bound = try bound(value, key, isLower: isLower, unit: format.unit, pointer)
      let lower = isLower ? max(bounds.lowerBound, bound) : bounds.lowerBound
      let upper = isLower ? bounds.upperBound : min(bounds.upperBound, bound)
      guard lower <= upper else {
        let digits = bound.magnitude > NumberFormat.largest ? " of at most \(format.isInteger ? 18 : 12) digits" : ""
        throw failure(pointer, "no number\(digits) lies within its limits.")
      }
      bounds = lower...upper
      format.bounds = bounds
    }
    return format
  }

  /// The least or the largest number of units that a limit allows. Limits beyond all numbers that are written, such as those
  /// of 64 bits, come out beyond them and so restrict nothing, or leave nothing.
  private func bound(
    _ value: JSON, _ key: String, isLower: Bool, unit: Int, _ pointer: String
  ) throws(StructuredOutputError) -> Int {
    let beyond = NumberFormat.largest + 1
    let inwards = !key.hasPrefix("exclusive") ? 0 : isLower ? 1 : -1
    if let whole = value.integerValue {
      let (scaled, isTooLarge) = whole.multipliedReportingOverflow(by: unit)
      return isTooLarge || scaled.magnitude >= beyond ? beyond * whole.signum() : scaled + inwards
    }
    guard let limit = value.doubleValue else { throw failure(pointer, "\(key) must be a number.") }
    guard abs(limit) < Double(beyond / unit) else { return limit < 0 ? -beyond : beyond }
    // It has a fraction from here on.
    if unit == 1 { return Int(limit.rounded(isLower ? .up : .down)) }
    // Up to here every number of six decimals is a Double of its own.
    guard abs(limit) <= 1e9 else {
      throw failure(pointer, "\(key) beyond ±1000000000 with a fraction is not supported.")
    }
    let scaled = (limit * 1e6).rounded()
    guard scaled / 1e6 == limit else {
      throw failure(pointer, "\(key) with more than six decimals is not supported.")
    }
    return Int(scaled) + inwards
  }
}

extension Grammar {
  /// Whether it is certain that no text matches both nodes: other types, other values, or a property that both require
  /// and that tells them apart.
  ///
  /// - Parameter comparisons: how many may still be made; when none are left, the answer is false.
  func areDisjoint(_ left: NodeID, _ right: NodeID, comparisons: inout Int, depth: Int = 0) -> Bool {
    comparisons -= 1
    // Schemas may be recursive.
    guard depth <= 8, comparisons > 0 else { return false }
    switch (node(left), node(right)) {
    case (.alternatives(let choices), _):
      return choices.allSatisfy { areDisjoint($0, right, comparisons: &comparisons, depth: depth + 1) }
    case (_, .alternatives(let choices)):
      return choices.allSatisfy { areDisjoint(left, $0, comparisons: &comparisons, depth: depth + 1) }
    case (.literal(let text, _), .literal(let other, _)):
      // 1 and 1.0 are one number; all other values have one spelling here.
      return Self.isNumber(text) && Self.isNumber(other) ? Self.number(text) != Self.number(other) : text != other
    case (.object(let object), .object(let other)):
      return object.properties.contains { property in
        guard property.isRequired else { return false }
        comparisons -= other.properties.count
        return other.properties.contains {
          $0.isRequired && $0.key == property.key
            && areDisjoint(property.value, $0.value, comparisons: &comparisons, depth: depth + 1)
        }
      }
    default: return Self.kind(node(left)) != Self.kind(node(right))
    }
  }

  /// The type of a value by its first byte; "-" counts as a digit.
  private static func kind(_ node: Node) -> UInt8? {
    switch node {
    case .literal(let text, _): isNumber(text) ? UInt8(ascii: "0") : text[0]
    case .string: UInt8(ascii: "\"")
    case .number: UInt8(ascii: "0")
    case .array: UInt8(ascii: "[")
    case .object: UInt8(ascii: "{")
    case .alternatives, .sequence: nil
    }
  }

  private static func isNumber(_ text: [UInt8]) -> Bool {
    text[0] == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[0])
  }

  private static func number(_ text: [UInt8]) -> Double? { Double(String(decoding: text, as: UTF8.self)) }
}
