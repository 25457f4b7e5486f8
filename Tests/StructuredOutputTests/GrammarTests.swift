import Storage
import StructuredOutput
import Testing
import Tokenization

/// Answers that are one of some texts, match a regular expression, or follow a grammar in GBNF.
@Suite struct GrammarTests {
  static func constraint(_ format: ResponseFormat) throws -> JSONConstraint {
    try #require(try format.constraint(ConstraintTests.vocabulary))
  }

  static func reason(_ format: ResponseFormat) -> String {
    do { _ = try constraint(format) } catch { return "\(error)" }
    return ""
  }

  static func regex(_ pattern: String) -> ResponseFormat { .regex(.string(pattern), place: "guided_regex") }
  static func grammar(_ text: String) -> ResponseFormat { .grammar(.string(text), place: "grammar") }

  static func expect(
    _ format: ResponseFormat, allows allowed: [String], refuses refused: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let constraint = try constraint(format)
    for isBytewise in [false, true] {
      for text in allowed {
        #expect(
          ConstraintTests.allows(constraint, text, bytewise: isBytewise), "\(text)", sourceLocation: sourceLocation)
      }
      for text in refused {
        #expect(
          !ConstraintTests.allows(constraint, text, bytewise: isBytewise), "\(text)", sourceLocation: sourceLocation)
      }
    }
    var random = SplitMix64(seed: 1)
    let rest = try #require(ShortestEndTests.shortestRest(constraint, using: &random), sourceLocation: sourceLocation)
    for text in allowed { #expect(rest <= text.utf8.count, sourceLocation: sourceLocation) }
  }

  @Test("an answer is one of some texts")
  func choices() throws {
    try Self.expect(
      .choice(.array([.string("yes"), .string("yes, please"), .string("no"), .string("你好")]), place: "guided_choice"),
      allows: ["yes", "yes, please", "no", "你好"], refuses: ["", "ye", "yes,", "nono", "\"yes\""])
    for wrong in [JSON.array([]), .array([.integer(1)]), .string("a")] {
      #expect(
        Self.reason(.choice(wrong, place: "guided_choice"))
          == "guided_choice: it must be an array of texts, at least one.")
    }
  }

  @Test("an answer matches a regular expression as a whole")
  func regularExpressions() throws {
    try Self.expect(
      Self.regex(#"(?:25[0-5]|1?\d?\d)(?:\.\d+)*"#), allows: ["1", "255", "199.0.10"], refuses: ["", "256", "1.", "a1"])
    try Self.expect(Self.regex("(?:a|b)*"), allows: ["", "ab", "bbb"], refuses: ["c", "abc"])
    try Self.expect(Self.regex("^yes$|^no$"), allows: ["yes", "no"], refuses: ["yesno", ""])
    try Self.expect(Self.regex(#"[^\s"]+ é\n"#), allows: ["a\\b é\n"], refuses: ["a\" é\n", " é\n"])
    #expect(Self.reason(Self.regex("(a")) == "guided_regex: it has a ( without its ), which is not supported.")
    #expect(Self.reason(Self.regex("[]")) == "guided_regex: no text matches it.")
    #expect(Self.reason(Self.regex("(?:a{100000}){100000}")).hasPrefix("guided_regex: it takes too many states."))
    #expect(
      Self.reason(.regex(.integer(1), place: "regex")) == "regex: it must be a text, a regular expression.")
  }

  @Test("an answer follows a grammar of llama.cpp")
  func grammars() throws {
    try Self.expect(
      Self.grammar(
        """
        # Sums of products.
        root  ::= (expr "=" ws term "\\n")+
        expr  ::= term ([-+*/] term)*
        term  ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num   ::= [0-9]+ ws
        ws    ::= [ \\t\\n]*
        """),
      allows: ["a=1\n", "a +(b2*3) = 12 \n", "((((a))))=b\nc=d\n"], refuses: ["", "a=1", "a+=1\n", "(a=1\n", "A=1\n"])
    // Recursion in the middle, and parts that may be empty.
    try Self.expect(
      Self.grammar(#"root ::= "a" root? "b" | empty "c"\#n empty ::= """#),
      allows: ["ab", "aabb", "c", "acb", "aaacbbb"],
      refuses: ["", "aab", "abb", "ac"])
    try Self.expect(
      Self.grammar("root ::= item{2,3}\nitem ::= \"(\" item* \")\""), allows: ["()()", "(()())()()"],
      refuses: ["()", "()()()()", "(()"])
    try Self.expect(
      Self.grammar(#"root ::= ("é" | "\x41\u4f60" | [^a-z"] .){1,}"#), allows: ["é", "A你Zz", "Aaé"],
      refuses: ["", "a", "\"a"])
    try Self.expect(Self.grammar("root ::= [ab]*"), allows: ["", "abba"], refuses: ["c"])
    // JSON as in llama.cpp's grammars/json.gbnf.
    try Self.expect(
      Self.grammar(
        #"""
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::=
          "{" ws (
                    string ":" ws value
            ("," ws string ":" ws value)*
          )? "}" ws
        array  ::=
          "[" ws (
                    value
            ("," ws value)*
          )? "]" ws
        string ::=
          "\"" (
            [^"\\\x7F\x00-\x1F] |
            "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
          )* "\"" ws
        number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        # Optional space: by convention, applied in this grammar after literal chars when allowed
        ws ::= | " " | "\n" [ \t]{0,20}
        """#),
      allows: ["{}", #"{"a": [1, {"b": "ü\n"}, -2.5e7, true]}"#, "{\"a\":\n  null}"],
      refuses: ["[]", "{", #"{"a":01}"#, "{}}"])
  }

  @Test(
    "a grammar that is none, or not supported, is refused with its line",
    arguments: [
      ("root ::= \"a", "line 1: a text without its closing quote."), ("a ::= \"a\"", "there is no rule named root."),
      ("root ::= a\nb ::= \"b\"", "line 1: no rule named a."), ("root ::= [a", "line 1: a [ without its ]."),
      ("root ::= (\"a\"", "line 1: a ( without its )."), ("root \"a\"", "line 1: the name root without ::= after it."),
      ("root ::= \"a\"\n\nroot ::= \"b\"", "line 3: a second rule named root."),
      ("root ::= \"a\"{3,1}", "line 1: a count whose numbers are out of order."),
      ("root ::= root \"a\" | \"a\"", "a rule begins with itself (left recursion); write what comes first first."),
      ("root ::= a\na ::= \"x\"? root", "a rule begins with itself (left recursion); write what comes first first."),
      ("root ::= \"a\" root", "no text matches the grammar."),
      ("root ::= <think>", "line 1: a token of a model, which is not supported."),
      ("root ::= ([ab]{0,9}){0,100000}", "the grammar takes too many states. Say less, or smaller counts."),
      ("root ::= \"a\" x{1,90000}\nx ::= \"(\" x \")\" | \"b\"", "the grammar is too large: more than 4096 parts."),
    ])
  func refusals(text: String, reason: String) {
    #expect(Self.reason(Self.grammar(text)) == "grammar: " + reason)
  }

  @Test("rules that double each other, empty or not, are refused at once")
  func doubling() {
    for text in ["\"\"", "\"a\""] {
      let rules = (1..<60).map { "r\($0) ::= r\($0 - 1) r\($0 - 1)" }
      #expect(Self.reason(Self.grammar((["root ::= r59", "r0 ::= \(text)"] + rules).joined(separator: "\n"))) != "")
    }
  }

  @Test("what is nested too deeply is closed")
  func nesting() throws {
    var constraint = try Self.constraint(Self.grammar("root ::= \"(\" root? \")\""))
    let open = ShortestEndTests.byteTokens[Int(UInt8(ascii: "("))]
    var depth = 0
    while constraint.allowedTokens().contains(open), depth < 5000 {
      constraint.accept(open)
      depth += 1
    }
    #expect(depth > 100 && depth < 1000)
    for _ in 0..<depth { #expect(ShortestEndTests.accept(")".utf8, &constraint)) }
    #expect(constraint.allowedTokens().contains(ConstraintTests.tokenizer.endToken))
  }
}
