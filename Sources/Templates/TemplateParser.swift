/// Reads a template's tokens into statements, as Jinja's parser does.
struct TemplateParser {
  private let tokens: [TemplateToken]
  private var index = 0
  private var nesting = 0
  /// Loops around the current place that `break` can end.
  private var loops = 0
  /// The special names used in each macro around the current place.
  var specials: [Set<String>] = [[]]
  /// Filters and tests that do not exist. Jinja refuses such a template at once, unless the name stands in a condition, where
  /// it fails when it is evaluated.
  var unknownNames: [(reason: String, line: Int)] = []
  /// Whether the current place is in a condition.
  private var isConditional = false

  /// A template nested deeper could overflow the stack.
  static let maximumNesting = 60
  /// Operators and filters in a row, which are nested in the syntax tree.
  static let maximumChain = 100

  static func parse(_ source: String) throws(TemplateError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(source))
    let body = try parser.statements(until: [])
    if let (reason, line) = parser.unknownNames.first { throw TemplateError(.syntax, line: line, reason) }
    return body
  }

  private init(tokens: [TemplateToken]) { self.tokens = tokens }

  var current: TemplateToken { tokens[index] }
  var next: TemplateToken { tokens[min(index + 1, tokens.count - 1)] }
  mutating func advance() { if index + 1 < tokens.count { index += 1 } }

  func failure(_ reason: String, line: Int? = nil) -> TemplateError {
    TemplateError(.syntax, line: line ?? current.line, reason)
  }

  func isName(_ name: String) -> Bool { current.kind == .name(name) }
  func isSymbol(_ symbol: String) -> Bool { current.kind == .symbol(symbol) }

  mutating func skip(name: String) -> Bool {
    guard isName(name) else { return false }
    advance()
    return true
  }

  mutating func skip(symbol: String) -> Bool {
    guard isSymbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws(TemplateError) {
    guard skip(symbol: symbol) else { throw failure("expected '\(symbol)', found \(current.described)") }
  }

  mutating func expectName() throws(TemplateError) -> String {
    guard case .name(let name) = current.kind else { throw failure("expected a name, found \(current.described)") }
    advance()
    return name
  }

  private mutating func expect(name: String) throws(TemplateError) {
    guard skip(name: name) else { throw failure("expected '\(name)', found \(current.described)") }
  }

  private mutating func expectBlockEnd() throws(TemplateError) {
    guard current.kind == .blockEnd else { throw failure("expected '%}', found \(current.described)") }
    advance()
  }

  mutating func nested<Result>(
    _ body: (inout TemplateParser) throws(TemplateError) -> Result
  ) throws(TemplateError) -> Result {
    guard nesting < Self.maximumNesting else {
      throw TemplateError(.limit, line: current.line, "it is nested deeper than \(Self.maximumNesting) levels")
    }
    nesting += 1
    defer { nesting -= 1 }
    return try body(&self)
  }

  /// Notes a name that does not exist.
  mutating func note(unknown reason: String, line: Int) {
    if !isConditional { unknownNames.append((reason, line)) }
  }

  private mutating func conditional<Result>(
    _ value: Bool, _ body: (inout TemplateParser) throws(TemplateError) -> Result
  ) throws(TemplateError) -> Result {
    let before = isConditional
    isConditional = value
    defer { isConditional = before }
    return try body(&self)
  }

  /// The statements up to a tag of `ends`, whose name is then current; to the end of the template without any.
  private mutating func statements(until ends: [String]) throws(TemplateError) -> [TemplateStatement] {
    var body: [TemplateStatement] = []
    while true {
      let line = current.line
      switch current.kind {
      case .data(let text):
        body.append(TemplateStatement(kind: .text(TemplateText(text, isContent: false)), line: line))
        advance()
      case .variableBegin:
        advance()
        body.append(TemplateStatement(kind: .output(try tuple()), line: line))
        guard current.kind == .variableEnd else { throw failure("expected '}}', found \(current.described)") }
        advance()
      case .blockBegin:
        advance()
        guard case .name(let name) = current.kind else { throw failure("expected the name of a tag") }
        if ends.contains(name) { return body }
        body += try nested { parser throws(TemplateError) in try parser.statement(name) }
        try expectBlockEnd()
      default:
        guard ends.isEmpty else {
          throw failure("the template ends where " + ends.map { "'\($0)'" }.joined(separator: " or ") + " was expected")
        }
        return body
      }
    }
  }

  /// The statements of a block, whose first tag is read up to its `%}`; the tag of `ends` that closes it is then current.
  private mutating func block(until ends: String...) throws(TemplateError) -> [TemplateStatement] {
    _ = skip(symbol: ":")
    try expectBlockEnd()
    return try statements(until: ends)
  }

  /// A block with one possible end, which is read.
  private mutating func wholeBlock(_ end: String) throws(TemplateError) -> [TemplateStatement] {
    let body = try block(until: end)
    advance()
    return body
  }

  private mutating func statement(_ name: String) throws(TemplateError) -> [TemplateStatement] {
    let line = current.line
    func made(_ kind: TemplateStatement.Kind) -> [TemplateStatement] { [TemplateStatement(kind: kind, line: line)] }
    switch name {
    case "set": return made(try assignment())
    case "for": return made(try loop())
    case "if": return made(try ifStatement())
    case "macro":
      advance()
      let name = try expectName()
      let (parameters, defaults) = try signature()
      return made(.macro(try macro(name, parameters, defaults, "endmacro")))
    case "call": return made(try callBlock())
    case "filter":
      advance()
      let filter = try self.filter(nil, isInline: true)
      return made(
        .filterBlock(filter, try conditional(false) { p throws(TemplateError) in try p.wholeBlock("endfilter") }))
    case "with": return made(try with())
    case "print":
      advance()
      var outputs: [TemplateStatement] = []
      while current.kind != .blockEnd {
        if !outputs.isEmpty { try expect(symbol: ",") }
        outputs += made(.output(try expression()))
      }
      return outputs
    case "generation":
      advance()
      return made(.generation(try macro(nil, [], [], "endgeneration").body))
    case "break", "continue":
      guard loops > 0 else { throw failure("'\(name)' outside of a loop") }
      advance()
      return made(name == "break" ? .breakLoop : .continueLoop)
    case "block", "extends", "include", "import", "from", "autoescape":
      throw TemplateError(.unsupported, line: line, "the tag '\(name)'")
    default: throw failure("the tag '\(name.prefix(80))' is unknown or stands where none of its kind is open")
    }
  }

  private mutating func assignment() throws(TemplateError) -> TemplateStatement.Kind {
    advance()
    let target = try self.target(allowsAttributes: true)
    if skip(symbol: "=") { return .assignment(target, try tuple()) }
    let filter = isSymbol("|") ? try self.filter(nil, isInline: false) : nil
    let body = try conditional(false) { parser throws(TemplateError) in try parser.wholeBlock("endset") }
    return .assignmentBlock(target, filter: filter, body)
  }

  private mutating func loop() throws(TemplateError) -> TemplateStatement.Kind {
    advance()
    let target = try self.target(allowsAttributes: false, end: "in")
    try expect(name: "in")
    let sequence = try tuple(allowsConditional: false, end: "recursive")
    var filter: TemplateExpression?
    if skip(name: "if") {
      filter = try conditional(false) { parser throws(TemplateError) in try parser.expression() }
    }
    let isRecursive = skip(name: "recursive")
    let (body, otherwise) = try conditional(false) { parser throws(TemplateError) in
      parser.loops += 1
      let body = try parser.block(until: "endfor", "else")
      parser.loops -= 1
      let hasElse = parser.isName("else")
      parser.advance()
      return (body, hasElse ? try parser.wholeBlock("endfor") : [])
    }
    return .loop(
      TemplateLoop(
        target: target, sequence: sequence, filter: filter, isRecursive: isRecursive, body: body, otherwise: otherwise))
  }

  private mutating func ifStatement() throws(TemplateError) -> TemplateStatement.Kind {
    try conditional(true) { parser throws(TemplateError) in
      var branches: [(test: TemplateExpression, body: [TemplateStatement])] = []
      while true {
        parser.advance()
        let test = try parser.tuple(allowsConditional: false)
        branches.append((test, try parser.block(until: "elif", "else", "endif")))
        if parser.isName("elif") { continue }
        let hasElse = parser.isName("else")
        parser.advance()
        return .conditional(branches, otherwise: hasElse ? try parser.wholeBlock("endif") : [])
      }
    }
  }

  private mutating func with() throws(TemplateError) -> TemplateStatement.Kind {
    advance()
    var values: [(target: TemplateTarget, value: TemplateExpression)] = []
    while current.kind != .blockEnd {
      if !values.isEmpty { try expect(symbol: ",") }
      let target = try self.target(allowsAttributes: false)
      try expect(symbol: "=")
      values.append((target, try expression()))
    }
    return .with(values, try conditional(false) { parser throws(TemplateError) in try parser.wholeBlock("endwith") })
  }

  private mutating func signature() throws(TemplateError) -> ([String], [TemplateExpression]) {
    var parameters: [String] = []
    var defaults: [TemplateExpression] = []
    try expect(symbol: "(")
    while !isSymbol(")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      let line = current.line
      let name = try assignableName()
      if parameters.contains(name) { throw failure("the parameter '\(name)' appears twice", line: line) }
      if skip(symbol: "=") {
        defaults.append(try conditional(false) { parser throws(TemplateError) in try parser.expression() })
      } else if !defaults.isEmpty {
        throw failure("a parameter without a default follows one with it", line: line)
      }
      parameters.append(name)
    }
    advance()
    return (parameters, defaults)
  }

  private mutating func macro(
    _ name: String?, _ parameters: [String], _ defaults: [TemplateExpression], _ end: String
  ) throws(TemplateError) -> TemplateMacro {
    let loopsAround = loops
    loops = 0
    specials.append([])
    let body = try conditional(false) { parser throws(TemplateError) in try parser.wholeBlock(end) }
    loops = loopsAround
    let used = specials.removeLast()
    return TemplateMacro(name: name, parameters: parameters, defaults: defaults, body: body, specials: used)
  }

  private mutating func callBlock() throws(TemplateError) -> TemplateStatement.Kind {
    let line = current.line
    advance()
    let (parameters, defaults) = isSymbol("(") ? try signature() : ([], [])
    let call = try expression()
    guard case .call = call.kind else { throw failure("expected a call", line: line) }
    return .callBlock(try macro(nil, parameters, defaults, "endcall"), call: call)
  }

  private mutating func assignableName() throws(TemplateError) -> String {
    let name = try expectName()
    if ["true", "false", "none", "True", "False", "None"].contains(name) {
      throw failure("'\(name)' cannot be assigned to")
    }
    return name
  }

  private mutating func target(allowsAttributes: Bool, end: String? = nil) throws(TemplateError) -> TemplateTarget {
    var targets: [TemplateTarget] = []
    var isTuple = false
    while true {
      if !targets.isEmpty {
        guard skip(symbol: ",") else { break }
        isTuple = true
      }
      if current.kind == .blockEnd || isSymbol(")") || end.map(isName) ?? false { break }
      if skip(symbol: "(") {
        let inside = try nested { p throws(TemplateError) in try p.target(allowsAttributes: allowsAttributes) }
        try expect(symbol: ")")
        targets.append(inside)
      } else {
        let name = try assignableName()
        if allowsAttributes, skip(symbol: ".") {
          targets.append(.attribute(namespace: name, name: try expectName()))
        } else {
          targets.append(.name(name))
        }
      }
    }
    guard let first = targets.first else { throw failure("expected a name to assign to, found \(current.described)") }
    return isTuple ? .tuple(targets) : first
  }
}
