extension TemplateRenderer {
  func evaluate(_ expression: TemplateExpression) throws -> TemplateValue {
    try nested {
      line = expression.line
      try step()
      switch expression.kind {
      case .constant(let constant): return constant.value
      case .name(let name): return try variable(name)
      case .list(let items): return try list(try items.map(evaluate))
      case .tuple(let items): return try tuple(try items.map(evaluate))
      case .dictionary(let members):
        return try dictionary(try members.map { try (evaluate($0.key), evaluate($0.value)) })
      case .attribute(let object, let name): return try attribute(name, of: try evaluate(object))
      case .item(let object, let key):
        let object = try evaluate(object)
        return try item(try evaluate(key), of: object)
      case .slice(let object, let start, let stop, let step):
        let object = try evaluate(object)
        return try slice(object, try start.map(evaluate), try stop.map(evaluate), try step.map(evaluate))
      case .call(let function, let arguments):
        let function = try evaluate(function)
        let evaluated = try evaluate(arguments)
        line = expression.line
        return try call(function, evaluated)
      case .filter(let input, let name, let arguments): return try filter(name, input, arguments, line: expression.line)
      case .test(let input, let name, let arguments):
        let value = try evaluate(input)
        let evaluated = try evaluate(arguments)
        line = expression.line
        return .bool(try TemplateTest.apply(name, to: value, evaluated, self))
      case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
      case .negative(let operand): return try negated(try evaluate(operand))
      case .positive(let operand):
        let value = try evaluate(operand)
        guard value.number != nil else { throw failure("a \(value.typeName) has no sign") }
        return value.index.map(TemplateValue.integer) ?? value
      case .arithmetic(let operation, let left, let right):
        let left = try evaluate(left)
        let right = try evaluate(right)
        line = expression.line
        return try arithmetic(operation, left, right)
      case .concatenation(let parts): return try concatenated(parts)
      case .comparison(let first, let operands): return try compared(first, operands)
      case .all(let parts): return try firstOrLast(parts, where: false)
      case .any(let parts): return try firstOrLast(parts, where: true)
      case .conditional(let test, let then, let otherwise):
        if try evaluate(test).isTrue { return try evaluate(then) }
        return try otherwise.map(evaluate) ?? .undefined("an inline 'if' without 'else' was not true")
      }
    }
  }

  func variable(_ name: String) throws -> TemplateValue {
    scope[name] ?? .undefined("'\(name.prefix(80))' is undefined")
  }

  private func filter(
    _ name: String, _ input: TemplateExpression?, _ arguments: TemplateArguments, line filterLine: Int
  ) throws -> TemplateValue {
    guard let input else { throw failure("the filter '\(name)' has no input") }
    let value = try evaluate(input)
    let evaluated = try evaluate(arguments)
    line = filterLine
    return try TemplateFilter.apply(name, to: value, evaluated, self)
  }

  private func firstOrLast(_ parts: [TemplateExpression], where truth: Bool) throws -> TemplateValue {
    var value = TemplateValue.none
    for part in parts {
      value = try evaluate(part)
      if value.isTrue == truth { return value }
    }
    return value
  }

  private func concatenated(_ parts: [TemplateExpression]) throws -> TemplateValue {
    var result = TemplateText()
    for part in parts { result.append(try written(try text(try evaluate(part)))) }
    return .string(result)
  }

  func evaluate(_ arguments: TemplateArguments) throws -> TemplateCallArguments {
    var result = TemplateCallArguments()
    result.positional = try arguments.positional.map(evaluate)
    for (name, value) in arguments.named { result.named.append((name, try evaluate(value))) }
    if let spread = arguments.spread { result.positional += try items(of: try evaluate(spread)) }
    if let spread = arguments.namedSpread {
      guard case .dictionary(let dictionary) = try evaluate(spread) else { throw failure("'**' needs a dictionary") }
      for (key, value) in dictionary.members {
        guard let name = key.text?.string else { throw failure("'**' needs a dictionary whose keys are texts") }
        if result.named.contains(where: { $0.name == name }) { throw failure("the argument '\(name)' appears twice") }
        result.named.append((name, value))
      }
    }
    return result
  }

