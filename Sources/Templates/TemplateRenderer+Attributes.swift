/// Attributes, items and slices, as the sandbox of Jinja gives them.
extension TemplateRenderer {
  /// The names that Python's own types have, of which a template may read and call those that change nothing.
  private static let methods: [String: Set<String>] = [
    "str": TemplateMethods.textNames, "Markup": TemplateMethods.textNames,
    "dict": ["copy", "fromkeys", "get", "items", "keys", "values"],
    "list": ["copy", "count", "index"],
    "tuple": ["count", "index"],
    "range": ["count", "index", "start", "step", "stop"],
  ]
  private static let changing: [String: Set<String>] = [
    "dict": ["clear", "pop", "popitem", "setdefault", "update"],
    "list": ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
  ]
  /// Of numbers, which no template uses.
  private static let numberNames: Set<String> = [
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "fromhex", "hex", "imag",
    "is_integer", "numerator", "real", "to_bytes",
  ]

  /// Of macros, functions, generators and views.
  private static let otherNames: Set<String> = [
    "arguments", "caller", "catch_kwargs", "catch_varargs", "close", "explicit_caller", "fromkeys", "gi_code",
    "gi_frame", "gi_running", "gi_suspended", "gi_yieldfrom", "isdisjoint", "mapping", "mro", "name", "send", "throw",
  ]

  /// What Python's `getattr` gives; nil if there is no such attribute.
  private func ownAttribute(_ name: String, of object: TemplateValue) throws -> TemplateValue? {
    switch object {
    case .undefined(let reason):
      // Jinja's own names of an undefined value are hidden, too.
      throw failure(reason)
    case .namespace(let namespace):
      return namespace.values[name]
    case .loop(let loop): return try attribute(name, of: loop)
    case .bool, .integer, .float:
      if Self.numberNames.contains(name) { throw unsupported("the attribute '\(name)' of a number") }
      return nil
    case .generator, .function, .view:
      if Self.otherNames.contains(name) { throw unsupported("the attribute '\(name)' of a \(object.typeName)") }
      return nil
    default:
      let type = object.typeName
      if Self.changing[type]?.contains(name) ?? false {
        return .undefined("the method '\(name)' of a \(type) is forbidden, since it changes it")
      }
      return Self.methods[type]?.contains(name) ?? false ? .function(.method(of: object, name)) : nil
    }
  }

  /// `object.name`: an attribute before an item.
  func attribute(_ name: String, of object: TemplateValue) throws -> TemplateValue {
    if let value = try ownAttribute(name, of: object) { return value }
    if case .dictionary(let dictionary) = object, let value = dictionary[name] { return value }
    return missing(name, of: object)
  }

  private func missing(_ name: String, of object: TemplateValue) -> TemplateValue {
    .undefined("a \(object.typeName) has no attribute '\(name.prefix(80))'")
  }

  /// `object[key]`: an item before an attribute.
  func item(_ key: TemplateValue, of object: TemplateValue) throws -> TemplateValue {
    switch object {
    case .undefined(let reason): throw failure(reason)
    case .dictionary(let dictionary):
      if try isHashable(key), let value = dictionary[key] { return value }
    case .list(let list), .tuple(let list):
      if let place = position(key, in: list.values.count) { return list.values[place] }
    case .string(let text):
      if let place = position(key, in: text.count) { return .string(text[place..<place + 1]) }
    case .range(let range):
      if let place = position(key, in: range.count) { return .integer(range[place]) }
    default: break
    }
    if case .string(let name) = key {
      return try ownAttribute(name.string, of: object) ?? missing(name.string, of: object)
    }
    return .undefined("a \(object.typeName) has no element \(try describe(key))")
  }

  private func describe(_ key: TemplateValue) throws -> String {
    key.measure.size < 100 && !key.measure.hasOpaque ? key.representation.string : "of that name"
  }

  private func position(_ key: TemplateValue, in count: Int) -> Int? {
    guard let index = key.index else { return nil }
    if index >= 0 { return index < count ? index : nil }
    return index >= -count ? count + index : nil
  }

