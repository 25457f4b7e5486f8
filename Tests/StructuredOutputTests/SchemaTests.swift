import Foundation
import Storage
import StructuredOutput
import Testing
import Tokenization

/// Keywords of JSON Schema beside each other, and texts by patterns. The whole test suite of the draft runs in
/// Tests/Interop/test_schema_suite.py.
@Suite struct SchemaTests {
  /// Schemas, what they allow and what not.
  static let cases: [(schema: String, allowed: [String], refused: [String])] = [
    (
      #"{"type": "string", "pattern": "^[a-c]+(?:-\\d{2})?$"}"#, [#""abc""#, #""a-12""#],
      [#""""#, #""d""#, #""a-1""#, #""a-123""#, "1"]
    ),
    // A pattern is found anywhere, and its texts are spelled as they must be, and in no other way.
    (#"{"pattern": "é"}"#, [#""é""#, #""caf\"é\n""#], [#""cafe""#, #""\u00e9""#]),
    (#"{"pattern": "^a|b$"}"#, [#""ax""#, #""xb""#], [#""xa""#, #""bx""#]),
    (#"{"pattern": "^\\p{Lu}\\p{L}*$", "maxLength": 3}"#, [#""Äöü""#, #""Ж""#], [#""äöü""#, #""Äöüß""#, #""A1""#]),
    (#"{"pattern": "^\\ud83d\\ude00$"}"#, [#""😀""#], [#""😁""#]),
    (#"{"pattern": "^[^\"]$", "minLength": 1}"#, [#""\\""#, #""x""#], [#""\"""#, #""xx""#]),
    (
      #"{"pattern": "o", "minLength": 3, "maxLength": 4}"#, [#""foo""#, #""oooo""#],
      [#""fo""#, #""fooooo""#, #""bar""#]
    ),
    (#"{"pattern": "^(a?){3}$"}"#, [#""""#, #""aaa""#], [#""aaaa""#]),
    (
      #"{"format": "date"}"#, [#""2024-02-29""#, #""2023-12-31""#],
      [#""2023-02-29""#, #""2023-4-31""#, #""0000-01-01""#]
    ),
    (
      #"{"format": "date-time"}"#, [#""1985-04-12T23:20:50.52Z""#, #""1990-12-31T15:59:59-08:00""#],
      [#""1985-04-12""#, #""1985-04-12T24:00:00Z""#]
    ),
    (
      #"{"format": "duration"}"#, [#""P4DT12H30M5S""#, #""P2W""#, #""PT0S""#, #""P1Y2M3D""#],
      [#""P""#, #""PT""#, #""P1Y2D""#, #""P1D2H""#, #""P2W1D""#]
    ),
    (
      #"{"format": "ipv6"}"#, [#""::1""#, #""1:2:3:4:5:6:7:8""#, #""fe80::a:b""#, #""1::""#, #""::""#],
      [#"":1""#, #""1::2::3""#, #""1:2:3""#, #""12345::""#]
    ),
    (#"{"format": "uuid"}"#, [#""2eb8aa08-AA98-11EA-b4aa-73b441d16380""#], [#""2eb8aa08aa9811eab4aa73b441d16380""#]),
    (#"{"format": "email"}"#, [#""jo.b+x@example.com""#], [#""jo..b@example.com""#, #""@example.com""#, #""jo@""#]),
    (
      #"{"format": "uri"}"#, [#""https://a.b/c?d=e#f""#, #""mailto:a@b""#, #""urn:x:y""#],
      [#""//a""#, #""abc""#, #""http://a b""#]
    ),
    // Formats that nobody defines say nothing.
    (#"{"type": "string", "format": "colour"}"#, [#""any""#, #""\u00e9""#], ["1"]),
    (#"{"type": "integer", "multipleOf": 7, "minimum": 15}"#, ["21", "700"], ["14", "22", "-21"]),
    (#"{"type": "number", "multipleOf": 0.25}"#, ["1", "0.5", "-12.75", "3.00"], ["0.2", "0.125", "1e1"]),
    (
      #"{"type": "number", "minimum": 1e-7, "maximum": 1.5e-7}"#, ["0.0000001", "0.00000012"], ["0", "0.0000002", "1"]
    ),
    (
      #"{"type": "number", "exclusiveMinimum": -0.1, "exclusiveMaximum": 12345678901.5}"#,
      ["0", "-0.09", "12345678901.4"], ["-0.1", "12345678901.5"]
    ),
    (#"{"allOf": [{"minimum": 3}, {"maximum": 5}], "type": "integer"}"#, ["3", "5"], ["2", "6", "3.5"]),
    (
      #"{"prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 1}"#, ["[1]", #"[1,"a"]"#],
      ["[]", #"["a"]"#, #"[1,"a",2]"#]
    ),
    (#"{"prefixItems": [{"const": 1}], "items": {"const": 2}}"#, ["[]", "[1]", "[1,2,2]"], ["[2]", "[1,1]"]),
    (
      #"{"items": {"type": "string"}, "uniqueItems": true}"#, [#"["a", "b","ab"]"#, "[]", #"[""]"#],
      [#"["a","a"]"#, #"["","b",""]"#]
    ),
    (
      #"{"items": {"enum": ["a", "b", 1]}, "uniqueItems": true, "minItems": 3}"#, [#"["b",1,"a"]"#],
      [#"["b","b","a"]"#, #"["b",1]"#, #"["b",1,"a","a"]"#]
    ),
    (
      #"{"items": {"type": "number"}, "uniqueItems": true}"#, ["[1,10,1.5,-1]"],
      ["[1,1]", "[1,1.0]", "[0,-0]", "[1.5,1.50]"]
    ),
    (
      #"{"items": {"type": "integer", "minimum": 1, "maximum": 3}, "uniqueItems": true}"#, ["[3,1,2]"],
      ["[1,2,1]", "[4]"]
    ),
    (#"{"contains": {"const": 5}, "items": {"type": "integer"}}"#, ["[5]", "[5,1]"], ["[]", "[1]"]),
    (
      #"{"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}}"#,
      ["{}", #"{"a":1,"b":2}"#, #"{"b":2}"#], [#"{"c":1}"#, #"{"a":""}"#, #"{"a":1,"a":2}"#]
    ),
    (
      #"{"propertyNames": {"pattern": "^x"}, "minProperties": 1}"#, [#"{"x":1}"#, #"{"xy": [], "x":2}"#],
      ["{}", #"{"y":1}"#, #"{"x":1,"x":2}"#]
    ),
    (
      #"{"patternProperties": {"^i": {"type": "integer"}, "s$": {"type": "string"}}, "properties": {"id": {}}}"#,
      [#"{"id":1,"i":2,"as":""}"#, "{}"], [#"{"id":""}"#, #"{"i":""}"#, #"{"is":1}"#, #"{"x":1}"#]
    ),
    (
      #"{"patternProperties": {"^i": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}}"#,
      [#"{"i":1,"x":true}"#], [#"{"i":true}"#, #"{"x":1}"#]
    ),
    (
      #"{"properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2, "required": ["b"]}"#,
      [#"{"a":1,"b":1}"#, #"{"b":1,"c":1}"#, #"{"a":1,"b":2,"c":3}"#], [#"{"b":1}"#, #"{"a":1,"c":1}"#]
    ),
    (#"{"type": "object", "maxProperties": 1}"#, ["{}", #"{"a":1}"#], [#"{"a":1,"b":1}"#]),
    (#"{"properties": {"a": {}, "b": {}}, "maxProperties": 1}"#, [#"{"a":1}"#, #"{"b":1}"#], [#"{"a":1,"b":1}"#]),
    (
      #"{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}"#,
      [#"{"a":1}"#, #"{"b":1}"#, #"{"a":1,"b":2}"#], ["{}", #"{"a":""}"#]
    ),
    (
      ##"{"$ref": "#/$defs/a", "properties": {"b": {"const": 1}}, "$defs": {"a": {"properties": {"a": {"const": 2}}, "required": ["a"]}}}"##,
      [#"{"b":1,"a":2}"#], [#"{"b":1}"#, #"{"b":2,"a":2}"#]
    ),
    (##"{"$ref": "#name", "$defs": {"a": {"$anchor": "name", "type": "null"}}}"##, ["null"], ["1"]),
    (
      ##"{"items": {"$ref": "part.json"}, "$id": "http://a.b/c.json", "$defs": {"a": {"$id": "part.json", "type": "null"}}}"##,
      ["[null]"], ["[1]"]
    ),
    (
      #"{"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": false}, {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": false}]}"#,
      [#"{"a":1}"#, #"{"b":1}"#], [#"{"a":1,"b":1}"#, "{}"]
    ),
    (
      #"{"oneOf": [{"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^b"}]}"#, [#""a""#, #""b""#],
      [#""c""#]
    ),
    (#"{"type": "integer", "nullable": true, "unit": "m", "examples": [1]}"#, ["1"], ["null"]),
    (#"{"type": ["string", "null"], "enum": ["a", null, 3], "minLength": 1}"#, [#""a""#, "null"], ["3"]),
    (#"{"enum": [1, 2, "a"], "allOf": [{"enum": [2, "a", 3]}, {"type": "integer"}]}"#, ["2"], ["1", "3", #""a""#]),
    (#"{"type": ["integer", "string"], "not": {"type": "integer"}}"#, [#""a""#], ["1"]),
    (
      #"{"properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}"#,
      ["{}", #"{"b":1}"#, #"{"a":1,"b":1}"#], [#"{"a":1}"#]
    ),
    (
      #"{"properties": {"a": {"type": "integer"}}, "allOf": [{"properties": {"b": {}}}], "unevaluatedProperties": false}"#,
      [#"{"a":1,"b":2}"#], [#"{"c":1}"#, #"{"a":""}"#]
    ),
    (#"{"properties": {"a": true, "b": false}}"#, [#"{"a":1}"#], [#"{"b":1}"#]),
    (
      #"{"prefixItems": [true], "contains": {"type": "string"}, "unevaluatedItems": false}"#, [#"[1,"a"]"#],
      ["[1]", #"[1,"a",2]"#]
    ),
    // Of a length that takes too many states only the beginning is kept to.
    (
      #"{"format": "uri", "maxLength": 2083}"#, [#""https://example.com/a?b=c#d""#],
      [#""https://\#(String(repeating: "a", count: 2100)).com""#]
    ),
    (#"{"enum": ["a", "ab", "abc", "b", 1, 12, 123, true, [1]]}"#, [#""ab""#, "12", "true", "[1]"], ["2", #""c""#]),
  ]

  @Test("keywords keep to what they say, alone and beside each other", arguments: cases.indices)
  func keywords(index: Int) throws {
    let (schema, allowed, refused) = Self.cases[index]
    try ConstraintTests.expect(schema, allows: allowed, refuses: refused)
    // How long three different values are is not known exactly; of all else, a model that always wants to end gets there.
    if schema.contains(#""minItems": 3"#) { return }
    var random = SplitMix64(seed: UInt64(index))
    let constraint = try ConstraintTests.constraint(schema)
    let rest = try #require(ShortestEndTests.shortestRest(constraint, using: &random), "\(schema)")
    for text in allowed { #expect(rest <= text.utf8.count, "\(schema): \(text)") }
  }

  @Test("the mask of texts by automata is what reading each token byte by byte allows", arguments: cases.indices)
  func masks(index: Int) throws {
    var random = SplitMix64(seed: UInt64(index))
    var constraint = try ConstraintTests.constraint(Self.cases[index].schema)
    let tokens = ShortestEndTests.tokens
    for _ in 0..<12 {
      let mask = constraint.allowedTokens()
      for token in tokens where !ConstraintTests.tokenizer.isSpecial(token) {
        var reading = constraint
        let isReadable = ShortestEndTests.accept(ConstraintTests.tokenizer.bytes(of: token), &reading)
        #expect(mask.contains(token) == isReadable, "\(ConstraintTests.tokenizer.spelling(of: token)!)")
      }
      let next = try #require(tokens.filter(mask.contains).randomElement(using: &random))
      if next == ConstraintTests.tokenizer.endToken { break }
      constraint.accept(next)
    }
  }

  @Test(
    "a pattern that is not regular, or no pattern, is refused by name",
    arguments: [
      ("(?!a)b", "lookahead"), ("(?<=a)b", "lookbehind"), (#"(a)\1"#, #"a back reference \1"#),
      (#"\bword"#, #"a word boundary \b"#), ("(a", "a ( without its )"), ("a)", "a ) without its ("),
      ("[a", "a [ without its ]"), ("*a", "a quantifier * without anything before it"),
      ("a{2,1}", "a count whose numbers are out of order"),
      (#"\p{Script=Greek}"#, #"\p{Script=Greek}, which is no general category"#),
      ("[b-a]", "a range of characters whose ends are out of order"), (#"\Aa"#, #"\A, which ECMA-262 does not have"#),
    ])
  func patterns(pattern: String, reason: String) throws {
    let schema = JSON.object([.init("pattern", .string(pattern))]).compactText
    let found = try ConstraintTests.reason(schema)
    #expect(found.contains("has \(reason)"), "\(found)")
  }
}
