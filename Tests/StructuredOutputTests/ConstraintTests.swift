import Storage
import StructuredOutput
import TestSupport
import Testing
import Tokenization

@Suite struct ConstraintTests {
  /// A tokenizer whose merges cross the edges of JSON's parts.
  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 500, threads: 1)
    for line in [
      #"{"name": "Anna", "age": 31, "tags": ["a", "b"], "open": true}"#, #"{"name":"你好","age":-1.5e3,"tags":[]}"#,
      #"[{"city": "Paris"}, {"city": "Rome"}, null, false]"#, "hello world, hello there \"quoted\" \\n \\u00e9",
    ] {
      for _ in 0..<3 { try! trainer.add(document: line) }
    }
    return try! trainer.train()
  }()

  static let vocabulary = TokenVocabulary(tokenizer, endTokens: [tokenizer.endToken])

  static func format(_ schema: String) throws -> ResponseFormat { .jsonSchema(try JSON(parsing: schema)) }

  static func constraint(_ schema: String) throws -> JSONConstraint {
    try #require(try format(schema).constraint(vocabulary))
  }

  static func reason(_ schema: String) throws -> String {
    do {
      _ = try constraint(schema)
      return ""
    } catch let error as StructuredOutputError {
      return error.description.replacing("response_format.json_schema.schema", with: "")
    }
  }

  /// Whether the constraint allows the text, token by token, and lets it end.
  static func allows(_ constraint: some TokenConstraint, _ text: String, bytewise: Bool = false) -> Bool {
    var constraint = constraint
    let tokens =
      bytewise
      ? text.utf8.map { byte in (0..<Int32(tokenizer.vocabularySize)).first { tokenizer.bytes(of: $0) == [byte] }! }
      : try! tokenizer.encode(text, specialTokens: .asText)
    for token in tokens {
      guard constraint.allowedTokens().contains(token) else { return false }
      constraint.accept(token)
    }
    return constraint.allowedTokens().contains(tokenizer.endToken)
  }

  static func expect(
    _ schema: String, allows allowed: [String], refuses refused: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let constraint = try constraint(schema)
    for text in allowed {
      #expect(allows(constraint, text), "\(text)", sourceLocation: sourceLocation)
      #expect(allows(constraint, text, bytewise: true), "\(text)", sourceLocation: sourceLocation)
    }
    for text in refused {
      #expect(!allows(constraint, text), "\(text)", sourceLocation: sourceLocation)
      #expect(!allows(constraint, text, bytewise: true), "\(text)", sourceLocation: sourceLocation)
    }
  }

  @Test("an object of properties: in order, required ones always, others not at all")
  func objects() throws {
    try Self.expect(
      #"{"properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "open": {"type": "boolean"}}, "required": ["age"]}"#,
      allows: [
        #"{"name": "Anna", "age": 31, "open": true}"#, #"{"age":31}"#, #"{"name":"你好","age":-3}"#,
        #"{"age":0,"open":false}"#,
      ],
      refuses: [
        #"{"name": "Anna"}"#, #"{"age":31,"name":"Anna"}"#, #"{"age":31,"age":31}"#, #"{"age":31,"x":1}"#,
        #"{"age":31,}"#,
        #"{}"#, #"{"age":31.0}"#, #"{"age": 031}"#, #"{"age":  31}"#, #" {"age":31}"#, #"{"age":31} "#, #"{"age":31"#,
        "",
      ])
  }

  @Test("keys that the schema does not name come last and once")
  func freeKeys() throws {
    try Self.expect(
      #"{"properties": {"a": {"const": 1}}, "required": ["b"], "additionalProperties": {"type": "string"}}"#,
      allows: [#"{"a":1,"b":"x"}"#, #"{"b":"x","c":"y","":"z","cc":"w","你":"好"}"#],
      refuses: [
        #"{"a":1}"#, #"{"b":"x","a":1}"#, #"{"b":"x","c":"y","c":"z"}"#, #"{"b":"x","b":"y"}"#, #"{"b":"x","c":1}"#,
        #"{"b":"x","\u0063":"y"}"#, #"{"b":"x","a":"y"}"#,
      ])
  }

  @Test("arrays have their numbers of items")
  func arrays() throws {
    try Self.expect(
      #"{"items": {"enum": [1, "two", null, [3]]}, "minItems": 1, "maxItems": 3}"#,
      allows: ["[1]", #"[1, "two",null]"#, "[[3]]"], refuses: ["[]", "[1,1,1,1]", "[2]", "[1,]", "[1 ,1]", "[[3]"])
    try Self.expect(#"{"type": "array", "maxItems": 0}"#, allows: ["[]"], refuses: ["[1]"])
    try Self.expect(#"{"items": false}"#, allows: ["[]"], refuses: ["[1]"])
  }

  @Test("strings have their numbers of characters, an escape or a pair of surrogates being one")
  func strings() throws {
    try Self.expect(
      #"{"type": "string", "minLength": 2, "maxLength": 3}"#,
      allows: [#""你好""#, #""a\n""#, #""\ud83d\ude00🙂!""#, #""\u00e9\"\\""#, #""<s>""#],
      refuses: [#""a""#, #""abcd""#, #""\u00e9""#, #""\ud83d\u0041""#, #""\ude00a""#, #""\x""#, "\"a\nb\"", #""ab"#])
  }

  @Test(
    "numbers keep to their limits",
    arguments: [
      (#"{"type": "integer", "minimum": -12, "maximum": 105}"#, -12.0...105.0, true),
      (#"{"type": "integer", "exclusiveMinimum": 6.5, "exclusiveMaximum": 9}"#, 7...8, true),
      (#"{"type": "integer", "maximum": -3}"#, -1e18...(-3), true),
      (#"{"type": "number", "minimum": 0.5, "exclusiveMaximum": 12.25}"#, 0.5...12.249999, false),
      (#"{"type": "number", "minimum": -0.75, "maximum": -0.125}"#, -0.75...(-0.125), false),
      (#"{"type": "number", "minimum": 3}"#, 3...1e18, false),
    ])
  func numbers(schema: String, range: ClosedRange<Double>, isInteger: Bool) throws {
    let constraint = try Self.constraint(schema)
    let texts = (-20...130).flatMap { whole in
      ["", ".5", ".25", ".125", ".249999", ".1250001", ".0", "e1"].map { "\(whole)\($0)" }
    }
    for text in texts + [
      "-0", "-0.1", "-0.74", "-0.76", "007", "-", "1.", ".5", "+1", "999999999999999999", "-999999999",
    ] {
      let value = try? JSON(parsing: text).doubleValue
      let isPlain = isInteger ? !text.contains { ".e".contains($0) } : !text.contains("e") && !text.hasSuffix("0001")
      let isAllowed = isPlain && value.map(range.contains) == true && (isInteger || text.count < 15)
      #expect(Self.allows(constraint, text, bytewise: true) == isAllowed, "\(text)")
    }
  }

  @Test("limits of 53 and of 64 bits are kept or restrict nothing")
  func largeLimits() throws {
    // As zod has them for any integer that JavaScript holds exactly.
    try Self.expect(
      #"{"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991}"#,
      allows: ["0", "9007199254740991", "-9007199254740991", "900719925474099"],
      refuses: ["9007199254740992", "-9007199254740992", "99999999999999999"])
    try Self.expect(
      #"{"type": "integer", "exclusiveMinimum": 9007199254740992, "maximum": 9007199254740994}"#,
      allows: ["9007199254740993", "9007199254740994"], refuses: ["9007199254740992", "9007199254740995", "9"])
    for (minimum, maximum) in [
      ("-9223372036854775808", "9223372036854775807"), ("0", "18446744073709551615"), ("-1e300", "1e300"),
    ] {
      try Self.expect(
        #"{"type": "integer", "minimum": \#(minimum), "maximum": \#(maximum)}"#,
        allows: ["0", "999999999999999999"], refuses: ["1000000000000000000", "1.5", "1e3"])
    }
    // A number beyond the limit could be written with an exponent; so there is none.
    try Self.expect(
      #"{"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38}"#,
      allows: ["-1.5", "999999999999.999999"], refuses: ["1e99", "1000000000000"])
    try Self.expect(
      #"{"type": "number", "minimum": 123456789012, "exclusiveMaximum": 123456789013}"#,
      allows: ["123456789012", "123456789012.999999"], refuses: ["123456789011.9", "123456789013"])
    // Where a limit needs more digits, there are more.
    try Self.expect(
      #"{"type": "integer", "minimum": 9223372036854775807}"#,
      allows: ["9223372036854775807", "10000000000000000000"], refuses: ["9223372036854775806", "1"])
    try Self.expect(
      #"{"type": "integer", "exclusiveMaximum": -1e18}"#, allows: ["-1000000000000000001"],
      refuses: ["-1000000000000000000", "0"])
    try Self.expect(
      #"{"type": "integer", "maximum": -18446744073709551616}"#, allows: ["-18446744073709570000"],
      refuses: ["-18446744073709551615", "-1"])
    #expect(
      try Self.reason(#"{"type": "integer", "minimum": 1e300}"#)
        == "#: limits of more than 60 digits are not supported.")
    try Self.expect(
      #"{"type": "string", "maxLength": 18446744073709551615}"#, allows: [#""a""#], refuses: [#""a"#])
    try Self.expect(#"{"const": 9007199254740993}"#, allows: ["9007199254740993"], refuses: ["9007199254740992"])
    for schema in [#"{"const": 18446744073709551616}"#, #"{"enum": [{"a": [-9223372036854775809]}]}"#] {
      #expect(try Self.reason(schema) == "#: whole numbers beyond 64 bits are not supported as values.")
    }
  }

  @Test("any number is one that readers can hold")
  func freeNumbers() throws {
    try Self.expect(
      #"{"type": "number"}"#,
      allows: ["0", "-0", "12", "-1.5", "1e9", "1.25E-07", "0.000000000000000001", "123456789012345678"],
      refuses: ["01", "1.", ".5", "1e", "1e+", "1e100", "--1", "1234567890123456789", "NaN", "1 "])
  }

  @Test("alternatives, constants, and schemas that name themselves")
  func combined() throws {
    try Self.expect(
      ##"""
      {"$ref": "#/$defs/tree", "$defs": {"tree": {"anyOf": [{"type": "null"}, {"properties":
        {"value": {"type": ["integer", "string"]}, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
        "required": ["value", "left", "right"]}]}}}
      """##,
      allows: [
        "null", #"{"value": 1, "left": null, "right": null}"#,
        #"{"value":"x","left":{"value":2,"left":null,"right":null},"right":null}"#,
      ], refuses: [#"{"value": 1, "left": null}"#, #"{"value":1,"left":3,"right":null}"#])
    try Self.expect(
      #"{"oneOf": [{"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]}, {"properties": {"kind": {"const": "ab"}}, "required": ["kind"]}]}"#,
      allows: [#"{"kind":"a","x":1}"#, #"{"kind": "ab"}"#], refuses: [#"{"kind":"a"}"#, #"{"kind":"ab","x":1}"#])
  }

  @Test("nesting ends where the reader's does, and a value that must be closed is not begun too deep")
  func nesting() throws {
    let open = String(repeating: #"{"a":["#, count: 16)
    let close = String(repeating: "]}", count: 16)
    let constraint = try #require(try ResponseFormat.jsonObject.constraint(Self.vocabulary))
    #expect(Self.allows(constraint, open + close))
    #expect(!Self.allows(constraint, open + "[]" + close))
    #expect(!Self.allows(constraint, "[]") && !Self.allows(constraint, "1"))
    let list = try Self.constraint(
      ##"{"properties": {"rest": {"$ref": "#"}, "end": {"properties": {}}}, "required": ["end"]}"##)
    var text = #"{"end":{}}"#
    for depth in 1..<40 {
      #expect(Self.allows(list, text) == (depth < 32), "depth \(depth)")
      text = #"{"rest":\#(text),"end":{}}"#
    }
  }

  @Test(
    "what is not supported is refused by name and place",
    arguments: [
      (
        #"{"type": "string", "pattern": "a(?=b)"}"#,
        #"#: the pattern "a(?=b)" has lookahead, which is not supported."#
      ),
      (
        #"{"properties": {"a": {"items": {"dependencies": {}}}}}"#,
        #"#/properties/a/items: the keyword "dependencies" is not supported."#
      ),
      (
        #"{"anyOf": [{"type": "string", "not": {"minLength": 2}}]}"#,
        "#/anyOf/0/not: not is supported where no value of the types beside it meets its schema, which is not plain here."
      ),
      (
        #"{"type": "strange"}"#,
        "#: there is no type \"strange\"; there are object, array, string, number, integer, boolean, null."
      ),
      (#"{"$ref": "https://example.com"}"#, "#: a $ref must lead to a place in the same schema: \"#\" or \"#/…\"."),
      (##"{"$ref": "#/$defs/a"}"##, ": there is nothing at #/$defs/a, which a $ref names."),
      (##"{"$ref": "#"}"##, ": no value meets the schema, or only one nested deeper than 32 levels."),
      (
        ##"{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##,
        ": no value of the types that it speaks of meets the schema, or only one nested deeper than 32 levels."
      ),
      (#"{"enum": []}"#, ": no value meets the schema, or only one nested deeper than 32 levels."),
      (
        #"{"oneOf": [{"type": "number"}, {"type": "integer"}]}"#,
        "#: oneOf is supported where no value meets two of its schemas, which is not plain here. Use anyOf."
      ),
      (#"{"minLength": 3, "maxLength": 2}"#, "#: minLength is above maxLength, or too large."),
      (#"{"type": "integer", "minimum": 3, "exclusiveMaximum": 3}"#, "#: no number lies within its limits."),
      (
        #"{"type": "number", "multipleOf": 1e-30}"#,
        "#: multipleOf is supported up to 6000 units of its last decimal place."
      ),
      (
        #"{"contains": false}"#,
        ": no value of the types that it speaks of meets the schema, or only one nested deeper than 32 levels."
      ),
      (#"{"format": "regex"}"#, #"#: the format "regex" is not supported."#),
      (#"{"required": ["a"], "additionalProperties": false}"#, "#: \"a\" is required, but not among the properties."),
      ("[]", "#: a schema is an object, true or false."),
      ("false", ": no value meets the schema, or only one nested deeper than 32 levels."),
    ])
  func refusals(schema: String, expected: String) throws {
    #expect(try Self.reason(schema) == expected)
  }

  @Test("a schema of many references in a row, and one of many parts, do not overflow the stack")
  func largeSchemas() throws {
    let chain = (0..<3000).map { "\"d\($0)\": {\"$ref\": \"#/$defs/d\($0 + 1)\"}" }.joined(separator: ", ")
    #expect(try Self.reason(##"{"$ref": "#/$defs/d0", "$defs": {\##(chain), "d3000": {"type": "null"}}}"##) == "")
    let many = (0..<5000).map { "\"p\($0)\": true" }.joined(separator: ", ")
    #expect(try Self.reason(#"{"properties": {\#(many)}, "minLength": 1}"#) == "")
    let strings = (0..<5000).map { "\"p\($0)\": {\"type\": \"string\"}" }.joined(separator: ", ")
    #expect(try Self.reason(#"{"properties": {\#(strings)}}"#).contains("too large"))
  }

  @Test("a schema that would take hours to compile is refused at once")
  func costlySchemas() throws {
    // Each pair of objects of A and B compares each pair of them again, three times in all.
    func choices(_ name: String) -> String {
      let objects = (0..<500).map {
        ##"{"properties": {"x": {"$ref": "#/$defs/\##(name)"}, "k": {"const": "\##(name)\##($0)"}}, "required": ["x", "k"]}"##
      }
      let end = #"{"properties": {"k": {"const": "\#(name)"}}, "required": ["k"]}"#
      return #""\#(name)": {"anyOf": [\#((objects + [end]).joined(separator: ", "))]}"#
    }
    let definitions = choices("A") + ", " + choices("B")
    let references = ##"{"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "$defs": {\##(definitions)}}"##
    #expect(try Self.reason(references).contains("not plain here"))
    let names = (0..<100_000).map { "\"\($0)\"" }.joined(separator: ", ")
    #expect(try Self.reason(#"{"required": [\#(names)]}"#).contains("too many required names"))
    let repeated = ((0..<4000).map(String.init) + [String](repeating: "0", count: 150_000)).joined(separator: ", ")
    #expect(try Self.reason(#"{"enum": [\#(repeated)]}"#) == "")
  }

  /// Alternatives that only what follows them tells apart, inside each other.
  static let expressions: String = {
    func operation(_ name: String, _ more: String = "") -> String {
      ##"{"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "op": {"const": "\##(name)"}\##(more)}, "##
        + ##""required": ["left", "right", "op"]}"##
    }
    let choices = [
      operation("add"), operation("sub"), operation("mul", ##", "exact": {"type": "boolean"}"##), operation("div"),
      ##"{"items": {"$ref": "#"}, "maxItems": 2}"##, ##"{"items": {"type": "integer"}}"##, ##"{"type": "number"}"##,
      ##"{"type": "integer", "minimum": 5}"##, ##"{"type": "string", "maxLength": 3}"##, ##"{"enum": ["abcdef"]}"##,
    ]
    return #"{"anyOf": [\#(choices.joined(separator: ", "))]}"#
  }()

  @Test("alternatives in alternatives are each read to their end")
  func nestedAlternatives() throws {
    let deep = String(repeating: ##"{"left": "##, count: 12) + "7"
    let names = ["add", "sub", "mul", "div"]
    let ends = (0..<12).map { ##", "right": [1, 2], "op": "\##(names[$0 % 4])"}"## }
    try Self.expect(
      Self.expressions,
      allows: [
        deep + ends.joined(), ##"{"left":[1,2,3],"right":"abcdef","op":"mul","exact":true}"##, "[[1,2,3],[4.5]]",
        "-1.5",
      ],
      refuses: [
        deep + ends.dropLast().joined(), ##"{"left":[1,2,3.5],"right":1,"op":"mul"}"##,
        ##"{"left":1,"right":"abcde","op":"mul"}"##, ##"{"left":1,"right":2,"op":"add","exact":true}"##, "[1,2.5,3]",
      ])
  }

  @Test("nested alternatives cost no more than their places in the schema, whatever their product")
  func multipliedAlternatives() throws {
    // 100 arrays of one of 100 arrays, and so on: 10^8 ways to read "[[[[".
    let definitions = ["a", "b", "c", "d"].enumerated().map { index, name in
      let items = index == 3 ? "" : ##", "minItems": 1, "items": {"$ref": "#/$defs/\##(["b", "c", "d"][index])"}"##
      let arrays = [String](repeating: #"{"type": "array"\#(items)}"#, count: 100).joined(separator: ", ")
      return #""\#(name)": {"anyOf": [\#(arrays)]}"#
    }
    try Self.expect(
      ##"{"$ref": "#/$defs/a", "$defs": {\##(definitions.joined(separator: ", "))}}"##,
      allows: ["[[[[]]]]", "[[[[[1]],[]]]]", "[[[[]]],[[[2]],[[]]]]"], refuses: ["[[[]]]", "[]", "[[[[]]]"])
  }

  @Test(
    "a request whose schemas lead to each other in long rows is compiled and not counted out", .timeLimit(.minutes(10)))
  func longRows() throws {
    let chain = (0..<1500).map { "\"d\($0)\": {\"$ref\": \"#/$defs/d\($0 + 1)\"}" }.joined(separator: ", ")
    let first = ##"{"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {\##(chain), "d1500": {"type": "null"}}}"##
    let others = #"{"properties": {"b": {"type": "string"}}}"#
    let list = (0..<300).map { index in
      #"{"type": "function", "function": {"name": "f\#(index)", "parameters": \#(index == 0 ? first : others)}}"#
    }
    let tools = try Tool.list(JSON(parsing: "[\(list.joined(separator: ", "))]"))
    #expect(try ToolChoice.required.constraint(tools, Self.vocabulary) != nil)
    let circle = ##"{"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}}"##
    #expect(try Self.reason(circle).contains("no value meets the schema"))
  }

  @Test(
    "the mask is what reading each token byte by byte allows", arguments: 0..<10 as Range<UInt64>,
    [nil, Self.expressions])
  func masks(seed: UInt64, schema: String?) throws {
    var random = SeededGenerator(seed: seed)
    let format = try schema.map(Self.format) ?? .jsonObject
    var constraint = try #require(try format.constraint(Self.vocabulary))
    let tokens = 0..<Int32(Self.tokenizer.vocabularySize)
    let byteTokens = (0...255).map { byte in tokens.first { Self.tokenizer.bytes(of: $0) == [UInt8(byte)] }! }
    for _ in 0..<40 {
      let mask = constraint.allowedTokens()
      for token in tokens where !Self.tokenizer.isSpecial(token) {
        var reading: JSONConstraint? = constraint
        for byte in Self.tokenizer.bytes(of: token) {
          if reading?.allowedTokens().contains(byteTokens[Int(byte)]) == false { reading = nil }
          reading?.accept(byteTokens[Int(byte)])
        }
        #expect(mask.contains(token) == (reading != nil), "\(Self.tokenizer.spelling(of: token)!)")
      }
      let allowed = tokens.filter(mask.contains)
      let next = try #require(allowed.randomElement(using: &random))
      if next == Self.tokenizer.endToken { break }
      constraint.accept(next)
    }
  }
}
