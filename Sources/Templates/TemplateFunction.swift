/// What a template can call.
enum TemplateFunction: Sendable {
  case macro(TemplateMacroValue)
  /// A function of the environment, such as `namespace`.
  case builtin(String)
  /// A method of a text, list, dictionary or loop, by its name.
  indirect case method(of: TemplateValue, String)

  func isSame(_ other: TemplateFunction) -> Bool {
    switch (self, other) {
    case (.macro(let left), .macro(let right)): left === right
    case (.builtin(let left), .builtin(let right)): left == right
    default: false
    }
  }
}

// The classes below change while a template is rendered, by the one renderer that made them and never shows them to others.

/// A macro with the variables that it sees.
final class TemplateMacroValue: @unchecked Sendable {
  let macro: TemplateMacro
  /// nil after the rendering, which breaks the cycle of a macro and the scope that holds it.
  var scope: TemplateScope?
  init(_ macro: TemplateMacro, scope: TemplateScope) {
    self.macro = macro
    self.scope = scope
  }
}

/// What `namespace()` makes: the one thing that a template can change.
final class TemplateNamespace: @unchecked Sendable {
  var values: [String: TemplateValue]
  init(_ values: [String: TemplateValue]) { self.values = values }
}

/// A generator of Python, such as of the filter `map`: it gives each item once. Its items are made when the first is asked
/// for.
final class TemplateGenerator: @unchecked Sendable {
  private var make: (() throws -> [TemplateValue])?
  private var items: [TemplateValue] = []
  private var position = 0

  init(_ make: @escaping () throws -> [TemplateValue]) { self.make = make }

  private func prepare() throws {
    guard let make else { return }
    self.make = nil
    items = try make()
  }

  func next() throws -> TemplateValue? {
    try prepare()
    guard position < items.count else { return nil }
    position += 1
    return items[position - 1]
  }

  /// All that it still has.
  func rest() throws -> [TemplateValue] {
    try prepare()
    defer { position = items.count }
    return Array(items[position...])
  }

  /// Drops what it would make, at the end of a rendering.
  func clear() { (make, items, position) = (nil, [], 0) }
}

/// The variables of a loop's round, a macro's call or a block; a name that it does not have is its parent's.
final class TemplateScope: @unchecked Sendable {
  let parent: TemplateScope?
  var values: [String: TemplateValue]

  init(_ parent: TemplateScope?, _ values: [String: TemplateValue] = [:]) {
    self.parent = parent
    self.values = values
  }

  subscript(name: String) -> TemplateValue? {
    var scope: TemplateScope? = self
    while let current = scope {
      if let value = current.values[name] { return value }
      scope = current.parent
    }
    return nil
  }
}

/// `loop`: where a loop stands.
final class TemplateLoopState: @unchecked Sendable {
  private var items: [TemplateValue]
  /// Whether an item passes the loop's `if`.
  private var passes: ((TemplateValue) throws -> Bool)?
  private var position = 0
  private var ahead: TemplateValue?
  private var isAtEnd = false
  private(set) var index0 = -1
  private(set) var current: TemplateValue?
  private(set) var previous: TemplateValue?
  private var knownLength: Int?
  let depth0: Int
  let loop: TemplateLoop
  /// Of a recursive loop, where its body is rendered again.
  private(set) var scope: TemplateScope?
  private(set) var isFinished = false
  var lastChanged: TemplateList?

  init(
    _ items: [TemplateValue], loop: TemplateLoop, scope: TemplateScope, depth0: Int,
    passes: ((TemplateValue) throws -> Bool)?
  ) {
    self.items = items
    self.passes = passes
    self.loop = loop
    self.scope = scope
    self.depth0 = depth0
  }

  /// Lets go of everything, as a namespace may keep `loop`, and that a namespace again.
  func finish() {
    isFinished = true
    (items, position, isAtEnd) = ([], 0, true)
    (passes, scope, ahead, current, previous, lastChanged) = (nil, nil, nil, nil, nil, nil)
  }

  private func pull() throws -> TemplateValue? {
    while position < items.count {
      position += 1
      if try passes?(items[position - 1]) ?? true { return items[position - 1] }
    }
    isAtEnd = true
    return nil
  }

  /// The item after the current one, without going there.
  func peek() throws -> TemplateValue? {
    if ahead == nil, !isAtEnd { ahead = try pull() }
    return ahead
  }

  /// Goes on to the next item.
  func next() throws -> TemplateValue? {
    guard let item = try peek() else { return nil }
    ahead = nil
    index0 += 1
    previous = current
    current = item
    return item
  }

  func length() throws -> Int {
    if let knownLength { return knownLength }
    var length = items.count
    if let passes {
      length = index0 + 1 + (ahead == nil ? 0 : 1)
      // What passes now is what the rounds to come see, as the list that Jinja makes of its generator.
      for item in items[position...] where try passes(item) { length += 1 }
    }
    knownLength = length
    return length
  }

  var isLengthPositive: Bool { (try? length()).map { $0 > 0 } ?? true }
}
