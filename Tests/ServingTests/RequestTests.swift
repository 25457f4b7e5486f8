import Generation
import Serving
import Testing
import Tokenization

@Suite struct RequestTests {
  static let messages = #""messages": [{"role": "user", "content": "hello"}]"#

  @Test("what is absent is as in generate, but for the number of tokens of a completion and the seed")
  func defaults() throws {
    let chat = try ServingSupport.chat("{\(Self.messages), \"temperature\": null, \"unknown\": [1]}")
    #expect(chat.request.sampling.temperature == 0.7 && chat.request.sampling.topK == 8)
    #expect(chat.request.maximumTokens == nil && chat.count == 1 && !chat.isStreamed)
    #expect(chat.request.topLogProbabilities == nil)
    let other = try ServingSupport.chat("{\(Self.messages)}")
    #expect(chat.request.sampling.seed != other.request.sampling.seed)
    #expect(try ServingSupport.completion(#"{"prompt": "hello"}"#).request.maximumTokens == 16)
    #expect(try ServingSupport.completion(#"{"prompt": "hello", "max_tokens": -1}"#).request.maximumTokens == nil)
  }

  @Test("each of several answers has random choices of its own")
  func seeds() throws {
    let call = try ServingSupport.completion(#"{"prompt": ["hello", "world"], "n": 2, "seed": -1}"#)
    #expect(call.parts == 4)
    let requests = (0..<4).map(call.request)
    #expect(requests.map(\.sampling.seed) == [.max, 0, 1, 2])
    #expect(requests[0].prompt == requests[1].prompt && requests[1].prompt != requests[2].prompt)
  }

  @Test("prompt and answer together fit the context")
  func context() throws {
    func call(_ tokens: Int, _ fields: String = "") throws(APIError) -> GenerationCall {
      try ServingSupport.completion(
        #"{"prompt": [\#(Array(repeating: "9", count: tokens).joined(separator: ","))]\#(fields)}"#)
    }
    #expect(try call(60, #", "max_tokens": -1"#).request.tokenLimit(promptTokens: 60, contextLength: 64) == 4)
    #expect(try call(64, #", "max_tokens": 0, "echo": true"#).prompts[0].tokens.count == 64)
    for tokens in [64, 65] {
      let error = #expect(throws: APIError.self) { try call(tokens) }
      #expect(error?.parameter == "prompt" && error?.message.contains("resulted in \(tokens) tokens") == true)
      #expect(error?.message.contains("The answer needs one more.") == (tokens == 64))
    }
  }

  @Test("control tokens are text in a conversation, and control tokens in a prompt")
  func controlTokens() throws {
    let end = ServingSupport.tokenizer.endToken
    let chat = try ServingSupport.chat(#"{"messages": [{"role": "user", "content": "</s>"}]}"#)
    #expect(chat.prompts[0].tokens.count { $0 == end } == 1)
    let prompt = try ServingSupport.completion(#"{"prompt": "</s>"}"#).prompts[0]
    #expect(prompt == TextInput(tokens: ServingSupport.tokenizer.beginTokens + [end], addedTokens: 1))
    #expect(try ServingSupport.completion(#"{"prompt": "<s></s>"}"#).prompts[0].addedTokens == 0)
    #expect(try ServingSupport.completion(#"{"prompt": [7, 8]}"#).prompts == [TextInput(tokens: [7, 8])])
  }

  @Test("a conversation that ends with an answer has it continued")
  func continuedAnswer() throws {
    let open = try ServingSupport.chat("{\(Self.messages)}").prompts[0].tokens
    let body = #"{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "wor"}]}"#
    let tokens = try ServingSupport.chat(body).prompts[0].tokens
    #expect(try tokens == open + ServingSupport.tokenizer.encode("wor", specialTokens: .asText))
  }

  @Test(
    "a wrong field is refused by name",
    arguments: [
      ("prompt", #"{}"#), ("prompt", #"{"prompt": []}"#), ("prompt", #"{"prompt": [300]}"#),
      ("prompt", #"{"prompt": [-1]}"#), ("prompt", #"{"prompt": [1.5]}"#), ("prompt", #"{"prompt": [["a"]]}"#),
      ("suffix", #"{"prompt": "a", "suffix": "b"}"#), ("best_of", #"{"prompt": "a", "best_of": 3}"#),
      ("logprobs", #"{"prompt": "a", "logprobs": true}"#), ("stop", #"{"prompt": "a", "stop": [1]}"#),
      ("max_tokens", #"{"prompt": "a", "max_tokens": 1e300}"#), ("top_k", #"{"prompt": "a", "top_k": -2}"#),
      ("tools", #"{"prompt": "a", "tools": [{}]}"#), ("tool_choice", #"{"prompt": "a", "tool_choice": "auto"}"#),
      ("temperature", #"{"prompt": "a", "temperature": 2.1}"#), ("echo", #"{"prompt": "a", "echo": 1}"#),
    ])
  func refusals(parameter: String, body: String) {
    let error = #expect(throws: APIError.self) { _ = try ServingSupport.completion(body) }
    #expect(error?.parameter == parameter && error?.status == 400)
  }

  @Test(
    "a schema is kept to wherever clients of other servers put it",
    arguments: [
      #""response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}"#,
      #""response_format": {"type": "json_schema", "schema": SCHEMA}"#,
      #""response_format": {"type": "json_object", "schema": SCHEMA}"#,
      #""response_format": {"type": "json_object"}, "json_schema": SCHEMA"#, #""json_schema": SCHEMA"#,
      #""guided_json": SCHEMA"#, #""structured_outputs": {"json": SCHEMA, "regex": null}"#,
      #""guided_json": "{\"const\": 7}""#, #""guided_json": SCHEMA, "json_schema": SCHEMA"#,
      #""guided_choice": ["7"]"#, #""structured_outputs": {"choice": ["7"]}, "grammar": """#, #""guided_regex": "7""#,
      #""regex": "[7]""#, #""structured_outputs": {"regex": "7"}"#, #""grammar": "root ::= \"7\"""#,
      #""guided_grammar": "root ::= [7]""#, #""structured_outputs": {"grammar": "root ::= [7]"}"#,
    ])
  func schemas(fields: String) throws {
    let fields = fields.replacing("SCHEMA", with: #"{"const": 7}"#)
    let calls = [
      try ServingSupport.chat("{\(Self.messages), \(fields)}"),
      try ServingSupport.completion("{\"prompt\": \"a\", \(fields)}"),
    ]
    for call in calls {
      var constraint = try #require(call.request.constraint)
      let allowed = constraint.allowedTokens()
      let seven = try ServingSupport.tokenizer.encode("7", specialTokens: .asText)
      let all = (0..<Int32(ServingSupport.tokenizer.vocabularySize)).filter { allowed.contains($0) }
      #expect(all == seven)
    }
  }

  @Test(
    "what asks for another form is refused by name",
    arguments: [
      ("grammar", #""grammar": "yes""#), ("guided_regex", #""guided_regex": "(a""#),
      ("guided_choice", #""guided_choice": []"#), ("guided_grammar", #""guided_grammar": 1"#),
      ("regex", #""regex": "a", "guided_regex": "b""#), ("ebnf", #""ebnf": "a""#),
      ("structural_tag", #""structural_tag": {}"#),
      ("format", #""format": "json""#), ("structured_outputs.tag", #""structured_outputs": {"tag": ["a"]}"#),
      ("grammar", #""grammar": "root ::= \"a\"", "response_format": {"type": "json_object"}"#),
      ("structured_outputs.regex", #""structured_outputs": {"choice": ["a"], "regex": "b"}"#),
      (
        "json_schema",
        #""json_schema": {"const": 1}, "response_format": {"type": "json_object", "schema": {"const": 2}}"#
      ),
      ("guided_json", #""guided_json": {"const": 1}, "json_schema": {"const": 2}"#),
      ("json_schema#", #""json_schema": {"pattern": "(?=a)"}"#),
    ])
  func otherForms(parameter: String, fields: String) {
    for isChat in [true, false] {
      let error = #expect(throws: APIError.self) {
        _ =
          isChat
          ? try ServingSupport.chat("{\(Self.messages), \(fields)}")
          : try ServingSupport.completion("{\"prompt\": \"a\", \(fields)}")
      }
      #expect(error?.parameter == parameter && error?.status == 400)
    }
  }

  @Test("an answer that would take too much memory is refused, with what to lower")
  func sizes() throws {
    func refusal(_ prompts: Int, _ fields: String) -> APIError? {
      let prompt = Array(repeating: "[70, 80]", count: prompts).joined(separator: ", ")
      do throws(APIError) {
        _ = try ServingSupport.completion("{\"prompt\": [\(prompt)], \(fields)}")
        return nil
      } catch {
        return error
      }
    }
    let largest = #""logprobs": 20, "max_tokens": 500, "ignore_eos": true"#
    let error = refusal(2048, largest)
    #expect(error?.status == 400 && error?.parameter == "max_tokens")
    #expect(error?.message.contains("'logprobs'") == true && error?.message.contains("MiB") == true)
    #expect(refusal(2048, largest + #", "stream": true"#) == nil)
    #expect(refusal(2048, #""max_tokens": 500"#) == nil && refusal(16, largest + #", "n": 8"#) == nil)
    #expect(refusal(16, largest + #", "n": 128"#)?.parameter == "max_tokens")
    // As lm-eval measures texts.
    #expect(refusal(2048, #""echo": true, "logprobs": 1, "max_tokens": 1"#) == nil)

    #expect(refusal(16, #""n": 128, "max_tokens": 1"#) == nil)
    for fields in [#""n": 128, "max_tokens": 1"#, #""n": 128, "max_tokens": 1, "stream": true"#] {
      #expect(refusal(17, fields)?.parameter == "n")
    }
    let chat = #""n": 128, "logprobs": true, "top_logprobs": 20"#
    #expect(throws: Never.self) { try ServingSupport.chat("{\(Self.messages), \(chat)}") }
  }

  @Test("a conversation with a model that only continues texts is refused, and says why")
  func noTemplate() throws {
    let body = Array("{\(Self.messages)}".utf8)
    let error = #expect(throws: APIError.self) {
      _ = try GenerationCall(
        chat: RequestFields(body: body), ServingSupport.reader, .failure(TokenizerError("m: there is no template.")),
        ServingSupport.vocabulary)
    }
    #expect(error?.status == 400 && error?.message.contains("m: there is no template.") == true)
  }

  @Test("as many stop strings as tasks of lm-eval have")
  func stops() throws {
    func body(_ count: Int) -> String {
      #"{"prompt": "a", "stop": ["# + Array(repeating: #""b""#, count: count).joined(separator: ",") + "]}"
    }
    #expect(try ServingSupport.completion(body(64)).request.stops.count == 64)
    #expect(throws: APIError.self) { _ = try ServingSupport.completion(body(65)) }
  }

  @Test("paths with and without version and slash are the same")
  func paths() {
    for path in ["/v1/models", "/v1/models/", "/models", "/models//"] { #expect(normalizedPath(path) == "/models") }
    #expect(normalizedPath("/") == "/" && normalizedPath("/v1") == "/" && normalizedPath("/v10/x") == "/v10/x")
    #expect(normalizedPath("/v1/é" + String(repeating: "/", count: 30_000)) == "/é" && normalizedPath("//") == "/")
  }

  @Test("a name in braces is a part of the path, or at its end the rest")
  func pathValues() {
    func values(_ pattern: String, _ path: String) -> [String]? {
      Route<Int>(method: "GET", path: pattern) { _, _, _, _ in }.values(in: path)
    }
    #expect(values("/models", "/models") == [] && values("/models", "/models/a") == nil)
    #expect(values("/models/{id}", "/models/a/b") == ["a/b"] && values("/models/{id}", "/models") == nil)
    #expect(values("/runs/{run}/samples", "/runs/3/samples") == ["3"])
    #expect(values("/runs/{run}/samples", "/runs//samples") == nil)
    #expect(values("/runs/{run}/samples", "/runs/3/4/samples") == nil)
    #expect(values("/runs/{run}/samples", "/runs/3/samples/4") == nil)
  }
}
