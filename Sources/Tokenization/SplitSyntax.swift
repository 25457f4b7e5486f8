/// A split pattern in the syntax of Oniguruma, in which `tokenizer.json` has it, rewritten for PCRE2 so that it means
/// the same there. What would mean something else, or what no published pattern uses, is refused by name.
///
/// Differences that the rewriting settles: `\v` is one character, `{2,3}+` repeats what is before it, brackets nest, a
/// script is that of the Script property, `^` and `$` are those of lines.
struct SplitSyntax {
  /// What a pattern has that is not supported.
  struct Unsupported: Error { let part: String }

  private let input: [Unicode.Scalar]
  private var position = 0
  private var output: [UInt8] = []
  private var depth = 0
  private var ignoresCase = false
  /// The literal before this place, for pairs of letters that one character spells when case is ignored.
  private var lastLiteral: Unicode.Scalar?

  private static let deepest = 100

  /// The pattern in PCRE2's syntax; for `PCRE2_UTF`, `PCRE2_UCP` and `PCRE2_MULTILINE`.
  static func rewritten(_ pattern: String) throws(Unsupported) -> [UInt8] {
    var syntax = SplitSyntax(input: Array(pattern.unicodeScalars))
    try syntax.readAlternatives()
    guard syntax.next == nil else { throw Unsupported(part: "a closing parenthesis without an opening one") }
    return syntax.output
  }

  /// The pattern that matches `text` and nothing else.
  static func quoted(_ text: String) throws(Unsupported) -> [UInt8] {
    var syntax = SplitSyntax(input: [])
    for scalar in text.unicodeScalars {
      try syntax.check(literal: scalar)
      syntax.write(scalar)
    }
    return syntax.output
  }

  private init(input: [Unicode.Scalar]) { self.input = input }

  private var next: Unicode.Scalar? { position < input.count ? input[position] : nil }

  private func follows(_ text: String) -> Bool { input[position...].starts(with: text.unicodeScalars) }

  private mutating func skip(_ text: String) -> Bool {
    guard follows(text) else { return false }
    position += text.unicodeScalars.count
    return true
  }

  private mutating func write(_ text: String) { output += text.utf8 }

  private mutating func write(_ scalar: Unicode.Scalar) { write("\\x{" + String(scalar.value, radix: 16) + "}") }

  // MARK: - Outside of brackets

  private mutating func readAlternatives() throws(Unsupported) {
    depth += 1
    guard depth <= Self.deepest else {
      throw Unsupported(part: "parentheses or brackets of more than \(Self.deepest) levels")
    }
    lastLiteral = nil
    while let scalar = next, scalar != ")" {
      if scalar == "|" {
        position += 1
        write("|")
        lastLiteral = nil
      } else {
        let start = output.count
        try readAtom()
        try readRepeats(from: start)
      }
    }
    depth -= 1
  }

  private mutating func readAtom() throws(Unsupported) {
    let scalar = input[position]
    switch scalar {
    case "(": try readGroup()
    case "[": try readBrackets()
    case "\\": try readEscape()
    case ".": write("\\N")
    case "^", "$": write(String(scalar))
    case "*", "+", "?", "{": throw Unsupported(part: "\(scalar) with nothing before it")
    default: return try writeLiteral()
    }
    lastLiteral = nil
    if scalar == "." || scalar == "^" || scalar == "$" { position += 1 }
  }

  /// A character that stands for itself.
  private mutating func writeLiteral() throws(Unsupported) {
    let scalar = input[position]
    position += 1
    try check(literal: scalar)
    if ignoresCase, let lastLiteral {
      // With case ignored one character spells two of these: ß, ﬀ, ﬁ, ﬂ, ﬆ.
      let pair = String(lastLiteral).lowercased() + String(scalar).lowercased()
      guard !["ss", "ff", "fi", "fl", "st"].contains(pair) else { throw Unsupported(part: "\(pair) with case ignored") }
    }
    write(scalar)
    lastLiteral = scalar
  }

  private func check(literal: Unicode.Scalar) throws(Unsupported) {
    guard !ignoresCase || literal.isASCII else { throw Unsupported(part: "\(literal) with case ignored") }
    guard UnicodeStandIns.shared.standIn(for: literal) == nil else {
      throw Unsupported(part: "the character \(literal)")
    }
  }

  private mutating func readGroup() throws(Unsupported) {
    let before = ignoresCase
    // No part of a match is asked for, so parentheses capture nothing.
    if let opening = ["(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"].first(where: follows) {
      position += opening.unicodeScalars.count
      write(opening)
      if opening == "(?i:" { ignoresCase = true }
    } else if follows("(?") || follows("(*") {
      throw Unsupported(
        part: "a group that begins with \(String(String.UnicodeScalarView(input[position...].prefix(4))))")
    } else {
      position += 1
      write("(?:")
    }
    try readAlternatives()
    guard skip(")") else { throw Unsupported(part: "an opening parenthesis without a closing one") }
    write(")")
    ignoresCase = before
  }

  private mutating func readRepeats(from start: Int) throws(Unsupported) {
    guard let scalar = next else { return }
    switch scalar {
    case "*", "+", "?":
      position += 1
      write(String(scalar))
      if let mode = next, mode == "+" || mode == "?" {
        position += 1
        write(String(mode))
      }
    case "{":
      let bounds = try readBounds()
      write(bounds)
      if skip("?") {
        guard bounds.contains(",") else { throw Unsupported(part: "\(bounds)?") }
        write("?")
      } else if skip("+") {
        output.insert(contentsOf: "(?:".utf8, at: start)
        write(")+")
      }
    default: return
    }
    lastLiteral = nil
    if let scalar = next, "*+?{".unicodeScalars.contains(scalar) {
      throw Unsupported(part: "a repetition of a repetition")
    }
  }