  // Operators.

  private func compared(
    _ first: TemplateExpression, _ operands: [(operation: String, operand: TemplateExpression)]
  ) throws -> TemplateValue {
    var left = try evaluate(first)
    for (operation, operand) in operands {
      let right = try evaluate(operand)
      guard try holds(operation, left, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  func holds(_ operation: String, _ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
    func isLess(_ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
      try use(left)
      try use(right)
      if left.measure.depth > 0, right.measure.depth > 0 { try write(min(left.measure.size, right.measure.size)) }
      if case .float(let value) = left, value.isNaN { return false }
      if case .float(let value) = right, value.isNaN { return false }
      guard let result = left.isLess(than: right) else {
        throw failure("a \(left.typeName) and a \(right.typeName) cannot be ordered")
      }
      return result
    }
    switch operation {
    case "==": return try equal(left, right)
    case "!=": return try !equal(left, right)
    case "<": return try isLess(left, right)
    case ">": return try isLess(right, left)
    case "<=": return try isLess(left, right) || equal(left, right)
    case ">=": return try isLess(right, left) || equal(left, right)
    case "in": return try contains(right, left)
    default: return try !contains(right, left)
    }
  }

  /// Refuses an undefined value where Python needs one.
  func use(_ value: TemplateValue) throws {
    if case .undefined(let reason) = value { throw failure(reason) }
  }

  func contains(_ container: TemplateValue, _ value: TemplateValue) throws -> Bool {
    switch container {
    case .string(let text):
      guard case .string(let part) = value else { throw failure("a \(value.typeName) is looked for in a text") }
      try write(text.count / 8)
      return text.contains(part)
    case .dictionary(let dictionary):
      try check(key: value)
      return dictionary[value] != nil
    case .none, .bool, .integer, .float, .namespace, .function:
      throw failure("'in' needs a text or a list, not a \(container.typeName)")
    default:
      for item in try items(of: container) {
        try step()
        if try equal(item, value) { return true }
      }
      return false
    }
  }

  private func negated(_ value: TemplateValue) throws -> TemplateValue {
    try use(value)
    if let whole = value.index {
      let (result, isTooLarge) = 0.subtractingReportingOverflow(whole)
      if isTooLarge { throw failure("a whole number becomes too large") }
      return .integer(result)
    }
    guard case .float(let number) = value else { throw failure("a \(value.typeName) cannot be negated") }
    return .float(-number)
  }

  func arithmetic(_ operation: String, _ left: TemplateValue, _ right: TemplateValue) throws -> TemplateValue {
    if case .string(let text) = left, operation == "%" {
      return .string(try written(try PrintfFormat.format(text, right, self)))
    }
    try use(left)
    try use(right)
    switch (operation, left, right) {
    case ("+", .string(let left), .string(let right)):
      try write(left.count + right.count)
      guard left.isSafe || right.isSafe else { return .string(left + right) }
      var result = try written(left.escapedForHTML) + written(right.escapedForHTML)
      result.isSafe = true
      return .string(result)
    case ("+", .list(let left), .list(let right)): return try list(left.values + right.values)
    case ("+", .tuple(let left), .tuple(let right)): return try tuple(left.values + right.values)
    case ("*", .string(let text), _) where right.index != nil: return try repeated(text, right.index!)
    case ("*", _, .string(let text)) where left.index != nil: return try repeated(text, left.index!)
    case ("*", .list(let items), _) where right.index != nil: return try list(try repeated(items, right.index!))
    case ("*", _, .list(let items)) where left.index != nil: return try list(try repeated(items, left.index!))
    case ("*", .tuple(let items), _) where right.index != nil: return try tuple(try repeated(items, right.index!))
    case ("*", _, .tuple(let items)) where left.index != nil: return try tuple(try repeated(items, left.index!))
    default: break
    }
    if let first = left.index, let second = right.index { return try whole(operation, first, second) }
    if let first = left.number, let second = right.number { return try floating(operation, first, second) }
    throw failure("'\(operation)' does not take a \(left.typeName) and a \(right.typeName)")
  }

  private func repeated(_ text: TemplateText, _ times: Int) throws -> TemplateValue {
    try write(product(text.count, times))
    return .string(text.repeated(times))
  }

  private func repeated(_ list: TemplateList, _ times: Int) throws -> [TemplateValue] {
    try write(product(list.values.count, times))
    return list.values.isEmpty || times <= 0 ? [] : Array((0..<times).lazy.map { _ in list.values }.joined())
  }

  /// As many things as will be written, or more than there can be.
  func product(_ count: Int, _ times: Int) -> Int {
    let (result, isTooMuch) = count.multipliedReportingOverflow(by: max(0, times))
    return isTooMuch ? Int.max : result
  }

  private func whole(_ operation: String, _ left: Int, _ right: Int) throws -> TemplateValue {
    func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> TemplateValue {
      if result.overflow { throw failure("a whole number becomes too large") }
      return .integer(result.partialValue)
    }
    if right == 0, ["/", "//", "%"].contains(operation) { throw failure("division by zero") }
    switch operation {
    case "+": return try checked(left.addingReportingOverflow(right))
    case "-": return try checked(left.subtractingReportingOverflow(right))
    case "*": return try checked(left.multipliedReportingOverflow(by: right))
    case "/": return .float(Double(left) / Double(right))
    case "//":
      let (quotient, isTooLarge) = left.dividedReportingOverflow(by: right)
      if isTooLarge { throw failure("a whole number becomes too large") }
      let isInexact = left.remainderReportingOverflow(dividingBy: right).partialValue != 0
      return .integer(isInexact && (left < 0) != (right < 0) ? quotient - 1 : quotient)
    case "%":
      let remainder = left.remainderReportingOverflow(dividingBy: right).partialValue
      return .integer(remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder)
    default:
      if right < 0 { return try floating("**", Double(left), Double(right)) }
      return .integer(try power(left, right))
    }
  }

  private func power(_ base: Int, _ exponent: Int) throws -> Int {
    if base == 0 || base == 1 { return exponent == 0 ? 1 : base }
    if base == -1 { return exponent % 2 == 0 ? 1 : -1 }
    var result = 1
    for _ in 0..<min(exponent, 64) {
      let (next, isTooLarge) = result.multipliedReportingOverflow(by: base)
      if isTooLarge { throw failure("a whole number becomes too large") }
      result = next
    }
    return result
  }

  private func floating(_ operation: String, _ left: Double, _ right: Double) throws -> TemplateValue {
    if right == 0, ["/", "//", "%"].contains(operation) { throw failure("division by zero") }
    switch operation {
    case "+": return .float(left + right)
    case "-": return .float(left - right)
    case "*": return .float(left * right)
    case "/": return .float(left / right)
    case "//", "%":
      // CPython's float_divmod.
      var remainder = left.truncatingRemainder(dividingBy: right)
      var quotient = (left - remainder) / right
      if remainder == 0 {
        remainder = right.sign == .minus ? -0.0 : 0.0
      } else if (right < 0) != (remainder < 0) {
        remainder += right
        quotient -= 1
      }
      if operation == "%" { return .float(remainder) }
      var floor = quotient.rounded(.down)
      if quotient - floor > 0.5 { floor += 1 }
      return .float(quotient == 0 ? (left / right < 0 ? -0.0 : 0.0) : floor)
    default:
      let result = pythonPower(left, right)
      if left == 0, right < 0 { throw failure("zero to a negative power") }
      if left < 0, right != right.rounded() { throw unsupported("a negative number to a broken power") }
      if result.isInfinite, left.isFinite, right.isFinite { throw failure("a number becomes too large") }
      return .float(result)
    }
  }
}

extension TemplateConstant {
  var value: TemplateValue {
    switch self {
    case .none: .none
    case .bool(let value): .bool(value)
    case .integer(let value): .integer(value)
    case .float(let value): .float(value)
    case .string(let text): .string(text)
    }
  }
}
