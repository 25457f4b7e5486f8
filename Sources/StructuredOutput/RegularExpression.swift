/// A regular expression, as a tree.
///
/// It reads the regular part of ECMA-262 (section 22.2), by code points: characters and their escapes, classes, groups,
/// alternatives, quantifiers, and `^` and `$` for the ends of the text.
indirect enum RegularExpression: Sendable {
  case set(ScalarSet)
  case sequence([RegularExpression])
  case alternatives([RegularExpression])
  /// - Parameter maximum: nil for any number.
  case repeated(RegularExpression, minimum: Int, maximum: Int?)
  case textStart
  case textEnd

  static let empty = RegularExpression.sequence([])
  static let anything = RegularExpression.repeated(.set(.all), minimum: 0, maximum: nil)

  init(text: String) { self = .sequence(text.unicodeScalars.map { .set(ScalarSet($0)) }) }

  /// - Throws: a sentence about what is wrong or not supported.
  init(_ pattern: String) throws(RegularExpressionError) {
    guard pattern.utf8.count <= GBNF.maximumSize else {
      throw RegularExpressionError(reason: "more than \(GBNF.maximumSize) bytes")
    }
    var parser = RegularExpressionParser(pattern)
    self = try parser.whole()
  }

  /// The expression as the whole text is to match it, or any part of it.
  static func containing(_ pattern: String) throws(RegularExpressionError) -> RegularExpression {
    .sequence([anything, try RegularExpression(pattern), anything])
  }
}

/// Why a pattern cannot be kept to.
struct RegularExpressionError: Error {
  var reason: String
}

private struct RegularExpressionParser {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var depth = 0
  private static let maximumDepth = 100
  /// More than any automaton may have.
  private static let maximumCount = 1_000_000_000

  init(_ pattern: String) { scalars = Array(pattern.unicodeScalars) }

  private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private func failure(_ reason: String) -> RegularExpressionError { RegularExpressionError(reason: reason) }

  private mutating func take(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    guard scalars[position...].starts(with: wanted) else { return false }
    position += wanted.count
    return true
  }

  mutating func whole() throws(RegularExpressionError) -> RegularExpression {
    let result = try alternatives()
    guard current == nil else { throw failure("a ) without its (") }
    return result
  }

  private mutating func alternatives() throws(RegularExpressionError) -> RegularExpression {
    var choices: [RegularExpression] = []
    repeat {
      var parts: [RegularExpression] = []
      while let next = current, next != "|", next != ")" { parts.append(try term()) }
      choices.append(parts.count == 1 ? parts[0] : .sequence(parts))
    } while take("|")
    return choices.count == 1 ? choices[0] : .alternatives(choices)
  }

  private mutating func term() throws(RegularExpressionError) -> RegularExpression {
    switch current {
    case "^":
      position += 1
      return .textStart
    case "$":
      position += 1
      return .textEnd
    default: return try quantified(try atom())
    }
  }

  private mutating func quantified(_ part: RegularExpression) throws(RegularExpressionError) -> RegularExpression {
    let counts: (Int, Int?)
    switch current {
    case "*": counts = (0, nil)
    case "+": counts = (1, nil)
    case "?": counts = (0, 1)
    case "{":
      guard let found = try count() else { throw failure("a { that begins no count; write \\{ for the character") }
      counts = found
    default: return part
    }
    position += 1
    // A lazy quantifier has the same texts.
    _ = take("?")
    if current == "+" { throw failure("a possessive quantifier") }
    return .repeated(part, minimum: counts.0, maximum: counts.1)
  }

  /// A count in braces, of which the last one is still to be passed; nil if there is none.
  private mutating func count() throws(RegularExpressionError) -> (Int, Int?)? {
    guard let end = scalars[position...].firstIndex(of: "}") else { return nil }
    let parts = scalars[position + 1..<end].split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
    func number(_ digits: ArraySlice<Unicode.Scalar>) -> Int? {
      guard !digits.isEmpty, digits.allSatisfy({ ("0"..."9").contains($0) }) else { return nil }
      return min(Int(String(String.UnicodeScalarView(digits))) ?? Self.maximumCount, Self.maximumCount)
    }
    guard let minimum = number(parts[0]) else { return nil }
    position = end
    if parts.count == 1 { return (minimum, minimum) }
    if parts[1].isEmpty { return (minimum, nil) }
    guard let maximum = number(parts[1]) else { return nil }
    guard minimum <= maximum else { throw failure("a count whose numbers are out of order") }
    return (minimum, maximum)
  }

  private mutating func atom() throws(RegularExpressionError) -> RegularExpression {
    let scalar = current!
    position += 1
    switch scalar {
    case ".": return .set(ScalarSet.lineEnds.inverted)
    case "[": return .set(try characterClass())
    case "(": return try group()
    case "\\": return .set(try escape(inClass: false))
    case "*", "+", "?": throw failure("a quantifier \(scalar) without anything before it")
    case "{": throw failure("a { that begins no count; write \\{ for the character")
    default: return .set(ScalarSet(scalar))
    }
  }