  func slice(
    _ object: TemplateValue, _ start: TemplateValue?, _ stop: TemplateValue?, _ step: TemplateValue?
  ) throws -> TemplateValue {
    try use(object)
    func bound(_ value: TemplateValue?) -> Int?? {
      switch value {
      case nil, .some(.none): .some(nil)
      case .some(let value): value.index
      }
    }
    guard let start = bound(start), let stop = bound(stop), let stepBound = bound(step) else {
      throw failure("the bounds of a slice are no whole numbers")
    }
    let step = stepBound ?? 1
    if step == 0 { throw failure("the step of a slice is 0") }
    func indices(_ count: Int) -> (start: Int, stop: Int, count: Int) { Self.slice(start, stop, step, count) }
    switch object {
    case .string(let text):
      let (start, _, count) = indices(text.count)
      try write(count)
      if count == 0 { return .string(text[0..<0]) }
      if step == 1 { return .string(text[start..<start + count]) }
      var result = TemplateText()
      for number in 0..<count {
        let place = start + number * step
        result.append(text[place], isContent: text.isContent(at: place))
      }
      result.isSafe = text.isSafe
      return .string(result)
    case .list(let list), .tuple(let list):
      let (start, _, count) = indices(list.values.count)
      try write(count)
      let values =
        step == 1 && count > 0
        ? Array(list.values[start..<start + count]) : (0..<count).map { list.values[start + $0 * step] }
      if case .tuple = object { return try tuple(values) }
      return try self.list(values)
    case .range(let range):
      let (start, stop, _) = indices(range.count)
      let (product, isTooLarge) = range.step.multipliedReportingOverflow(by: step)
      if isTooLarge || product.magnitude >= 1 << 50 { throw failure("a whole number becomes too large") }
      return .range(TemplateRange(start: range[start], stop: range[stop], step: product))
    default: throw failure("a \(object.typeName) has no slices")
    }
  }

  /// The bounds and the number of places of a Python slice of `count` items.
  private static func slice(
    _ start: Int?, _ stop: Int?, _ step: Int, _ count: Int
  ) -> (start: Int, stop: Int, count: Int) {
    func clamped(_ value: Int?, _ absent: Int) -> Int {
      guard var value else { return absent }
      if value < 0 { value = value < -count ? -1 : value + count }
      return step > 0 ? min(max(value, 0), count) : min(max(value, -1), count - 1)
    }
    let first = clamped(start, step > 0 ? 0 : count - 1)
    let last = clamped(stop, step > 0 ? count : -1)
    let distance = step > 0 ? last - first : first - last
    if distance <= 0 { return (first, last, 0) }
    let size = step.magnitude > UInt(count) ? count : Int(step.magnitude)
    return (first, last, 1 + (distance - 1) / max(1, size))
  }

  /// What a loop over `value` goes through.
  func items(of value: TemplateValue) throws -> [TemplateValue] {
    switch value {
    case .undefined: return []
    case .list(let list), .tuple(let list), .view(let list, _): return list.values
    case .dictionary(let dictionary): return dictionary.keys
    case .string(let text):
      try write(4 * text.count)
      var plain = text
      plain.isSafe = false
      return (0..<text.count).map { .string(plain[$0..<$0 + 1]) }
    case .range(let range):
      try write(range.count)
      return (0..<range.count).map { .integer(range[$0]) }
    case .generator(let generator):
      return try nested(4) { try generator.rest() }
    case .loop: throw unsupported("a loop over 'loop'")
    case .none, .bool, .integer, .float, .namespace, .function:
      throw failure("a \(value.typeName) cannot be looped over")
    }
  }

  /// Python's `len`.
  func count(of value: TemplateValue) throws -> Int {
    switch value {
    case .undefined: return 0
    case .string(let text): return text.count
    case .list(let list), .tuple(let list), .view(let list, _): return list.values.count
    case .dictionary(let dictionary): return dictionary.count
    case .range(let range): return range.count
    case .loop(let loop): return try loop.length()
    default: throw failure("a \(value.typeName) has no length")
    }
  }

  private func attribute(_ name: String, of loop: TemplateLoopState) throws -> TemplateValue? {
    if loop.isFinished { throw unsupported("'loop' after the end of its loop") }
    switch name {
    case "index": return .integer(loop.index0 + 1)
    case "index0": return .integer(loop.index0)
    case "first": return .bool(loop.index0 == 0)
    case "last": return .bool(try loop.peek() == nil)
    case "length": return .integer(try loop.length())
    case "revindex": return .integer(try loop.length() - loop.index0)
    case "revindex0": return .integer(try loop.length() - loop.index0 - 1)
    case "depth": return .integer(loop.depth0 + 1)
    case "depth0": return .integer(loop.depth0)
    case "previtem":
      return loop.index0 == 0 ? .undefined("there is no previous item") : loop.previous
    case "nextitem": return try loop.peek() ?? .undefined("there is no next item")
    case "cycle", "changed": return .function(.method(of: .loop(loop), name))
    default: return nil
    }
  }
}
