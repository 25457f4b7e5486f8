import Foundation

/// A token of Jinja, with its line.
struct TemplateToken: Sendable {
  enum Kind: Sendable, Equatable {
    case data([Unicode.Scalar])
    case variableBegin, variableEnd, blockBegin, blockEnd
    case name(String)
    case string([Unicode.Scalar])
    case integer(Int)
    case float(Double)
    /// An operator or a bracket.
    case symbol(String)
    case end
  }

  var kind: Kind
  var line: Int

  /// What a message calls it.
  var described: String {
    switch kind {
    case .data: "text"
    case .variableBegin: "'{{'"
    case .variableEnd: "'}}'"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .name(let name): "'\(name.prefix(80))'"
    case .string: "a string"
    case .integer, .float: "a number"
    case .symbol(let symbol): "'\(symbol)'"
    case .end: "the end of the template"
    }
  }
}

/// Cuts a template into tokens as Jinja's lexer does with `trim_blocks` and `lstrip_blocks`.
struct TemplateLexer {
  private let source: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  /// Whether the token before ended with a line break.
  private var isLineStart = true
  private var tokens: [TemplateToken] = []

  static func tokens(_ source: String) throws(TemplateError) -> [TemplateToken] {
    var lexer = TemplateLexer(source)
    try lexer.run()
    return lexer.tokens
  }

  private init(_ text: String) {
    var scalars: [Unicode.Scalar] = []
    var previous: Unicode.Scalar?
    for scalar in text.unicodeScalars {
      if scalar == "\r" {
        scalars.append("\n")
      } else if scalar != "\n" || previous != "\r" {
        scalars.append(scalar)
      }
      previous = scalar
    }
    // Jinja drops one line break at the end (`keep_trailing_newline` is false).
    if scalars.last == "\n" { scalars.removeLast() }
    source = scalars
  }

  private func failure(_ reason: String) -> TemplateError { TemplateError(.syntax, line: line, reason) }

  private func peek(_ offset: Int = 0) -> Unicode.Scalar? {
    position + offset < source.count ? source[position + offset] : nil
  }

  private func at(_ text: String, _ place: Int) -> Bool {
    var index = place
    for scalar in text.unicodeScalars {
      guard index < source.count, source[index] == scalar else { return false }
      index += 1
    }
    return true
  }

  private mutating func add(_ kind: TemplateToken.Kind) { tokens.append(TemplateToken(kind: kind, line: line)) }

  /// Goes on to `place`, counting lines.
  private mutating func advance(to place: Int) {
    for index in position..<place where source[index] == "\n" { line += 1 }
    if place > position { isLineStart = source[place - 1] == "\n" }
    position = place
  }

  private func skippingSpace(_ place: Int) -> Int {
    var place = place
    while place < source.count, source[place].isPythonSpace { place += 1 }
    return place
  }

  /// The end of a tag that closes with `text` at `place`; nil if it does not close there.
  private func closing(_ text: String, at place: Int, trimsLine: Bool, allowsPlus: Bool) -> Int? {
    if at("-" + text, place) { return skippingSpace(place + 3) }
    if allowsPlus, at("+" + text, place) { return place + 3 }
    guard at(text, place) else { return nil }
    return trimsLine && place + 2 < source.count && source[place + 2] == "\n" ? place + 3 : place + 2
  }

  private mutating func run() throws(TemplateError) {
    while true {
      guard let (begin, kind) = nextTag() else {
        addData(position..<source.count)
        advance(to: source.count)
        add(.end)
        return
      }
      let sign: Unicode.Scalar? = begin + 2 < source.count ? source[begin + 2] : nil
      let isRaw = kind == "%" ? rawBegin(begin) : nil
      addData(stripped(position..<begin, sign: sign, isVariable: kind == "{"))
      advance(to: begin)
      let tagStart = begin + (sign == "-" || sign == "+" ? 3 : 2)
      if let body = isRaw {
        advance(to: body)
        try raw()
      } else if kind == "#" {
        advance(to: tagStart)
        try comment()
      } else {
        add(kind == "{" ? .variableBegin : .blockBegin)
        advance(to: tagStart)
        try tag(isVariable: kind == "{")
      }
    }
  }

  private func nextTag() -> (Int, Unicode.Scalar)? {
    var place = position
    while place + 1 < source.count {
      if source[place] == "{" {
        let kind = source[place + 1]
        if kind == "%" || kind == "{" || kind == "#" { return (place, kind) }
      }
      place += 1
    }
    return nil
  }

