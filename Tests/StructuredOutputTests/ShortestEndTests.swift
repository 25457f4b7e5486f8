import Foundation
import Storage
import StructuredOutput
import TestSupport
import Testing
import Tokenization

/// A model that always wants to end gets to a valid end, and by the shortest way.
@Suite struct ShortestEndTests {
  static let tokens = 0..<Int32(ConstraintTests.tokenizer.vocabularySize)
  static let byteTokens = (0...255).map { byte in
    tokens.first { ConstraintTests.tokenizer.bytes(of: $0) == [UInt8(byte)] }!
  }

  /// Bytes until the text may end when a random one of the closing tokens is chosen each time; nil if it does not come
  /// nearer to its end.
  static func shortestRest(_ constraint: some TokenConstraint, using random: inout SeededGenerator) -> Int? {
    var constraint = constraint
    var length = 0
    while let ending = constraint.ending() {
      let allowed = constraint.allowedTokens()
      let closing = tokens.filter(ending.closingTokens.contains)
      guard !closing.isEmpty, closing.allSatisfy(allowed.contains),
        !allowed.contains(ConstraintTests.tokenizer.endToken),
        ending.endTokens.contains(ConstraintTests.tokenizer.endToken), length < 10_000
      else { return nil }
      let token = closing.randomElement(using: &random)!
      constraint.accept(token)
      length += ConstraintTests.tokenizer.bytes(of: token).count
    }
    return constraint.allowedTokens().contains(ConstraintTests.tokenizer.endToken) ? length : nil
  }

  static func accept(_ bytes: some Sequence<UInt8>, _ constraint: inout some TokenConstraint) -> Bool {
    for byte in bytes {
      guard constraint.allowedTokens().contains(byteTokens[Int(byte)]) else { return false }
      constraint.accept(byteTokens[Int(byte)])
    }
    return true
  }

  static let person =
    #"{"properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}"#
  static let free = #"{"properties": {"a": {"const": 1}}, "additionalProperties": {"type": "string"}}"#
  static let any = "{}"

