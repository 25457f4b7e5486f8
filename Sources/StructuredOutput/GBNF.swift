/// A grammar in GBNF, the notation of llama.cpp: rules of texts, classes of characters, groups, alternatives and counts.
struct GBNF {
  indirect enum Expression {
    /// Texts of single characters of these sets, one after the other.
    case set(ScalarSet)
    case rule(String)
    case sequence([Expression])
    case alternatives([Expression])
    case repeated(Expression, minimum: Int, maximum: Int?)
  }

  /// The most bytes of a grammar, or of a regular expression.
  static let maximumSize = 100_000

  private(set) var rules: [String: Expression] = [:]

  /// - Throws: what is wrong, with the line.
  init(_ text: String) throws(GBNFError) {
    guard text.utf8.count <= Self.maximumSize else {
      throw GBNFError(line: nil, reason: "the grammar has more than \(Self.maximumSize) bytes")
    }
    var parser = GBNFParser(text)
    rules = try parser.rules()
    guard rules["root"] != nil else { throw GBNFError(line: nil, reason: "there is no rule named root") }
  }
}

/// What is wrong with a grammar.
struct GBNFError: Error {
  /// From 1; nil where the grammar as a whole is meant.
  var line: Int?
  var reason: String
}

private struct GBNFParser {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var depth = 0
  private static let maximumDepth = 100
  private static let maximumRules = 2048

  init(_ text: String) { scalars = Array(text.unicodeScalars) }

  private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private func failure(_ reason: String) -> GBNFError {
    GBNFError(line: 1 + scalars[..<min(position, scalars.count)].count { $0 == "\n" }, reason: reason)
  }

  private mutating func take(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    guard scalars[position...].starts(with: wanted) else { return false }
    position += wanted.count
    return true
  }

  /// Spaces and comments, and line ends where a rule goes on after them.
  private mutating func skipSpace(lines: Bool) {
    while let scalar = current {
      if scalar == "#" {
        while let next = current, next != "\n", next != "\r" { position += 1 }
      } else if scalar == " " || scalar == "\t" || lines && (scalar == "\n" || scalar == "\r") {
        position += 1
      } else {
        break
      }
    }
  }

  mutating func rules() throws(GBNFError) -> [String: GBNF.Expression] {
    var result: [String: GBNF.Expression] = [:]
    var used: [(name: String, position: Int)] = []
    skipSpace(lines: true)
    while current != nil {
      let start = position
      let name = try name()
      skipSpace(lines: false)
      guard take("::=") else { throw failure("the name \(name) without ::= after it") }
      skipSpace(lines: true)
      let expression = try alternatives(isNested: false, &used)
      guard result.updateValue(expression, forKey: name) == nil else {
        position = start
        throw failure("a second rule named \(name)")
      }
      guard result.count <= Self.maximumRules else { throw failure("more than \(Self.maximumRules) rules") }
      guard current == nil || current == "\n" || current == "\r" else { throw failure("no end of the rule \(name)") }
      skipSpace(lines: true)
    }
    if let missing = used.first(where: { result[$0.name] == nil }) {
      position = missing.position
      throw failure("no rule named \(missing.name)")
    }
    return result
  }

  private mutating func name() throws(GBNFError) -> String {
    let start = position
    while let scalar = current, scalar.isASCII,
      scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "-" || scalar == "_"
    {
      position += 1
    }
    guard position > start else { throw failure("no name of a rule where one must be") }
    return String(String.UnicodeScalarView(scalars[start..<position]))
  }

  private mutating func alternatives(
    isNested: Bool, _ used: inout [(name: String, position: Int)]
  ) throws(GBNFError) -> GBNF.Expression {
    var choices = [try sequence(isNested: isNested, &used)]
    while take("|") {
      skipSpace(lines: true)
      choices.append(try sequence(isNested: isNested, &used))
    }
    return choices.count == 1 ? choices[0] : .alternatives(choices)
  }

