/// How the statements of a block ended.
enum TemplateFlow {
  case normal, breakLoop, continueLoop
}

extension TemplateRenderer {
  func run(_ body: [TemplateStatement]) throws -> TemplateFlow {
    try nested {
      for statement in body {
        line = statement.line
        try step()
        let flow = try run(statement)
        if flow != .normal { return flow }
      }
      return .normal
    }
  }

  private func run(_ statement: TemplateStatement) throws -> TemplateFlow {
    switch statement.kind {
    case .text(let text): try emit(text)
    case .output(let expression): try emit(try self.text(try evaluate(expression)))
    case .assignment(let target, let expression): try assign(try evaluate(expression), to: target)
    case .assignmentBlock(let target, let filter, let body): return try runSetBlock(target, filter, body)
    case .conditional(let branches, let otherwise):
      for (test, body) in branches where try evaluate(test).isTrue { return try run(body) }
      return try run(otherwise)
    case .loop(let loop): return try run(loop)
    case .macro(let macro): scope.values[macro.name ?? ""] = .function(.macro(try function(macro)))
    case .callBlock(let body, let call): try runCallBlock(body, call)
    case .filterBlock(let filter, let body): return try runFilterBlock(filter, body)
    case .with(let values, let body): return try runWith(values, body)
    case .generation(let body):
      try noteGeneration { try scoped(TemplateScope(scope)) { _ = try run(body) } }
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    }
    return .normal
  }

  func assign(_ value: TemplateValue, to target: TemplateTarget) throws {
    switch target {
    case .name(let name): scope.values[name] = value
    case .attribute(let namespace, let name):
      guard case .namespace(let object) = try variable(namespace) else {
        throw failure("'\(namespace)' is no namespace, so its attribute '\(name)' cannot be set")
      }
      try set(name, of: object, to: value)
    case .tuple(let targets):
      let values = try items(of: value)
      guard values.count == targets.count else {
        throw failure("\(values.count) values cannot be assigned to \(targets.count) names")
      }
      for (target, value) in zip(targets, values) { try assign(value, to: target) }
    }
  }

  private func set(_ name: String, of namespace: TemplateNamespace, to value: TemplateValue) throws {
    guard !name.hasPrefix("_") else {
      throw failure("the attribute '\(name)' of a namespace begins with an underscore")
    }
    if namespace.values[name] == nil { try write(2) }
    namespace.values[name] = value
  }

  private func runSetBlock(
    _ target: TemplateTarget, _ filter: TemplateExpression?, _ body: [TemplateStatement]
  ) throws -> TemplateFlow {
    var flow = TemplateFlow.normal
    let text = try captured { flow = try scoped(TemplateScope(scope)) { try run(body) } }
    if flow != .normal { return flow }
    try assign(try filtered(.string(text), by: filter), to: target)
    return .normal
  }

  private func runFilterBlock(_ filter: TemplateExpression, _ body: [TemplateStatement]) throws -> TemplateFlow {
    var flow = TemplateFlow.normal
    let text = try captured { flow = try scoped(TemplateScope(scope)) { try run(body) } }
    if flow != .normal { return flow }
    try emit(try self.text(try filtered(.string(text), by: filter)))
    return .normal
  }

  /// A text through the filters of a block.
  private func filtered(_ value: TemplateValue, by filter: TemplateExpression?) throws -> TemplateValue {
    guard let filter else { return value }
    return try nested {
      guard case .filter(let input, let name, let arguments) = filter.kind else { return try evaluate(filter) }
      let value = try filtered(value, by: input)
      line = filter.line
      return try TemplateFilter.apply(name, to: value, try evaluate(arguments), self)
    }
  }

  private func runWith(
    _ values: [(target: TemplateTarget, value: TemplateExpression)], _ body: [TemplateStatement]
  ) throws -> TemplateFlow {
    let evaluated = try values.map { try evaluate($0.value) }
    return try scoped(TemplateScope(scope)) {
      for ((target, _), value) in zip(values, evaluated) { try assign(value, to: target) }
      return try run(body)
    }
  }