  private mutating func group() throws(RegularExpressionError) -> RegularExpression {
    if take("?") {
      if take(":") {
      } else if take("=") || take("!") {
        throw failure("lookahead")
      } else if take("<=") || take("<!") {
        throw failure("lookbehind")
      } else if take("<") || take("P<") {
        guard let end = scalars[position...].firstIndex(of: ">") else {
          throw failure("a group's name that does not end")
        }
        position = end + 1
      } else {
        throw failure("a group that begins with (?, other than (?: and (?<name>")
      }
    }
    depth += 1
    guard depth <= Self.maximumDepth else { throw failure("groups nested deeper than \(Self.maximumDepth) levels") }
    let result = try alternatives()
    depth -= 1
    guard take(")") else { throw failure("a ( without its )") }
    return result
  }

  private mutating func characterClass() throws(RegularExpressionError) -> ScalarSet {
    let isInverted = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    while true {
      guard current != nil else { throw failure("a [ without its ]") }
      if take("]") { break }
      let first = try classMember()
      guard current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" else {
        ranges += first.ranges
        continue
      }
      position += 1
      let second = try classMember()
      guard let lower = first.onlyScalar, let upper = second.onlyScalar else {
        // With a class at one end, "-" is a character.
        ranges += first.ranges + second.ranges + [0x2D...0x2D]
        continue
      }
      guard lower <= upper else { throw failure("a range of characters whose ends are out of order") }
      ranges.append(lower...upper)
    }
    let set = ScalarSet(ranges).intersection(.all)
    return isInverted ? set.inverted : set
  }

  private mutating func classMember() throws(RegularExpressionError) -> ScalarSet {
    guard let scalar = current else { throw failure("a [ without its ]") }
    position += 1
    return scalar == "\\" ? try escape(inClass: true) : ScalarSet(scalar)
  }

  private mutating func escape(inClass: Bool) throws(RegularExpressionError) -> ScalarSet {
    guard let scalar = current else { throw failure("a \\ at the end") }
    position += 1
    switch scalar {
    case "d": return .digits
    case "D": return ScalarSet.digits.inverted
    case "w": return .wordCharacters
    case "W": return ScalarSet.wordCharacters.inverted
    case "s": return .spaces
    case "S": return ScalarSet.spaces.inverted
    case "t": return ScalarSet("\t")
    case "n": return ScalarSet("\n")
    case "v": return ScalarSet("\u{0B}")
    case "f": return ScalarSet("\u{0C}")
    case "r": return ScalarSet("\r")
    case "0": return ScalarSet("\0")
    case "b" where inClass: return ScalarSet("\u{08}")
    case "b", "B": throw failure("a word boundary \\\(scalar)")
    case "1"..."9", "k": throw failure("a back reference \\\(scalar)")
    case "A", "Z", "z", "G": throw failure("\\\(scalar), which ECMA-262 does not have; write ^ and $")
    case "c":
      guard let letter = current, ("a"..."z").contains(letter) || ("A"..."Z").contains(letter) else {
        throw failure("\\c without a letter")
      }
      position += 1
      return ScalarSet([letter.value & 31...letter.value & 31])
    case "x": return try code(hexadecimal(2))
    case "u": return try unicodeEscape()
    case "p", "P":
      guard take("{"), let end = scalars[position...].firstIndex(of: "}") else { throw failure("\\p without {…}") }
      var name = String(String.UnicodeScalarView(scalars[position..<end]))
      position = end + 1
      for prefix in ["General_Category=", "gc="] where name.hasPrefix(prefix) { name.removeFirst(prefix.count) }
      guard let set = ScalarSet.category(name) else { throw failure("\\p{\(name)}, which is no general category") }
      return scalar == "p" ? set : set.inverted
    case "a"..."z", "A"..."Z": throw failure("the escape \\\(scalar)")
    default: return ScalarSet(scalar)
    }
  }

  private mutating func unicodeEscape() throws(RegularExpressionError) -> ScalarSet {
    if take("{") {
      guard let end = scalars[position...].firstIndex(of: "}"), end - position <= 6 else {
        throw failure("\\u{ without its }")
      }
      let value = try hexadecimal(end - position)
      position = end + 1
      return try code(value)
    }
    let first = try hexadecimal(4)
    guard (0xD800...0xDBFF).contains(first) else { return try code(first) }
    guard take("\\u"), case let second = try hexadecimal(4), (0xDC00...0xDFFF).contains(second) else {
      throw failure("half of a pair of surrogates")
    }
    return try code(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
  }

  private func code(_ value: UInt32) throws(RegularExpressionError) -> ScalarSet {
    guard let scalar = Unicode.Scalar(value) else { throw failure("a code that is no character") }
    return ScalarSet(scalar)
  }

  private mutating func hexadecimal(_ count: Int) throws(RegularExpressionError) -> UInt32 {
    let digits = scalars[position...].prefix(count)
    guard count > 0, digits.count == count, digits.allSatisfy(\.properties.isASCIIHexDigit),
      let value = UInt32(String(String.UnicodeScalarView(digits)), radix: 16)
    else { throw failure("an escape without its \(count) hexadecimal digits") }
    position += count
    return value
  }
}

extension ScalarSet {
  fileprivate var onlyScalar: UInt32? {
    ranges.count == 1 && ranges[0].count == 1 ? ranges[0].lowerBound : nil
  }
}