  private mutating func sequence(
    isNested: Bool, _ used: inout [(name: String, position: Int)]
  ) throws(GBNFError) -> GBNF.Expression {
    var parts: [GBNF.Expression] = []
    while let scalar = current {
      var part: GBNF.Expression
      switch scalar {
      case "\"":
        position += 1
        part = .sequence(try text().map { .set($0) })
      case "[":
        position += 1
        part = .set(try characterClass())
      case ".":
        position += 1
        part = .set(.all)
      case "(":
        position += 1
        depth += 1
        guard depth <= Self.maximumDepth else { throw failure("groups nested deeper than \(Self.maximumDepth) levels") }
        skipSpace(lines: true)
        part = try alternatives(isNested: true, &used)
        guard take(")") else { throw failure("a ( without its )") }
        depth -= 1
      case "<", "!": throw failure("a token of a model, which is not supported")
      case "*", "+", "?", "{": throw failure("a count \(scalar) without anything before it")
      case _ where scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "_"):
        let start = position
        let name = try name()
        used.append((name, start))
        part = .rule(name)
      default: return parts.count == 1 ? parts[0] : .sequence(parts)
      }
      skipSpace(lines: isNested)
      while let counts = try count() {
        part = .repeated(part, minimum: counts.0, maximum: counts.1)
        skipSpace(lines: isNested)
      }
      parts.append(part)
    }
    return parts.count == 1 ? parts[0] : .sequence(parts)
  }

  private mutating func count() throws(GBNFError) -> (Int, Int?)? {
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    guard take("{") else { return nil }
    skipSpace(lines: true)
    // "{,3}" counts from 0.
    let minimum = number() ?? 0
    skipSpace(lines: true)
    var maximum: Int? = minimum
    if take(",") {
      skipSpace(lines: true)
      maximum = number()
      skipSpace(lines: true)
    }
    guard take("}") else { throw failure("a { without its }") }
    guard maximum ?? minimum >= minimum else { throw failure("a count whose numbers are out of order") }
    return (minimum, maximum)
  }

  private mutating func number() -> Int? {
    let start = position
    while let scalar = current, ("0"..."9").contains(scalar) { position += 1 }
    return start == position
      ? nil : Int(String(String.UnicodeScalarView(scalars[start..<position].prefix(9))))
  }

  /// A text up to its closing quote.
  private mutating func text() throws(GBNFError) -> [ScalarSet] {
    var result: [ScalarSet] = []
    while !take("\"") { result.append(ScalarSet(try character("a text without its closing quote"))) }
    return result
  }

  private mutating func characterClass() throws(GBNFError) -> ScalarSet {
    let isInverted = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    while !take("]") {
      let first = try character("a [ without its ]").value
      if current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
        position += 1
        let last = try character("a [ without its ]").value
        guard first <= last else { throw failure("a range of characters whose ends are out of order") }
        ranges.append(first...last)
      } else {
        ranges.append(first...first)
      }
    }
    let set = ScalarSet(ranges).intersection(.all)
    return isInverted ? set.inverted : set
  }

  /// A character of a text or a class.
  private mutating func character(_ missing: String) throws(GBNFError) -> Unicode.Scalar {
    guard let scalar = current else { throw failure(missing) }
    position += 1
    guard scalar == "\\" else { return scalar }
    guard let escaped = current else { throw failure(missing) }
    position += 1
    let digits: Int
    switch escaped {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "\\", "\"", "[", "]", "-", "^": return escaped
    case "x": digits = 2
    case "u": digits = 4
    case "U": digits = 8
    default: throw failure("an unknown escape \\\(escaped)")
    }
    let text = scalars[position...].prefix(digits)
    guard text.count == digits, text.allSatisfy(\.properties.isASCIIHexDigit),
      let value = UInt32(String(String.UnicodeScalarView(text)), radix: 16), let result = Unicode.Scalar(value)
    else { throw failure("an escape \\\(escaped) without its \(digits) hexadecimal digits") }
    position += digits
    return result
  }
}