  private mutating func addData(_ range: Range<Int>) {
    if !range.isEmpty { add(.data(Array(source[range]))) }
  }

  /// The text before a tag, without what the tag's sign or `lstrip_blocks` takes.
  private func stripped(_ range: Range<Int>, sign: Unicode.Scalar?, isVariable: Bool) -> Range<Int> {
    var end = range.upperBound
    while end > range.lowerBound, source[end - 1].isPythonSpace, sign == "-" || source[end - 1] != "\n" { end -= 1 }
    if sign == "-" { return range.lowerBound..<end }
    if sign == "+" || isVariable { return range }
    // Only white space stands before the tag in its line.
    return end > range.lowerBound
      ? (source[end - 1] == "\n" ? range.lowerBound..<end : range)
      : isLineStart ? range.lowerBound..<end : range
  }

  /// The place after a `{% raw %}` that begins at `begin`.
  private func rawBegin(_ begin: Int) -> Int? {
    var place = begin + 2
    if place < source.count, source[place] == "-" || source[place] == "+" { place += 1 }
    place = skippingSpace(place)
    guard at("raw", place) else { return nil }
    place = skippingSpace(place + 3)
    return closing("%}", at: place, trimsLine: false, allowsPlus: false)
  }

  private mutating func raw() throws(TemplateError) {
    var place = position
    while place + 1 < source.count {
      guard at("{%", place) else {
        place += 1
        continue
      }
      let sign: Unicode.Scalar? = place + 2 < source.count ? source[place + 2] : nil
      let name = skippingSpace(place + (sign == "-" || sign == "+" ? 3 : 2))
      if at("endraw", name),
        let end = closing("%}", at: skippingSpace(name + 6), trimsLine: true, allowsPlus: true)
      {
        addData(stripped(position..<place, sign: sign, isVariable: false))
        advance(to: end)
        return
      }
      place += 1
    }
    // Jinja does not mind one that nothing follows.
    if position < source.count { throw failure("the block 'raw' is not closed") }
  }

  private mutating func comment() throws(TemplateError) {
    var place = position
    while place < source.count {
      if let end = closing("#}", at: place, trimsLine: true, allowsPlus: true) {
        advance(to: end)
        return
      }
      place += 1
    }
    if position < source.count { throw failure("a comment is not closed") }
  }