  /// `{2}`, `{2,}`, `{,3}` or `{2,3}`.
  private mutating func readBounds() throws(Unsupported) -> String {
    let rest = String(String.UnicodeScalarView(input[position...].prefix(16)))
    guard let match = rest.prefixMatch(of: /\{(\d{0,5})(,?)(\d{0,5})\}/), match.1.count + match.3.count > 0,
      match.2.count == 1 || match.3.isEmpty
    else { throw Unsupported(part: "{ with no numbers after it") }
    position += rest.distance(from: rest.startIndex, to: match.range.upperBound)
    return "{\(match.1.isEmpty ? "0" : match.1)\(match.2)\(match.3)}"
  }

  // MARK: - Escapes

  private mutating func readEscape() throws(Unsupported) {
    if let set = try readSet() { return write(set) }
    for anchor in ["\\A", "\\z", "\\Z"] where skip(anchor) { return write(anchor) }
    write(try readEscapedCharacter())
  }

  /// `\s` and its like.
  private mutating func readSet() throws(Unsupported) -> String? {
    for set in ["\\s", "\\S", "\\d", "\\D"] where skip(set) { return set }
    guard follows("\\p") || follows("\\P") else { return nil }
    let rest = String(String.UnicodeScalarView(input[position...].prefix(40)))
    guard let match = rest.prefixMatch(of: /\\[pP]\{(\^?)([A-Za-z_ \-]+)\}/), !ignoresCase else {
      throw Unsupported(part: String(rest.prefix(8)) + (ignoresCase ? " with case ignored" : ""))
    }
    let name = match.2.filter { $0.isLetter }.lowercased()
    guard let category = Self.categories[name] else { throw Unsupported(part: String(match.0)) }
    position += rest.distance(from: rest.startIndex, to: match.range.upperBound)
    let isNegated = rest.hasPrefix("\\P") != !match.1.isEmpty
    return (isNegated ? "\\P{" : "\\p{") + category + "}"
  }

  /// General categories, and the script that published patterns name. `sc:` excludes characters that the script merely uses.
  private static let categories: [String: String] = {
    let short = [
      "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe",
      "Pi",
      "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Cc", "Cf",
    ]
    let long = [
      "letter": "L", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "mark": "M", "number": "N",
      "decimalnumber": "Nd",
      "punctuation": "P", "symbol": "S", "separator": "Z", "han": "sc:Han",
    ]
    return long.merging(short.map { ($0.lowercased(), $0) }) { $1 }
  }()

  private mutating func readEscapedCharacter() throws(Unsupported) -> Unicode.Scalar {
    let rest = String(String.UnicodeScalarView(input[position...].prefix(12)))
    let scalar: Unicode.Scalar?
    let length: Int
    if let match = rest.prefixMatch(of: /\\(?:x\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})|x([0-7][0-9A-Fa-f]))/) {
      scalar = UInt32(match.1 ?? match.2 ?? match.3 ?? "", radix: 16).flatMap(Unicode.Scalar.init)
      length = match.0.unicodeScalars.count
    } else {
      let escaped = input.count > position + 1 ? input[position + 1] : "\\"
      let controls: [Unicode.Scalar: Unicode.Scalar] = [
        "n": "\n", "r": "\r", "t": "\t", "f": "\u{C}", "v": "\u{B}", "a": "\u{7}", "e": "\u{1B}",
      ]
      let isPlain = escaped.isASCII && !escaped.properties.isAlphabetic && !("0"..."9").contains(escaped)
      scalar = input.count > position + 1 ? controls[escaped] ?? (isPlain ? escaped : nil) : nil
      length = 2
    }
    guard let scalar else { throw Unsupported(part: String(rest.prefix(2))) }
    try check(literal: scalar)
    position += length
    return scalar
  }

  // MARK: - Brackets

  private mutating func readBrackets() throws(Unsupported) {
    position += 1
    write("[")
    if skip("^") { write("^") }
    try readMembers()
    write("]")
  }

  /// What is between brackets, and the closing one. Brackets inside add their members.
  private mutating func readMembers() throws(Unsupported) {
    depth += 1
    guard depth <= Self.deepest else {
      throw Unsupported(part: "parentheses or brackets of more than \(Self.deepest) levels")
    }
    guard next != "]" else { throw Unsupported(part: "brackets with nothing between them") }
    while let scalar = next, scalar != "]" {
      if follows("[:") || follows("[^") || follows("&&") {
        throw Unsupported(part: "\(String(String.UnicodeScalarView(input[position...].prefix(2)))) in brackets")
      }
      if scalar == "[" {
        position += 1
        try readMembers()
      } else if scalar == "\\", let set = try readSet() {
        write(set)
      } else {
        let first = try readMember()
        write(first)
        guard next == "-", position + 1 < input.count, input[position + 1] != "]" else { continue }
        position += 1
        guard next != "[" else { throw Unsupported(part: "-[ in brackets") }
        let last = try readMember()
        guard last.value >= first.value else { throw Unsupported(part: "the range \(first)-\(last)") }
        guard !ignoresCase || (first.isASCII && last.isASCII) else {
          throw Unsupported(part: "\(last) with case ignored")
        }
        write("-")
        write(last)
      }
    }
    guard skip("]") else { throw Unsupported(part: "an opening bracket without a closing one") }
    depth -= 1
  }

  private mutating func readMember() throws(Unsupported) -> Unicode.Scalar {
    guard let scalar = next else { throw Unsupported(part: "an opening bracket without a closing one") }
    if scalar == "\\" { return try readEscapedCharacter() }
    try check(literal: scalar)
    position += 1
    return scalar
  }
}