  /// Schemas, what is written already, and a shortest rest.
  static let cases: [(schema: String, written: String, rest: String)] = [
    (person, "", #"{"name":"","age":0}"#), (person, #"{"name": "Anna"#, #"","age":0}"#),
    (person, #"{"name": "Anna","age":-"#, "0}"), (person, #"{"na"#, #"me":"","age":0}"#),
    (person, #"{"name": "Anna", "#, #""age":0}"#),
    (
      #"{"properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "open": {"type": "boolean"}}, "required": ["age"]}"#,
      "", #"{"age":0}"#
    ),
    (
      #"{"properties": {"a": {"const": 1}}, "required": ["b"], "additionalProperties": {"type": "string"}}"#, "",
      #"{"b":""}"#
    ),
    (free, "", "{}"), (free, #"{""#, #"":""}"#), (free, #"{"":"","#, #""b":""}"#), (free, #"{"a"#, #"":1}"#),
    (free, #"{"b":"","b"#, #"c":""}"#), (free, #"{"a":1,"#, #""":""}"#),
    (#"{"properties": {"a": {"const": 1}, "long": {"const": 2}}}"#, #"{"a":1,"#, #""long":2}"#),
    (#"{"items": {"enum": [1, "two", null, [3]]}, "minItems": 1, "maxItems": 3}"#, "", "[1]"),
    (#"{"items": {"type": "string"}, "minItems": 3}"#, "", #"["","",""]"#),
    (#"{"items": {"type": "string"}, "minItems": 3}"#, #"["a","b""#, #",""]"#),
    (#"{"items": {"type": "string"}, "minItems": 3}"#, #"["","","","","#, #"""]"#),
    (#"{"type": "array", "maxItems": 0}"#, "", "[]"), (#"{"items": false}"#, "", "[]"),
    (#"{"type": "string", "minLength": 2, "maxLength": 3}"#, "", #""ab""#),
    (#"{"type": "string", "minLength": 2, "maxLength": 3}"#, #""a\"#, #"nb""#.replacing("b", with: "")),
    (#"{"type": "string"}"#, #""\u00"#, #"ff""#), (#"{"type": "string"}"#, #""\ud83d"#, #"\ude00""#),
    (#"{"type": "string"}"#, #""\ud"#, #"000""#), (#"{"type": "string"}"#, #""\ud83d\u"#, #"de00""#),
    (#"{"type": "string", "minLength": 4}"#, #""\ud8"#, #"3d\ude00abc""#),
    (#"{"enum": ["positive", "negative", "ok", {"a": [1]}]}"#, "", #""ok""#),
    (#"{"enum": ["positive", "negative", "ok", {"a": [1]}]}"#, #""p"#, #"ositive""#),
    (#"{"type": "integer", "minimum": -12, "maximum": 105}"#, "", "0"),
    (#"{"type": "integer", "exclusiveMinimum": 6.5, "exclusiveMaximum": 9}"#, "", "7"),
    (#"{"type": "integer", "maximum": -3}"#, "", "-3"), (#"{"type": "integer", "minimum": 1234567}"#, "", "1234567"),
    (#"{"type": "integer", "minimum": 1234567}"#, "2", "000000"),
    (#"{"type": "integer", "minimum": 1234567}"#, "1", "234567"),
    (#"{"type": "number", "minimum": 0.5, "exclusiveMaximum": 12.25}"#, "", "1"),
    (#"{"type": "number", "minimum": 0.5, "exclusiveMaximum": 12.25}"#, "0", ".5"),
    (#"{"type": "number", "minimum": -0.75, "maximum": -0.125}"#, "", "-0.2"), (#"{"type": "number"}"#, "1e", "5"),
    (#"{"type": "number"}"#, "-", "5"), (#"{"type": "number"}"#, "1.", "5"),
    (
      ##"""
      {"$ref": "#/$defs/tree", "$defs": {"tree": {"anyOf": [{"type": "null"}, {"properties":
        {"value": {"type": ["integer", "string"]}, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
        "required": ["value", "left", "right"]}]}}}
      """##, #"{"value": 1, "left": {"#, #""value":1,"left":null,"right":null},"right":null}"#
    ),
    (
      #"{"oneOf": [{"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]}, {"properties": {"kind": {"const": "ab"}}, "required": ["kind"]}]}"#,
      "", #"{"kind":"ab"}"#
    ),
    (##"{"properties": {"rest": {"$ref": "#"}, "end": {"properties": {}}}, "required": ["end"]}"##, "", #"{"end":{}}"#),
    (ConstraintTests.expressions, "", "1"),
    (ConstraintTests.expressions, #"{"left": {"left": "abcd"#, #"ef","right":1,"op":"add"},"right":1,"op":"add"}"#),
    (any, "", "1"), (any, #"[{"a": [1, "#, "1]}]"), (any, String(repeating: #"{"a":["#, count: 16), "]}".repeated(16)),
    (any, "tr", "ue"),
  ]

  @Test("the shortest rest of a text is found, whatever is written", arguments: cases.indices)
  func lengths(index: Int) throws {
    let (schema, written, rest) = Self.cases[index]
    var constraint = try ConstraintTests.constraint(schema)
    #expect(Self.accept(written.utf8, &constraint), "\(written)")
    var whole = constraint
    #expect(Self.accept(rest.utf8, &whole), "\(written) \(rest)")
    var random = SeededGenerator(seed: UInt64(index))
    for _ in 0..<5 {
      #expect(Self.shortestRest(constraint, using: &random) == rest.utf8.count, "\(schema), \(written)")
    }
  }

  @Test("a character that is begun is completed first")
  func characters() throws {
    var random = SeededGenerator(seed: 1)
    var constraint = try ConstraintTests.constraint(#"{"type": "string"}"#)
    #expect(Self.accept([UInt8(ascii: "\"")] + [0xE4], &constraint))
    #expect(Self.shortestRest(constraint, using: &random) == 3)
  }

  @Test("of numbers with bounds no shorter text is missed", arguments: 0..<40 as Range<UInt64>)
  func numbers(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let isInteger = seed % 2 == 0
    let ends = (0..<2).map { _ in Int.random(in: -2000...2000, using: &random) }.sorted()
    let scale = isInteger ? 1.0 : 100
    let (least, most) = (Double(ends[0]) / scale, Double(ends[1]) / scale)
    let schema = #"{"type": "\#(isInteger ? "integer" : "number")", "minimum": \#(least), "maximum": \#(most)}"#
    let constraint = try ConstraintTests.constraint(schema)
    // All numbers of up to four digits, two of them after the point.
    let fractions =
      isInteger ? [""] : [""] + (0..<10).map { ".\($0)" } + (0..<100).map { $0 < 10 ? ".0\($0)" : ".\($0)" }
    let wholes = isInteger ? 2001 : 21
    let texts = (0..<wholes).flatMap { whole in fractions.flatMap { ["\(whole)\($0)", "-\(whole)\($0)"] } }
      .filter { (least...most).contains(Double($0)!) }
    for text in [""] + (0..<20).map({ _ in texts.randomElement(using: &random)! }) {
      for count in 0...text.count {
        let prefix = String(text.prefix(count))
        let shortest = texts.filter { $0.hasPrefix(prefix) }.map { $0.count - count }.min()
        var begun = constraint
        #expect(Self.accept(prefix.utf8, &begun), "\(schema) \(prefix)")
        #expect(Self.shortestRest(begun, using: &random) == shortest, "\(schema) \(prefix)")
      }
    }
  }

  @Test(
    "from every place of a random text the end is reached, and never by more bytes than the text took",
    arguments: 0..<12 as Range<UInt64>, ["{}", ConstraintTests.expressions, person])
  func randomTexts(seed: UInt64, schema: String) throws {
    var random = SeededGenerator(seed: seed)
    var constraint = try ConstraintTests.constraint(schema)
    var (written, rests): (Int, [(written: Int, rest: Int)]) = (0, [])
    for step in 0..<400 {
      rests.append((written, try #require(Self.shortestRest(constraint, using: &random))))
      let allowed = constraint.allowedTokens()
      if allowed.contains(ConstraintTests.tokenizer.endToken) { break }
      // After a while only to the end.
      let choices = step < 60 ? allowed : try #require(constraint.ending()).closingTokens
      let token = try #require(Self.tokens.filter(choices.contains).randomElement(using: &random))
      constraint.accept(token)
      written += ConstraintTests.tokenizer.bytes(of: token).count
    }
    #expect(rests.last?.rest == 0)
    for (before, rest) in rests { #expect(before + rest <= written) }
  }

  @Test("a call of a tool ends by the shortest way, and text that may end has none")
  func calls() throws {
    var random = SeededGenerator(seed: 2)
    let required = try #require(try ToolChoice.required.constraint(ToolTests.tools, ConstraintTests.vocabulary))
    let now = ToolText.call(name: "now", arguments: "{}")
    #expect(Self.shortestRest(required, using: &random) == now.utf8.count)
    var tools = ToolTests.tools
    tools[0].isStrict = true
    var strict = try StrictCallConstraint(tools, vocabulary: ConstraintTests.vocabulary, allowsSeveralCalls: true)
    #expect(strict.ending() == nil)
    #expect(Self.accept("Hello.\n<tool_call>\n{\"name\": \"we".utf8, &strict))
    let rest = #"ather", "arguments": {"city":""}}"# + "\n</tool_call>"
    #expect(Self.shortestRest(strict, using: &random) == rest.utf8.count)
    var one = OneCallConstraint(tools, vocabulary: ConstraintTests.vocabulary)
    #expect(one.ending() == nil)
  }

  @Test("schemas of endless length have no shortest way and cost nothing")
  func endless() throws {
    let list = #"{"type": "array", "minItems": 2000000000, "items": "#
    let constraint = try ConstraintTests.constraint(list + list + list + #"{"type": "string"}}}}"#)
    #expect(constraint.ending() == nil)
    #expect(constraint.allowedTokens().contains(Self.byteTokens[Int(UInt8(ascii: "["))]))
  }
}

extension String {
  fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}
