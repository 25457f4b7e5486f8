/// The tests of Jinja, which follow `is`.
enum TemplateTest {
  private static let names: Set<String> = [
    "odd", "even", "divisibleby", "defined", "undefined", "filter", "test", "none", "boolean", "false", "true",
    "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "sameas",
    "escaped", "in",
  ]
  private static let comparisons = [
    "==": "==", "eq": "==", "equalto": "==", "!=": "!=", "ne": "!=", ">": ">", "gt": ">", "greaterthan": ">",
    "ge": ">=", ">=": ">=", "<": "<", "lt": "<", "lessthan": "<", "<=": "<=", "le": "<=",
  ]

  static func isKnown(_ name: String) -> Bool { names.contains(name) || comparisons[name] != nil }

  static func apply(
    _ name: String, to value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> Bool {
    let title = "the test '\(name.prefix(80))'"
    func one() throws -> TemplateValue {
      try arguments.bound(to: ["value"], required: 1, of: title, renderer)[0]!
    }
    if let operation = comparisons[name] { return try renderer.holds(operation, value, try one()) }
    switch name {
    case "divisibleby":
      return try renderer.equal(try modulo(value, try one(), renderer), .integer(0))
    case "sameas":
      let other = try one()
      switch value {
      case .none, .bool, .undefined: return value.isSame(other)
      default:
        guard value.typeName != other.typeName || value.measure.depth > 0 else {
          throw renderer.unsupported("the test 'sameas' of a \(value.typeName)")
        }
        return value.isSame(other)
      }
    case "in": return try renderer.contains(try one(), value)
    case "filter", "test":
      guard arguments.positional.isEmpty, arguments.named.isEmpty else {
        throw renderer.failure("\(title) takes no arguments")
      }
      guard let text = value.text?.string else { return false }
      return name == "filter" ? TemplateFilter.isKnown(text) : isKnown(text)
    default:
      guard isKnown(name) else { throw renderer.failure("there is no test '\(name.prefix(80))'") }
      guard arguments.positional.isEmpty, arguments.named.isEmpty else {
        throw renderer.failure("\(title) takes no arguments")
      }
      return try simple(name, value, renderer)
    }
  }

  private static func modulo(
    _ value: TemplateValue, _ divisor: TemplateValue, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.arithmetic("%", value, divisor)
  }

  private static func simple(_ name: String, _ value: TemplateValue, _ renderer: TemplateRenderer) throws -> Bool {
    switch (name, value) {
    case ("defined", .undefined): return false
    case ("defined", _): return true
    case ("undefined", .undefined): return true
    case ("none", .none): return true
    case ("boolean", .bool): return true
    case ("true", .bool(let value)): return value
    case ("false", .bool(let value)): return !value
    case ("integer", .integer), ("float", .float), ("string", .string), ("mapping", .dictionary): return true
    case ("number", .integer), ("number", .float), ("number", .bool): return true
    case ("sequence", .undefined), ("sequence", .string), ("sequence", .list), ("sequence", .tuple),
      ("sequence", .dictionary), ("sequence", .range):
      return true
    case ("iterable", .none), ("iterable", .bool), ("iterable", .integer), ("iterable", .float),
      ("iterable", .namespace), ("iterable", .function):
      return false
    case ("iterable", _): return true
    case ("callable", .function), ("callable", .undefined), ("callable", .loop): return true
    case ("escaped", .string(let text)): return text.isSafe
    case ("odd", _), ("even", _):
      let remainder = try modulo(value, .integer(2), renderer)
      return try renderer.equal(remainder, .integer(name == "odd" ? 1 : 0))
    case ("lower", _), ("upper", _):
      let scalars = try renderer.text(value).scalars
      let isCased = scalars.contains(where: \.isPythonCased)
      return isCased
        && !scalars.contains {
          $0.isPythonTitlecase || (name == "lower" ? $0.isPythonUppercase : $0.isPythonLowercase)
        }
    default: return false
    }
  }
}
