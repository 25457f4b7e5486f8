/// Expressions, from the loosest binding to the tightest.
extension TemplateParser {
  mutating func expression(allowsConditional: Bool = true) throws(TemplateError) -> TemplateExpression {
    try nested { parser throws(TemplateError) in
      allowsConditional ? try parser.conditionalExpression() : try parser.disjunction()
    }
  }

  /// An expression, or several with commas, which are a tuple.
  mutating func tuple(
    allowsConditional: Bool = true, end: String? = nil, allowsEmpty: Bool = false
  ) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var parts: [TemplateExpression] = []
    var isTuple = false
    while true {
      if !parts.isEmpty {
        guard skip(symbol: ",") else { break }
        isTuple = true
      }
      if isTupleEnd || end.map(isName) ?? false { break }
      parts.append(try expression(allowsConditional: allowsConditional))
    }
    if !isTuple {
      if let first = parts.first { return first }
      guard allowsEmpty else { throw failure("expected an expression, found \(current.described)") }
    }
    return TemplateExpression(.tuple(parts), line: line)
  }

  private var isTupleEnd: Bool {
    current.kind == .variableEnd || current.kind == .blockEnd || isSymbol(")")
  }

  private mutating func conditionalExpression() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    let unknownBefore = unknownNames.count
    var result = try disjunction()
    var links = 0
    while skip(name: "if") {
      try count(&links)
      let test = try disjunction()
      var otherwise: TemplateExpression?
      if skip(name: "else") {
        otherwise = try nested { parser throws(TemplateError) in try parser.conditionalExpression() }
      }
      result = TemplateExpression(.conditional(test: test, then: result, otherwise: otherwise), line: line)
      // All its parts are conditional.
      unknownNames.removeSubrange(unknownBefore...)
    }
    return result
  }

  private func count(_ links: inout Int) throws(TemplateError) {
    links += 1
    if links > Self.maximumChain {
      throw TemplateError(.limit, line: current.line, "an expression chains more than \(Self.maximumChain) operators")
    }
  }

  private mutating func disjunction() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var parts = [try conjunction()]
    while skip(name: "or") { parts.append(try conjunction()) }
    return parts.count == 1 ? parts[0] : TemplateExpression(.any(parts), line: line)
  }

  private mutating func conjunction() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var parts = [try negation()]
    while skip(name: "and") { parts.append(try negation()) }
    return parts.count == 1 ? parts[0] : TemplateExpression(.all(parts), line: line)
  }

  private mutating func negation() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    guard skip(name: "not") else { return try comparison() }
    let operand = try nested { parser throws(TemplateError) in try parser.negation() }
    return TemplateExpression(.not(operand), line: line)
  }

  private mutating func comparison() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    let first = try sum()
    var operands: [(operation: String, operand: TemplateExpression)] = []
    while true {
      if case .symbol(let symbol) = current.kind, ["==", "!=", "<", "<=", ">", ">="].contains(symbol) {
        advance()
        operands.append((symbol, try sum()))
      } else if skip(name: "in") {
        operands.append(("in", try sum()))
      } else if isName("not"), next.kind == .name("in") {
        advance()
        advance()
        operands.append(("not in", try sum()))
      } else {
        break
      }
    }
    return operands.isEmpty ? first : TemplateExpression(.comparison(first, operands), line: line)
  }

  /// Operands with left-associative operators of one precedence between them.
  private mutating func operators(
    _ symbols: [String], _ operand: (inout TemplateParser) throws(TemplateError) -> TemplateExpression
  ) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var left = try operand(&self)
    var links = 0
    while case .symbol(let symbol) = current.kind, symbols.contains(symbol) {
      try count(&links)
      advance()
      left = TemplateExpression(.arithmetic(symbol, left, try operand(&self)), line: line)
    }
    return left
  }

  private mutating func sum() throws(TemplateError) -> TemplateExpression {
    try operators(["+", "-"]) { parser throws(TemplateError) in try parser.concatenation() }
  }

  private mutating func concatenation() throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var parts = [try product()]
    while skip(symbol: "~") { parts.append(try product()) }
    return parts.count == 1 ? parts[0] : TemplateExpression(.concatenation(parts), line: line)
  }

  private mutating func product() throws(TemplateError) -> TemplateExpression {
    try operators(["*", "/", "//", "%"]) { parser throws(TemplateError) in
      try parser.operators(["**"]) { parser throws(TemplateError) in try parser.unary(allowsFilters: true) }
    }
  }

  private mutating func unary(allowsFilters: Bool) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    var result: TemplateExpression
    if isSymbol("-") || isSymbol("+") {
      let isNegative = isSymbol("-")
      advance()
      let operand = try nested { parser throws(TemplateError) in try parser.unary(allowsFilters: false) }
      result = TemplateExpression(isNegative ? .negative(operand) : .positive(operand), line: line)
    } else {
      result = try primary()
    }
    result = try postfix(result)
    return allowsFilters ? try filtersAndTests(result) : result
  }

  private mutating func primary() throws(TemplateError) -> TemplateExpression {
    let token = current
    func made(_ kind: TemplateExpression.Kind) -> TemplateExpression { TemplateExpression(kind, line: token.line) }
    switch token.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return made(.constant(.bool(true)))
      case "false", "False": return made(.constant(.bool(false)))
      case "none", "None": return made(.constant(.none))
      default:
        if ["varargs", "kwargs", "caller"].contains(name) { specials[specials.count - 1].insert(name) }
        return made(.name(name))
      }
    case .string(var text):
      advance()
      while case .string(let more) = current.kind {
        text += more
        advance()
      }
      return made(.constant(.string(TemplateText(text, isContent: false))))
    case .integer(let value):
      advance()
      return made(.constant(.integer(value)))
    case .float(let value):
      advance()
      return made(.constant(.float(value)))
    case .symbol("("):
      advance()
      let inside = try tuple(allowsEmpty: true)
      try expect(symbol: ")")
      return inside
    case .symbol("["):
      advance()
      return made(.list(try items(until: "]") { parser throws(TemplateError) in try parser.expression() }))
    case .symbol("{"):
      advance()
      return made(
        .dictionary(
          try items(until: "}") { parser throws(TemplateError) in
            let key = try parser.expression()
            try parser.expect(symbol: ":")
            return (key, try parser.expression())
          }))
    default: throw failure("\(token.described) where an expression was expected")
    }
  }

  private mutating func items<Item>(
    until end: String, _ item: (inout TemplateParser) throws(TemplateError) -> Item
  ) throws(TemplateError) -> [Item] {
    var items: [Item] = []
    while !isSymbol(end) {
      if !items.isEmpty {
        try expect(symbol: ",")
        if isSymbol(end) { break }
      }
      items.append(try item(&self))
    }
    advance()
    return items
  }

  private mutating func postfix(_ first: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    var result = first
    var links = 0
    while true {
      if isSymbol(".") || isSymbol("[") {
        result = try subscripted(result)
      } else if isSymbol("(") {
        result = try call(result)
      } else {
        return result
      }
      try count(&links)
    }
  }

  private mutating func filtersAndTests(_ first: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    var result = first
    var links = 0
    while true {
      if isSymbol("|") {
        result = try filter(result, isInline: false)
      } else if isName("is") {
        result = try test(result)
      } else if isSymbol("(") {
        result = try call(result)
      } else {
        return result
      }
      try count(&links)
    }
  }

  private mutating func subscripted(_ object: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    if skip(symbol: ".") {
      switch current.kind {
      case .name(let name):
        advance()
        return TemplateExpression(.attribute(object, name), line: line)
      case .integer(let number):
        advance()
        let key = TemplateExpression(.constant(.integer(number)), line: line)
        return TemplateExpression(.item(object, key), line: line)
      default: throw failure("expected a name or a number after '.', found \(current.described)")
      }
    }
    advance()
    var keys: [TemplateExpression] = []
    while !isSymbol("]") {
      if !keys.isEmpty { try expect(symbol: ",") }
      let start = isSymbol(":") ? nil : try expression()
      if isSymbol(":") {
        let slice = try self.slice(of: object, from: start, line: line)
        guard keys.isEmpty, isSymbol("]") else {
          throw TemplateError(.unsupported, line: line, "several slices in '[]'")
        }
        advance()
        return slice
      }
      if let start { keys.append(start) }
    }
    advance()
    let key = keys.count == 1 ? keys[0] : TemplateExpression(.tuple(keys), line: line)
    return TemplateExpression(.item(object, key), line: line)
  }

  private mutating func slice(
    of object: TemplateExpression, from start: TemplateExpression?, line: Int
  ) throws(TemplateError) -> TemplateExpression {
    try expect(symbol: ":")
    func isEnd() -> Bool { isSymbol("]") || isSymbol(",") }
    let stop = isEnd() || isSymbol(":") ? nil : try expression()
    var step: TemplateExpression?
    if skip(symbol: ":"), !isEnd() { step = try expression() }
    return TemplateExpression(.slice(object, start: start, stop: stop, step: step), line: line)
  }

  private mutating func call(_ function: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    return TemplateExpression(.call(function, try arguments()), line: line)
  }

  private mutating func arguments() throws(TemplateError) -> TemplateArguments {
    let line = current.line
    try expect(symbol: "(")
    var result = TemplateArguments()
    var needsComma = false
    func ensure(_ isRight: Bool) throws(TemplateError) {
      if !isRight { throw TemplateError(.syntax, line: line, "the arguments of a call are out of order") }
    }
    while !isSymbol(")") {
      if needsComma {
        try expect(symbol: ",")
        if isSymbol(")") { break }
      }
      needsComma = true
      if skip(symbol: "*") {
        try ensure(result.spread == nil && result.namedSpread == nil)
        result.spread = try expression()
      } else if skip(symbol: "**") {
        try ensure(result.namedSpread == nil)
        result.namedSpread = try expression()
      } else if case .name(let name) = current.kind, next.kind == .symbol("=") {
        try ensure(result.namedSpread == nil)
        if result.named.contains(where: { $0.name == name }) {
          throw failure("the argument '\(name)' appears twice")
        }
        advance()
        advance()
        result.named.append((name, try expression()))
      } else {
        try ensure(result.spread == nil && result.namedSpread == nil && result.named.isEmpty)
        result.positional.append(try expression())
      }
    }
    advance()
    return result
  }

  private mutating func dottedName() throws(TemplateError) -> String {
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  /// `|filter`, one or more; the first without its bar when `isInline`.
  mutating func filter(_ input: TemplateExpression?, isInline: Bool) throws(TemplateError) -> TemplateExpression {
    var result = input
    var (links, isFirst) = (0, isInline)
    while isFirst || isSymbol("|") {
      if !isFirst { advance() }
      isFirst = false
      let line = current.line
      let name = try dottedName()
      if !TemplateFilter.isKnown(name) { note(unknown: "there is no filter '\(name.prefix(80))'", line: line) }
      let arguments = isSymbol("(") ? try self.arguments() : TemplateArguments()
      result = TemplateExpression(.filter(result, name: name, arguments), line: line)
      try count(&links)
    }
    guard let result else { throw failure("expected a filter") }
    return result
  }

  private mutating func test(_ input: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = current.line
    advance()
    let isNegated = skip(name: "not")
    let name = try dottedName()
    if !TemplateTest.isKnown(name) { note(unknown: "there is no test '\(name.prefix(80))'", line: line) }
    var arguments = TemplateArguments()
    if isSymbol("(") {
      arguments = try self.arguments()
    } else if beginsTestArgument {
      if isName("is") { throw failure("tests with 'is' cannot be chained") }
      arguments.positional = [try nested { p throws(TemplateError) in try p.postfix(try p.primary()) }]
    }
    let test = TemplateExpression(.test(input, name: name, arguments), line: line)
    return isNegated ? TemplateExpression(.not(test), line: line) : test
  }

  private var beginsTestArgument: Bool {
    switch current.kind {
    case .name(let name): !["else", "or", "and"].contains(name)
    case .string, .integer, .float, .symbol("["), .symbol("{"): true
    default: false
    }
  }
}