  private func runCallBlock(_ body: TemplateMacro, _ call: TemplateExpression) throws {
    guard case .call(let callee, let arguments) = call.kind else { return }
    var evaluated = try evaluate(arguments)
    let function = try evaluate(callee)
    evaluated.named.append(("caller", .function(.macro(try self.function(body)))))
    try emit(try self.text(try self.call(function, evaluated)))
  }

  // Loops.

  private func run(_ loop: TemplateLoop) throws -> TemplateFlow {
    try run(loop, over: try evaluate(loop.sequence), in: scope, depth0: 0)
  }

  /// The body of a recursive loop over other items.
  func recursed(_ state: TemplateLoopState, over value: TemplateValue) throws -> TemplateText {
    guard state.loop.isRecursive else { throw failure("'loop' is called, but the loop is not marked as recursive") }
    guard let outer = state.scope else { throw unsupported("'loop' after the end of its loop") }
    return try nested(2) {
      try captured { _ = try run(state.loop, over: value, in: outer, depth0: state.depth0 + 1) }
    }
  }

  private func run(
    _ loop: TemplateLoop, over value: TemplateValue, in outer: TemplateScope, depth0: Int
  ) throws -> TemplateFlow {
    var passes: ((TemplateValue) throws -> Bool)?
    if let filter = loop.filter {
      passes = { [unowned self] item in
        try step()
        return try scoped(TemplateScope(outer)) {
          try assign(item, to: loop.target)
          return try evaluate(filter).isTrue
        }
      }
    }
    try write(8)
    let state = TemplateLoopState(try items(of: value), loop: loop, scope: outer, depth0: depth0, passes: passes)
    defer { state.finish() }
    var isEmpty = true
    while let item = try state.next() {
      isEmpty = false
      try step()
      let inner = TemplateScope(outer, ["loop": .loop(state)])
      let flow = try scoped(inner) {
        try assign(item, to: loop.target)
        return try run(loop.body)
      }
      if flow == .breakLoop { break }
    }
    // A `break` in the `else` part ends the loop around this one.
    return isEmpty && !loop.otherwise.isEmpty ? try scoped(TemplateScope(outer)) { try run(loop.otherwise) } : .normal
  }

  // Macros.

  func call(_ function: TemplateMacroValue, _ given: TemplateCallArguments) throws -> TemplateValue {
    let macro = function.macro
    let title = macro.name.map { "the macro '\($0)'" } ?? "'caller'"
    guard let outer = function.scope else { throw failure("\(title) is called after its rendering") }
    var named = given.named
    func take(_ name: String) -> TemplateValue? {
      named.firstIndex { $0.name == name }.map { named.remove(at: $0).value }
    }
    let inner = TemplateScope(outer)
    var missing: [(String, TemplateExpression?)] = []
    for (index, name) in macro.parameters.enumerated() {
      if index < given.positional.count {
        inner.values[name] = given.positional[index]
      } else if let value = take(name) {
        inner.values[name] = value
      } else {
        let place = index - (macro.parameters.count - macro.defaults.count)
        missing.append((name, place >= 0 ? macro.defaults[place] : nil))
      }
    }
    if macro.specials.contains("caller"), !macro.parameters.contains("caller") {
      inner.values["caller"] = take("caller") ?? .undefined("there is no caller")
    }
    if macro.specials.contains("kwargs") {
      inner.values["kwargs"] = try dictionary(named.map { (.string($0.name), $0.value) })
    } else if let name = named.first?.name {
      throw failure("\(title) takes no argument '\(name)'")
    }
    let rest = given.positional.dropFirst(macro.parameters.count)
    if macro.specials.contains("varargs") {
      inner.values["varargs"] = try tuple(Array(rest))
    } else if !rest.isEmpty {
      throw failure("\(title) takes \(macro.parameters.count) arguments, not \(given.positional.count)")
    }
    return try nested(2) {
      try scoped(inner) {
        for (name, expression) in missing {
          inner.values[name] = try expression.map(evaluate) ?? .undefined("the parameter '\(name)' was not provided")
        }
        return .string(try captured { _ = try run(macro.body) })
      }
    }
  }
}
