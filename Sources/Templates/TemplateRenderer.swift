import Storage

/// Renders one template once.
final class TemplateRenderer {
  let limits: TemplateLimits
  let clock: TemplateClock
  /// The line of what is evaluated.
  var line = 1
  private var steps = 0
  private var writes = 0
  private(set) var depth = 0
  var scope: TemplateScope
  /// The texts being written: the result, and within it those of macros and blocks.
  var outputs: [TemplateText] = [TemplateText()]
  private var generationRanges: [Range<Int>]? = []
  // What can refer to itself, to be taken apart at the end.
  private var namespaces: [TemplateNamespace] = []
  private var macros: [TemplateMacroValue] = []
  private var generators: [TemplateGenerator] = []

  init(values: [(String, TemplateValue)], limits: TemplateLimits, clock: TemplateClock) {
    self.limits = limits
    self.clock = clock
    var globals: [String: TemplateValue] = [:]
    for name in Self.builtins { globals[name] = .function(.builtin(name)) }
    for (name, value) in values { globals[name] = value }
    scope = TemplateScope(TemplateScope(nil, globals))
  }

  func render(_ body: [TemplateStatement]) throws -> RenderedText {
    defer {
      for namespace in namespaces { namespace.values = [:] }
      for macro in macros { macro.scope = nil }
      for generator in generators { generator.clear() }
    }
    _ = try run(body)
    return RenderedText(pieces: outputs[0].pieces, generationRanges: generationRanges)
  }

  // Errors and limits.

  func failure(_ reason: String) -> TemplateError { TemplateError(.failure, line: line, reason) }
  func unsupported(_ what: String) -> TemplateError { TemplateError(.unsupported, line: line, what) }

  func step() throws {
    steps += 1
    if steps > limits.steps {
      throw TemplateError(.limit, line: line, "it takes more than \(limits.steps) steps")
    }
  }

  /// Accounts for `count` code points or items, before they are written where that can be many.
  func write(_ count: Int) throws {
    let (sum, isTooMuch) = writes.addingReportingOverflow(max(0, count))
    writes = isTooMuch ? Int.max : sum
    if writes > limits.writes {
      throw TemplateError(.limit, line: line, "it writes more than \(limits.writes) characters and items")
    }
  }

  func written(_ text: TemplateText) throws -> TemplateText {
    try write(text.count)
    return text
  }

  /// Evaluates within what is evaluated already.
  func nested<Result>(_ levels: Int = 1, _ body: () throws -> Result) throws -> Result {
    depth += levels
    defer { depth -= levels }
    if depth > limits.depth {
      throw TemplateError(.limit, line: line, "it is nested deeper than \(limits.depth) levels")
    }
    return try body()
  }

  // Values.

  func list(_ values: [TemplateValue]) throws -> TemplateValue { .list(try checked(TemplateList(values))) }
  func tuple(_ values: [TemplateValue]) throws -> TemplateValue { .tuple(try checked(TemplateList(values))) }

  private func checked(_ list: TemplateList) throws -> TemplateList {
    try write(4 * list.values.count + 4)
    try check(depth: list.measure.depth)
    return list
  }

  private func check(depth: Int) throws {
    // Deeper values could overflow the stack when they are compared, shown or freed.
    if depth > 100 { throw TemplateError(.limit, line: line, "it puts lists into each other deeper than 100 levels") }
  }

  func dictionary(_ members: [(TemplateValue, TemplateValue)]) throws -> TemplateValue {
    for (key, _) in members { try check(key: key) }
    try write(8 * members.count + 8)
    let dictionary = TemplateDictionary(members)
    try check(depth: dictionary.measure.depth)
    return .dictionary(dictionary)
  }

  /// Refuses what cannot be a key.
  func check(key: TemplateValue) throws {
    guard try isHashable(key) else { throw failure("a \(key.typeName) cannot be a key") }
  }

  func isHashable(_ key: TemplateValue) throws -> Bool {
    if case .tuple(let list) = key { try write(list.measure.size) }
    return key.isHashable
  }

  func equal(_ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
    let (leftMeasure, rightMeasure) = (left.measure, right.measure)
    if leftMeasure.depth > 0, rightMeasure.depth > 0 { try write(min(leftMeasure.size, rightMeasure.size)) }
    return left.equals(right)
  }

  /// Python's `str` of a value.
  func text(_ value: TemplateValue) throws -> TemplateText {
    switch value {
    case .string(let text): return text
    case .undefined: return TemplateText()
    default: return try representation(value)
    }
  }

  func representation(_ value: TemplateValue) throws -> TemplateText {
    let measure = value.measure
    if measure.hasOpaque { throw unsupported("the text of a \(value.typeName), or of one inside it") }
    try write(2 * measure.size)
    return value.representation
  }

  func namespace(_ values: [String: TemplateValue]) throws -> TemplateValue {
    try write(8 * values.count + 32)
    let namespace = TemplateNamespace(values)
    namespaces.append(namespace)
    return .namespace(namespace)
  }

  func generator(_ make: @escaping () throws -> [TemplateValue]) throws -> TemplateValue {
    try write(32)
    let generator = TemplateGenerator { [unowned self] in
      let items = try make()
      try write(4 * items.count)
      return items
    }
    generators.append(generator)
    return .generator(generator)
  }

  func function(_ macro: TemplateMacro) throws -> TemplateMacroValue {
    try write(32)
    let value = TemplateMacroValue(macro, scope: scope)
    macros.append(value)
    return value
  }

  // Output.

  func emit(_ text: TemplateText) throws {
    try write(text.count)
    outputs[outputs.count - 1].append(text)
    if outputs[0].count > limits.output {
      throw TemplateError(.limit, line: line, "its text is longer than \(limits.output) characters")
    }
  }

  /// What `body` writes.
  func captured(_ body: () throws -> Void) throws -> TemplateText {
    outputs.append(TemplateText())
    let count = outputs.count
    do {
      try body()
    } catch {
      outputs.removeLast(outputs.count - count + 1)
      throw error
    }
    return outputs.removeLast()
  }

  /// Runs `body` with variables of its own.
  func scoped<Result>(
    _ inner: TemplateScope, _ body: () throws -> Result
  ) throws -> Result {
    let outer = scope
    scope = inner
    defer { scope = outer }
    return try body()
  }

  func noteGeneration(_ body: () throws -> Void) throws {
    let isAtTop = outputs.count == 1
    let start = outputs[0].count
    try emit(try captured(body))
    if isAtTop { generationRanges?.append(start..<outputs[0].count) } else { generationRanges = nil }
  }
}
