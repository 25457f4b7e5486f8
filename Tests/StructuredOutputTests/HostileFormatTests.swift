import Foundation
import Storage
import StructuredOutput
import Testing

/// Formats that describe more than a machine should build.
@Suite struct HostileFormatTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let format: ResponseFormat
    /// Those that are not are only large.
    var isRefused = true

    var testDescription: String { name }
  }

  static let cases: [Case] = {
    func schema(_ name: String, _ text: String, isRefused: Bool = true) -> Case {
      Case(name: name, format: .jsonSchema(try! JSON(parsing: text)), isRefused: isRefused)
    }
    func deep(_ depth: Int, _ open: String, _ close: String, _ inner: String) -> String {
      String(repeating: open, count: depth) + inner + String(repeating: close, count: depth)
    }
    func list(_ count: Int, _ separator: String = ",", _ element: (Int) -> String) -> String {
      (0..<count).map(element).joined(separator: separator)
    }
    let formats = ["uri", "email", "hostname", "date-time", "ipv6", "duration", "uuid", "uri-reference"]
    let pairs = formats.flatMap { left in
      formats.map { #"{"allOf": [{"format": "\#(left)"}, {"format": "\#($0)"}, {"maxLength": 60}]}"# }
    }
    return [
      schema("a large count", #"{"pattern": "a{1,1000000}"}"#),
      schema("an exponential automaton", #"{"pattern": "^(a|b)*a(a|b){40}$"}"#),
      schema("many places at once", #"{"pattern": "a.{3000}b"}"#),
      schema("classes of Unicode", #"{"pattern": "^(\\p{L}\\p{Ll}\\P{Lu}\\p{N}){100}$"}"#),
      schema("counts of counts", #"{"pattern": "\#(deep(20, "(", "){1,9}", "a"))"}"#),
      schema("deep groups", #"{"pattern": "\#(deep(5000, "(", ")", "a"))"}"#),
      schema("many names", #"{"propertyNames": {"enum": [\#(list(4090) { "\"n\($0)\"" })]}}"#, isRefused: false),
      schema(
        "a product of choices",
        #"{"type": "object", "allOf": [\#(list(30) { #"{"anyOf": [{"required": ["a\#($0)"]}, {"required": ["b\#($0)"]}]}"# })]}"#
      ),
      schema("a product of dependencies", #"{"dependentRequired": {\#(list(200) { #""k\#($0)": ["l\#($0)"]"# })}}"#),
      schema(
        "patterns of keys",
        #"{"patternProperties": {\#(list(8) { #""^.{0,\#(300 + $0)}x": {}"# })}, "additionalProperties": {}}"#),
      schema(
        "long keys and patterns",
        #"{"required": [\#(list(3000) { "\"\(String(repeating: "k", count: 300))\($0)\"" })], "patternProperties": {\#(list(8) { #""k.*\#($0)": {}"# })}}"#
      ),
      schema("a fine multiple", #"{"multipleOf": 0.987654321}"#), schema("a long number", #"{"minimum": 1e90}"#),
      schema(
        "multiples together",
        #"{"type": "integer", "allOf": [\#(["7", "11", "13", "17", "19", "23"].map { #"{"multipleOf": \#($0)}"# }.joined(separator: ","))]}"#
      ),
      schema(
        "many long limits",
        #"{"anyOf": [\#(list(500) { #"{"type": "number", "minimum": \#(100_000_000_000_000_000 + $0), "exclusiveMaximum": 1e19}"# })]}"#
      ),
      schema("pairs of formats", #"{"anyOf": [\#(pairs.joined(separator: ","))]}"#),
      schema(
        "many formats that differ",
        #"{"prefixItems": [\#(list(50) { _ in #"{"anyOf": [{"format": "uri"}, {"format": "email"}, {"format": "ipv6"}]}"# })], "uniqueItems": true}"#
      ),
      schema("many items of contains", #"{"contains": {"type": "null"}, "minContains": 1000000000}"#),
      schema(
        "a row of references",
        ##"{"$ref": "#/$defs/d0", "$defs": {\##(list(9000) { ##""d\##($0)": {"$ref": "#/$defs/d\##($0 + 1)"}"## }), "d9000": {"type": "null"}}}"##
      ),
      schema(
        "references in circles",
        ##"{"enum": [1, 2], "$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]}, "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}"##
      ),
      schema(
        "alternatives that exclude each other",
        #"{"oneOf": [\#(list(900) { #"{"properties": {"k": {"const": \#($0)}}, "required": ["k"]}"# })]}"#),
      schema(
        "values and patterns",
        #"{"enum": [\#(list(4000) { "\"v\($0)\"" })], "anyOf": [\#(list(100) { #"{"pattern": "w\#($0)"}"# })]}"#),
      schema(
        "schemas for the same members",
        #"{"allOf": [\#(list(60) { outer in #"{"properties": {\#(list(300) { #""p\#($0)": {"minLength": \#(outer)}"# })}}"# })]}"#
      ),
      schema("a long schema", #"{"type": "null", "description": "\#(String(repeating: "\\n", count: 2_000_000))"}"#),
      Case(name: "a regular expression of counts", format: GrammarTests.regex("(?:a{1000}){1000}")),
      Case(
        name: "a long regular expression", format: GrammarTests.regex("(" + list(20_000, "|") { "word\($0)" } + ")")),
      Case(name: "any characters", format: GrammarTests.regex(".{0,3000}")),
      Case(
        name: "rules that double each other",
        format: GrammarTests.grammar(
          "root ::= r59\nr0 ::= \"a\"\n" + (1..<60).map { "r\($0) ::= r\($0 - 1) r\($0 - 1)" }.joined(separator: "\n"))),
      Case(
        name: "a long grammar",
        format: GrammarTests.grammar(
          "root ::= " + list(5000, " | ") { "\"\(String(repeating: "x", count: 50))\($0)\"" })),
      Case(
        name: "texts of all characters",
        format: .choice(
          .array(
            (0..<300).map { first in
              .string(String((0..<300).map { Character(Unicode.Scalar(0x4E00 + 97 * first + $0)!) }))
            }),
          place: "choice")),
    ]
  }()

  @Test("a hostile format is refused by name, or made, at once", arguments: cases)
  func hostile(format: Case) {
    let start = Self.threadTime()
    let reason = GrammarTests.reason(format.format)
    let time = Self.threadTime() - start
    #expect((reason != "") == format.isRefused, "\(reason)")
    // The budget is of work, and alone the longest takes 0.07 s. Other programs on the machine make a thread's time longer.
    // Memory: Tests/Interop/test_schema_suite.py.
    #expect(time < 0.3, "\(time)")
  }

  /// Seconds that the processor has worked for this thread.
  static func threadTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