  private static let symbols = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
  ]
  private static let brackets = ["(": ")", "[": "]", "{": "}"]

  private mutating func tag(isVariable: Bool) throws(TemplateError) {
    var open: [String] = []
    while let scalar = peek() {
      if open.isEmpty,
        let end = isVariable
          ? closing("}}", at: position, trimsLine: false, allowsPlus: false)
          : closing("%}", at: position, trimsLine: true, allowsPlus: true)
      {
        add(isVariable ? .variableEnd : .blockEnd)
        advance(to: end)
        return
      }
      if scalar.isPythonSpace {
        advance(to: skippingSpace(position))
      } else if scalar.properties.numericType == .decimal, scalar.isASCII {
        try number()
      } else if scalar.isPythonWord {
        try name()
      } else if scalar == "'" || scalar == "\"" {
        try string(quote: scalar)
      } else if let symbol = Self.symbols.first(where: { at($0, position) }) {
        if let close = Self.brackets[symbol] {
          open.append(close)
        } else if [")", "]", "}"].contains(symbol) {
          guard let expected = open.popLast() else { throw failure("a '\(symbol)' without its opening") }
          guard expected == symbol else { throw failure("'\(symbol)' where '\(expected)' was expected") }
        }
        add(.symbol(symbol))
        advance(to: position + symbol.utf8.count)
      } else {
        throw failure("an unexpected character \(JSONText.quoted(String(scalar)))")
      }
    }
    throw failure(isVariable ? "a '{{' is not closed" : "a '{%' is not closed")
  }

  private mutating func name() throws(TemplateError) {
    var end = position
    while end < source.count, source[end].isPythonWord { end += 1 }
    let text = TemplateText.string(source[position..<end])
    guard source[position] == "_" || source[position].isPythonLetter else {
      throw failure("'\(text.prefix(80))' is no name")
    }
    add(.name(text))
    advance(to: end)
  }

  private func digits(_ place: Int, _ isDigit: (Unicode.Scalar) -> Bool) -> Int {
    var end = place
    while end < source.count {
      if isDigit(source[end]) {
        end += 1
      } else if source[end] == "_", end > place, end + 1 < source.count, isDigit(source[end + 1]) {
        end += 2
      } else {
        break
      }
    }
    return end
  }

  private mutating func number() throws(TemplateError) {
    func isDecimal(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)]
    where at(prefix, position) || at(prefix.uppercased(), position) {
      let start = position + 2
      let first = start < source.count && source[start] == "_" ? start + 1 : start
      let end = digits(first) { $0.isASCII && Character($0).hexDigitValue.map { $0 < radix } ?? false }
      if end > first {
        try addInteger(first..<end, radix: radix)
        return advance(to: end)
      }
    }
    var end = digits(position, isDecimal)
    let wholeEnd = end
    let isAfterDot = position > 0 && source[position - 1] == "."
    if end < source.count, source[end] == ".", !isAfterDot {
      let fraction = digits(end + 1, isDecimal)
      if fraction > end + 1 { end = fraction }
    }
    if end < source.count, source[end] == "e" || source[end] == "E", !isAfterDot {
      var exponent = end + 1
      if exponent < source.count, source[exponent] == "+" || source[exponent] == "-" { exponent += 1 }
      let last = digits(exponent, isDecimal)
      if last > exponent { end = last }
    }
    if end > wholeEnd {
      let text = TemplateText.string(source[position..<end]).replacingOccurrences(of: "_", with: "")
      add(.float(Double(text) ?? .infinity))
    } else {
      // A number does not begin with zeros: `007` is three of them.
      if source[position] == "0" {
        end = position + 1
        while end < wholeEnd, source[end] == "0" { end += 1 }
      }
      try addInteger(position..<end, radix: 10)
    }
    advance(to: end)
  }

  private mutating func addInteger(_ range: Range<Int>, radix: Int) throws(TemplateError) {
    let text = TemplateText.string(source[range]).replacingOccurrences(of: "_", with: "")
    guard let value = Int(text, radix: radix) else { throw failure("the whole number \(text.prefix(40)) is too large") }
    add(.integer(value))
  }

  private mutating func string(quote: Unicode.Scalar) throws(TemplateError) {
    var end = position + 1
    while end < source.count, source[end] != quote { end += source[end] == "\\" ? 2 : 1 }
    guard end < source.count else { throw failure("a string is not closed") }
    add(.string(try unescaped(Array(source[position + 1..<end]))))
    advance(to: end + 1)
  }

  /// Python's `unicode-escape`.
  private func unescaped(_ text: [Unicode.Scalar]) throws(TemplateError) -> [Unicode.Scalar] {
    guard text.contains("\\") else { return text }
    let plain: [Unicode.Scalar: Unicode.Scalar] = [
      "\\": "\\", "'": "'", "\"": "\"", "n": "\n", "t": "\t", "r": "\r", "a": "\u{7}", "b": "\u{8}", "f": "\u{C}",
      "v": "\u{B}",
    ]
    var result: [Unicode.Scalar] = []
    var index = 0
    while index < text.count {
      guard text[index] == "\\", index + 1 < text.count else {
        result.append(text[index])
        index += 1
        continue
      }
      let letter = text[index + 1]
      index += 2
      if let scalar = plain[letter] {
        result.append(scalar)
      } else if letter == "\n" {
        continue
      } else if ("0"..."7").contains(letter) {
        var value = letter.value - 48
        var count = 1
        while count < 3, index < text.count, ("0"..."7").contains(text[index]) {
          value = value * 8 + text[index].value - 48
          (index, count) = (index + 1, count + 1)
        }
        result.append(Unicode.Scalar(value)!)
      } else if let length = ["x": 2, "u": 4, "U": 8][letter] {
        guard index + length <= text.count,
          let value = UInt32(TemplateText.string(text[index..<index + length]), radix: 16),
          let scalar = Unicode.Scalar(value), text[index] != "+"
        else { throw failure("an escape \\\(letter) in a string that is no character") }
        result.append(scalar)
        index += length
      } else if letter == "N" {
        throw TemplateError(.unsupported, line: line, "the escape \\N in a string")
      } else {
        result += ["\\", letter]
      }
    }
    return result
  }
}
