import Storage
import TestSupport
import Testing

@Suite struct JSONTests {
  @Test("values read and write back")
  func roundTrip() throws {
    let text = #"{"a":[1,-2,3.5,1e-5],"b":{"c":null,"d":true,"e":false},"f":"\"\\\/\b\f\n\r\té\u0041\ud83d\ude00世"}"#
    let value = try JSON(parsing: text)
    #expect(value["a"] == .array([.integer(1), .integer(-2), .number(3.5), .number(1e-5)]))
    #expect(value["b"]?["c"] == .null)
    #expect(value["f"]?.stringValue == "\"\\/\u{8}\u{C}\n\r\téA😀世")
    #expect(try JSON(parsing: value.text()) == value)
    #expect(try JSON(parsing: value.compactText) == value)
  }

  @Test(
    "text that is not JSON is refused with its place",
    arguments: [
      ("", 0), ("{", 1), ("[1,]", 3), ("{\"a\" 1}", 5), ("{\"a\":1,\"a\":2}", 10), ("01", 2), ("1.", 2), ("-", 1),
      ("1e", 2), ("nul", 0), ("\"abc", 4), ("\"\u{1}\"", 1), ("\"\\x\"", 3), ("\"\\ud800\"", 7), ("1 2", 2),
      ("1e999", 5), ("{1:2}", 1), ("\"\\u12", 3),
    ])
  func refusals(text: String, offset: Int) {
    #expect { try JSON(parsing: text) } throws: { ($0 as? JSONError)?.offset == offset }
  }

  @Test("a fault is told with its line, and a key as it can be printed")
  func places() {
    #expect { try JSON(parsing: "[1\n,\n2\n 3]") } throws: { error in
      guard let error = error as? JSONError else { return false }
      return (error.offset, error.line) == (8, 4)
    }
    #expect { try JSON(parsing: "{\"a\\n\": 1, \"a\\n\": 2}") } throws: {
      ($0 as? JSONError)?.reason == #"the key "a\n" appears twice"#
    }
  }

  @Test("keys are told apart by their bytes")
  func spellings() throws {
    let first = JSON.Member("\u{E9}", .integer(1))
    let second = JSON.Member("e\u{301}", .integer(2))
    #expect(try JSON(parsing: "{\"\u{E9}\": 1, \"e\u{301}\": 2}") == .object([first, second]))
  }

  @Test("a string is written with no more escapes than it must have")
  func quoting() {
    #expect(JSON.quoted("\"\\/\u{8}\u{C}\n\r\t\u{1F}\u{7F}é") == #""\"\\/\b\f\n\r\t\u001f"# + "\u{7F}é\"")
  }

  @Test("deep nesting is an error and not a stack overflow")
  func depth() {
    #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 1_000_000)) }
    #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "{\"a\":", count: 1_000_000)) }
  }

  @Test("a string that is not UTF-8 is refused")
  func invalidUTF8() {
    let bytes: [UInt8] = [0x22, 0xFF, 0x22]
    #expect(throws: JSONError.self) { try bytes.withUnsafeBytes { try JSON(parsing: $0) } }
  }

  @Test("whole numbers beyond 64 bits become floating-point numbers")
  func largeIntegers() throws {
    #expect(try JSON(parsing: "100000000000000000000") == .number(1e20))
    #expect(try JSON(parsing: "1e30").integerValue == nil)
    #expect(try JSON(parsing: "2.0").integerValue == 2)
  }
}
