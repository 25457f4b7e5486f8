import Foundation
import Generation
import Serving
import Storage
import TestSupport
import Testing
import Tokenization

/// Requests as clients send them, damaged: each is read or refused, and none stops the program.
@Suite struct RequestFuzzTests {
  /// The bodies of the recorded requests, and one with nearly every field.
  static let bodies: [JSON] = {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Interop/fixtures")
    let files = try! FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == "json" }.sorted { $0.path < $1.path }
    let recorded = files.flatMap { file in
      let json = try! JSON(parsing: try! String(contentsOf: file, encoding: .utf8))
      return json["requests"]!.arrayValue!.compactMap { $0["body"] }
    }
    precondition(recorded.count >= 10, "the recorded requests are not where they were")
    let everything = #"""
      {"model":"m","messages":[{"role":"system","content":"be"},{"role":"user","content":[{"type":"text",
      "text":"h\u00e9\ud83d\ude00 你好"}]}],"prompt":["hello",[1,2]],"input":"a","n":2,"stop":["a","b"],
      "logit_bias":{"7":-1.5e1},"seed":1,"temperature":0.5,"max_tokens":10,"stream":true,"echo":true,
      "stream_options":{"include_usage":true},"logprobs":null,"dimensions":32,"top_k":5,"min_p":0.1,"top_p":0.9,
      "repetition_penalty":1.1,"presence_penalty":0.1,"frequency_penalty":-0.1,"ignore_eos":false,
      "encoding_format":"base64","response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object",
      "properties":{"a":{"anyOf":[{"type":"integer","minimum":3},{"$ref":"#/$defs/b"}]}},"required":["a"],
      "$defs":{"b":{"type":"array","items":{"type":"string","maxLength":3},"minItems":1}}}}}}
      """#
    let others = [
      #"""
      {"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"reasoning","content":[{"type":
      "reasoning_text","text":"t"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":
      "function_call_output","call_id":"c","output":"r"}],"instructions":"be","max_output_tokens":5,"text":{"format":{"type":
      "json_schema","name":"a","schema":{"type":"object"}}},"tools":[{"type":"function","name":"f","parameters":{}}],
      "tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]},"reasoning":{"effort":
      "low"},"include":["message.output_text.logprobs"],"top_logprobs":2,"truncation":"auto"}
      """#,
      #"""
      {"system":[{"type":"text","text":"be"}],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[
      {"type":"thinking","thinking":"t","signature":""},{"type":"text","text":"b"},{"type":"tool_use","id":"c","name":"f",
      "input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":
      "r"}]}]}],"max_tokens":5,"stop_sequences":["a"],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":
      {"type":"tool","name":"f"},"thinking":{"type":"enabled","budget_tokens":5},"truncation":"auto"}
      """#,
      #"""
      {"messages":[{"role":"user","content":"a","images":[]},{"role":"assistant","content":"","tool_calls":[{"function":
      {"name":"f","arguments":{"a":1}}}]},{"role":"tool","tool_name":"f","content":"r"}],"options":{"num_predict":-2,
      "temperature":0.1,"stop":["a"]},"format":{"type":"object"},"think":false,"stream":false,"prompt":"a","raw":true}
      """#,
    ]
    return recorded + ([everything] + others).map { try! JSON(parsing: $0) }
  }()

  static let reader = TextInputReader(tokenizer: ServingSupport.tokenizer, contextLength: 4096)

  @Test("damaged requests are read or refused", arguments: 0..<32 as Range<UInt64>)
  func damage(batch: UInt64) {
    var generator = SeededGenerator(seed: batch)
    for round in 0..<100 {
      var body = Self.bodies.randomElement(using: &generator)!
      for _ in 0..<Int.random(in: 0...3, using: &generator) { body = Self.mutated(body, using: &generator) }
      var bytes = Array(body.compactText.utf8)
      if Bool.random(using: &generator) { Self.mutate(&bytes, using: &generator) }
      Self.expectReadOrRefused(bytes, "batch \(batch), round \(round)")
    }
  }

  private static func expectReadOrRefused(_ bytes: [UInt8], _ place: String) {
    func read(_ body: (RequestFields) throws -> Void) {
      do {
        try body(try RequestFields(body: bytes))
      } catch {
        guard let error = error as? APIError else {
          Issue.record("\(place): \(error)")
          return
        }
        // The answer is JSON, blames the client, and does not send the request back to it.
        let message = (try? JSON(parsing: error.json.compactText))?["error"]?["message"]?.stringValue
        #expect(error.status == 400 && message?.isEmpty == false && message!.utf8.count < 2000, "\(place): \(error)")
      }
    }
    func check(_ call: GenerationCall) {
      let request = call.request(call.parts - 1)
      let tokens = 0..<Int32(ServingSupport.tokenizer.vocabularySize)
      #expect(!request.prompt.isEmpty && request.prompt.allSatisfy(tokens.contains), "\(place)")
      #expect((0...2).contains(request.sampling.temperature) && (0...1).contains(request.sampling.topP), "\(place)")
      #expect(request.sampling.logitBias.allSatisfy { tokens.contains($0.key) && $0.value.isFinite }, "\(place)")
    }
    read { check(try GenerationCall(chat: $0, reader, .success(ChatTemplate()), ServingSupport.vocabulary)) }
    read { check(try GenerationCall(completion: $0, reader, ServingSupport.vocabulary)) }
    func chat(_ fields: RequestFields) throws(APIError) -> GenerationCall {
      try GenerationCall(chat: fields, reader, .success(ChatTemplate()), ServingSupport.vocabulary)
    }
    read { check(try TranslatedRequest(responses: $0).perform(chat)) }
    read { check(try TranslatedRequest(messages: $0).perform(chat)) }
    read { check(try TranslatedRequest(ollama: $0).perform(chat)) }
    read { _ = try EmbeddingCall($0, reader, hiddenSize: 32) }
  }

  // MARK: - Damage to values

  private static let names = [
    "messages", "role", "content", "tools", "tool_choice", "tool_calls", "function", "name", "arguments", "prompt",
    "input",
    "instructions", "arguments", "call_id", "tool_use_id", "options", "truncation", "response_format", "json_schema",
    "schema", "type", "properties", "$ref", "enum", "stop", "n", "stream_options",
  ]

  private static func oddValue(using generator: inout SeededGenerator) -> JSON {
    let depth = Int.random(in: 1...80, using: &generator)
    let values: [JSON] = [
      .null, .bool(true), .integer(0), .integer(-1), .integer(.max), .integer(.min), .number(1e308), .number(-0.0),
      .number(0.1), .number(.leastNonzeroMagnitude), .string(""), .string("\u{0}"), .string("<s></s><|im_end|>"),
      .string("\u{FFFD}\u{10FFFF}👩‍👩‍👧"), .string(String(repeating: "长", count: depth * 40)), .array([]), .object([]),
      .array(Array(repeating: .null, count: depth * 40)), .object([.init("", .null), .init("", .null)]),
      (0..<depth).reduce(JSON.null) { value, _ in .array([value]) },
      (0..<depth).reduce(JSON.null) { value, _ in .object([.init("properties", value)]) },
      .string(names.randomElement(using: &generator)!), .string("function"), .string("assistant"),
    ]
    return values.randomElement(using: &generator)!
  }

  /// A copy with one place changed: a value replaced, or a member removed, doubled or named otherwise.
  private static func mutated(_ value: JSON, using generator: inout SeededGenerator) -> JSON {
    switch value {
    case .object(var members) where !members.isEmpty && Int.random(in: 0..<6, using: &generator) > 0:
      let place = Int.random(in: 0..<members.count, using: &generator)
      switch Int.random(in: 0..<12, using: &generator) {
      case 0: members.remove(at: place)
      case 1: members.append(members[place])
      case 2: members[place].key = names.randomElement(using: &generator)!
      case 3: members.append(.init(names.randomElement(using: &generator)!, oddValue(using: &generator)))
      default: members[place].value = mutated(members[place].value, using: &generator)
      }
      return .object(members)
    case .array(var values) where !values.isEmpty && Int.random(in: 0..<6, using: &generator) > 0:
      let place = Int.random(in: 0..<values.count, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: values.remove(at: place)
      case 1: values.append(values[place])
      default: values[place] = mutated(values[place], using: &generator)
      }
      return .array(values)
    default: return oddValue(using: &generator)
    }
  }

  // MARK: - Damage to text

  private static let oddTexts: [[UInt8]] = [
    Array(#"\ud800"#.utf8), Array(#"\udc00\ud800"#.utf8), Array(#"\ud83d\ude00"#.utf8), Array(#"\u0000"#.utf8),
    Array(#"\uD8"#.utf8), Array(#"\x"#.utf8), [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF],
    [0xEF, 0xBB, 0xBF], [0], Array("1e999".utf8), Array("-0".utf8), Array("01".utf8), Array("1.e5".utf8),
    Array(String(repeating: "9", count: 400).utf8), Array(("0." + String(repeating: "0", count: 400) + "1").utf8),
    Array(String(repeating: "[", count: 100_000).utf8), Array(String(repeating: #"{"a":"#, count: 20_000).utf8),
    Array("NaN".utf8), Array("Infinity".utf8), Array("//".utf8), Array(",".utf8), Array("\"".utf8), Array("}".utf8),
  ]

  private static func mutate(_ bytes: inout [UInt8], using generator: inout SeededGenerator) {
    switch Int.random(in: 0..<4, using: &generator) {
    case 0: bytes = damaged(bytes, using: &generator)
    case 1: bytes.removeSubrange(Int.random(in: 0...bytes.count, using: &generator)...)
    default:
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0...bytes.count, using: &generator)
        bytes.insert(contentsOf: oddTexts.randomElement(using: &generator)!, at: place)
      }
    }
  }
}
