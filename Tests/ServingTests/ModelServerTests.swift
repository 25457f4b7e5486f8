import Compute
import Foundation
import CPUEngine
import Generation
import Serving
import Storage
import TestSupport
import Testing
import Tokenization
import Model

/// Requests of every route, through the server's `handle` and without a socket.
@Suite struct ModelServerTests {
  static let name = "tiny/model"
  static let contextLength = 1024

  static func model() throws -> any InferenceEngine {
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64,
      vocabularySize: ServingSupport.tokenizer.vocabularySize)
    let parameters = try Parameters(configuration: configuration, seed: 4)
    return try CPUInferenceEngine(
      parameters, type: .float32, contextLength: contextLength, team: WorkerTeam(count: 2))
  }

  static func server(
    parallel: Int = 4, queue: Int = 100, policy: AccessPolicy = AccessPolicy(), isNameStrict: Bool = false
  ) throws -> ModelServer {
    let tokenizer = ServingSupport.tokenizer
    let scheduler = try BatchScheduler(
      model(), tokenizer: tokenizer, maximumSequences: parallel, queueLimit: queue,
      cacheTokens: parallel * contextLength)
    let served = ModelServer.Model(
      name: name, tokenizer: tokenizer, template: .success(ChatTemplate()), contextLength: contextLength,
      hiddenSize: 32, endTokens: [tokenizer.endToken], fingerprint: "fp_test")
    return ModelServer(served, scheduler, policy: policy, isNameStrict: isNameStrict, width: parallel)
  }

  static func request(
    _ method: String, _ path: String, _ body: String = "", headers: [String: String] = [:]
  ) -> HTTPRequest {
    HTTPRequest(
      method: method, path: path, headers: ["host": "localhost:8080"].merging(headers) { $1 }, body: Array(body.utf8))
  }

  static func send(_ request: HTTPRequest, to server: ModelServer) -> RecordedResponse {
    let response = RecordedResponse()
    server.handle(.success(request), response)
    return response
  }

  static func post(_ path: String, _ body: String, to server: ModelServer) -> RecordedResponse {
    send(request("POST", path, body), to: server)
  }

  static let chat = #"{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "temperature": 0}"#
  static let endless = #"{"prompt": "hello", "ignore_eos": true, "max_tokens": -1, "stream": true}"#
  private static let options = #""options": {"num_predict": 2, "temperature": 0}"#
  /// A request of each route that succeeds, and a member of its answer.
  static let requests: [String: (request: HTTPRequest, member: String)] = [
    "/chat/completions": (request("POST", "/v1/chat/completions", chat), "choices"),
    "/completions": (request("POST", "/v1/completions", #"{"prompt": "a"}"#), "choices"),
    "/responses": (
      request("POST", "/v1/responses", #"{"input": "a", "max_output_tokens": 2, "temperature": 0}"#), "output"
    ),
    "/responses/input_tokens": (request("POST", "/v1/responses/input_tokens", #"{"input": "a"}"#), "input_tokens"),
    "/messages": (
      request("POST", "/v1/messages", #"{"max_tokens": 2, "temperature": 0, \#(RequestTests.messages)}"#), "content"
    ),
    "/messages/count_tokens": (
      request("POST", "/v1/messages/count_tokens", "{\(RequestTests.messages)}"), "input_tokens"
    ),
    "/tokenize": (request("POST", "/tokenize", #"{"content": "a"}"#), "tokens"),
    "/detokenize": (request("POST", "/detokenize", #"{"tokens": [7]}"#), "content"),
    "/apply-template": (request("POST", "/apply-template", "{\(RequestTests.messages)}"), "prompt"),
    "/props": (request("GET", "/props"), "chat_template"),
    "/api/version": (request("GET", "/api/version"), "version"),
    "/api/tags": (request("GET", "/api/tags"), "models"), "/api/ps": (request("GET", "/api/ps"), "models"),
    "/api/show": (request("POST", "/api/show", "{}"), "model_info"),
    "/api/chat": (
      request("POST", "/api/chat", #"{"stream": false, \#(RequestTests.messages), \#(options)}"#), "message"
    ),
    "/api/generate": (request("POST", "/api/generate", #"{"stream": false, "prompt": "a", \#(options)}"#), "response"),
    "/api/embed": (request("POST", "/api/embed", #"{"input": "a"}"#), "embeddings"),
    "/embeddings": (request("POST", "/v1/embeddings", #"{"input": "a"}"#), "data"),
    "/models": (request("GET", "/v1/models"), "data"),
    "/models/{id}": (request("GET", "/v1/models/\(name)"), "id"),
    "/health": (request("GET", "/health"), "status"),
    "/metrics": (request("GET", "/metrics"), ""),
  ]

  @Test("every route answers, with the headers of every answer, and is counted")
  func routes() throws {
    #expect(Set(Self.requests.keys) == Set(ModelServer.routes.map(\.path)))
    let server = try Self.server()
    for (route, (request, member)) in Self.requests {
      let recorded = Self.send(request, to: server)
      let response = recorded.whole
      #expect(response.status == 200, "\(route)")
      #expect(response.values("Cache-Control") == ["no-cache"] && response.values("x-request-id").count == 1)
      #expect(response.values("X-Content-Type-Options") == ["nosniff"])
      guard !member.isEmpty else { continue }
      #expect(response.values("Content-Type") == ["application/json"], "\(route)")
      #expect(try recorded.json()[member] != nil, "\(route)")
    }
    _ = Self.send(Self.request("GET", "/nothing"), to: server).whole
    let metrics = Self.send(Self.request("GET", "/metrics"), to: server).whole
    #expect(metrics.values("Content-Type") == ["text/plain; version=0.0.4; charset=utf-8"])
    let text = String(decoding: metrics.body, as: UTF8.self)
    for route in Self.requests.keys {
      #expect(text.contains("minimind_requests_total{route=\"\(route)\",status=\"200\"} 1\n"), "\(text)")
    }
    #expect(text.contains("minimind_requests_total{route=\"other\",status=\"404\"} 1\n"))
    #expect(text.contains("minimind_time_to_first_token_seconds_count 6\n"))
  }

  @Test("an answer has the text that the model writes, whole and as a stream", arguments: [false, true])
  func answers(isChat: Bool) throws {
    let server = try Self.server()
    let fields = #""n": 2, "max_tokens": 20, "seed": 3, "logprobs": \#(isChat ? "true" : "1")"#
    let prompt = isChat ? RequestTests.messages : #""prompt": "hello""#
    let path = isChat ? "/v1/chat/completions" : "/v1/completions"
    let call = try (isChat ? ServingSupport.chat : ServingSupport.completion)("{\(prompt), \(fields)}")
    let expected = try (0..<2).map { choice in
      Array(Generator(try BatchEngine(Self.model(), ServingSupport.tokenizer), call.request(choice)))
    }
    let whole = try Self.post(path, "{\(prompt), \(fields)}", to: server).json()
    let stream = Self.post(
      path, "{\(prompt), \(fields), \"stream\": true, \"stream_options\": {\"include_usage\": true}}", to: server)
    #expect(stream.whole.values("Content-Type") == ["text/event-stream; charset=utf-8"])
    #expect(stream.events.last == "[DONE]")
    let pieces = try stream.events.dropLast().map { try JSON(parsing: $0) }
    #expect(whole["object"]?.stringValue == (isChat ? "chat.completion" : "text_completion"))
    #expect(whole["model"]?.stringValue == Self.name && whole["system_fingerprint"]?.stringValue == "fp_test")
    #expect(Set(pieces.map { $0["id"]?.stringValue }).count == 1)
    #expect(whole["usage"]?["completion_tokens"] == pieces.last?["usage"]?["completion_tokens"])
    #expect(pieces.last?["choices"] == .array([]))

    for (index, events) in expected.enumerated() {
      let text = events.map(\.text).joined()
      let written = events.count { if case .token = $0 { true } else { false } }
      let choice = try #require(whole["choices"]?.arrayValue?[index])
      #expect((isChat ? choice["message"]?["content"] : choice["text"]) == .string(text))
      #expect(choice["index"] == .integer(index))
      #expect(choice["finish_reason"]?.stringValue == (written == 20 ? "length" : "stop"))
      let tokens = isChat ? choice["logprobs"]?["content"] : choice["logprobs"]?["tokens"]
      #expect(tokens?.arrayValue?.count == written)
      let parts = pieces.flatMap { $0["choices"]?.arrayValue ?? [] }.filter { $0["index"] == .integer(index) }
      let streamed = parts.compactMap { (isChat ? $0["delta"]?["content"] : $0["text"])?.stringValue }
      #expect(streamed.joined() == text)
      #expect(parts.filter { $0["finish_reason"]?.stringValue != nil }.count == 1)
      if isChat { #expect(parts[0]["delta"]?["role"]?.stringValue == "assistant") }
    }
  }

  @Test("answers in a form that the request asks for have it")
  func structuredAnswers() throws {
    let server = try Self.server()
    let schema = #"{"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}"#
    let format = #"{"type": "json_schema", "json_schema": {"name": "x", "schema": \#(schema)}}"#
    let body = #"{\#(RequestTests.messages), "response_format": \#(format)}"#
    let content = try Self.post("/v1/chat/completions", body, to: server).json()["choices"]?.arrayValue?[0]["message"]?[
      "content"]?.stringValue
    let value = try JSON(parsing: try #require(content))
    #expect(value["a"] == .integer(1) || value["a"] == .integer(2))

    let tools = #"[{"type": "function", "function": {"name": "now"}}]"#
    let call = #"{\#(RequestTests.messages), "tool_choice": "required", "tools": \#(tools)}"#
    let choice = try Self.post("/v1/chat/completions", call, to: server).json()["choices"]?.arrayValue?[0]
    #expect(choice?["finish_reason"]?.stringValue == "tool_calls")
    let function = choice?["message"]?["tool_calls"]?.arrayValue?[0]["function"]
    #expect(function?["name"]?.stringValue == "now" && function?["arguments"]?.stringValue == "{}")
  }

  @Test("embeddings have length 1 and come in the order of the texts, as numbers or as base64")
  func embeddings() throws {
    let server = try Self.server(parallel: 2)
    let texts = (0..<7).map { "\"\(String(repeating: "hello ", count: $0 + 1))\"" }.joined(separator: ", ")
    func vectors(_ format: String) throws -> [JSON] {
      let body = "{\"input\": [\(texts)], \"encoding_format\": \"\(format)\"}"
      let data = try #require(try Self.post("/v1/embeddings", body, to: server).json()["data"]?.arrayValue)
      #expect(data.map { $0["index"] } == (0..<7).map { .integer($0) })
      return data.compactMap { $0["embedding"] }
    }
    let numbers = try vectors("float").map { ($0.arrayValue ?? []).compactMap(\.doubleValue).map(Float.init) }
    let bytes = try vectors("base64").map { try #require(Data(base64Encoded: $0.stringValue ?? "")) }
    #expect(Set(numbers).count == 7)
    for (vector, bytes) in zip(numbers, bytes) {
      #expect(vector.count == 32 && abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
      let decoded = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      #expect(decoded == vector)
    }
  }

  @Test(
    "what cannot be answered has a status, a message and a code",
    arguments: [
      ("GET", "/v1/nothing", "", 404, "unknown_url"), ("GET", "/../etc/passwd", "", 404, "unknown_url"),
      ("GET", "/v1/models/other", "", 404, "model_not_found"), ("GET", "/v1/chat/completions", "", 405, nil),
      ("DELETE", "/v1/models", "", 405, nil), ("POST", "/v1/chat/completions", "", 400, nil),
      ("POST", "/v1/completions", "[]", 400, nil), ("POST", "/v1/embeddings", #"{"input": 1}"#, 400, nil),
      ("POST", "/v1/completions", #"{"prompt": "a", "model": "other"}"#, 404, "model_not_found"),
      ("POST", "/v1/completions", #"{"prompt": "a", "suffix": "b"}"#, 400, "unsupported_parameter"),
    ] as [(String, String, String, Int, String?)])
  func errors(method: String, path: String, body: String, status: Int, code: String?) throws {
    let server = try Self.server(isNameStrict: true)
    // With the right name the model is not what is wrong.
    let body = body.replacing("{\"input\"", with: "{\"model\": \"\(Self.name)\", \"input\"")
      .replacing("\"suffix\"", with: "\"model\": \"\(Self.name)\", \"suffix\"")
    let recorded = Self.send(Self.request(method, path, body), to: server)
    let error = try recorded.json()["error"]
    #expect(recorded.whole.status == status)
    #expect(error?["message"]?.stringValue?.isEmpty == false && error?["type"]?.stringValue != nil)
    #expect(error?["code"]?.stringValue == code)
    #expect(recorded.whole.values("Allow").isEmpty == (status != 405))
  }

  @Test(
    "requests that the connection refuses are told why",
    arguments: [
      (HTTPRefusal.bodyTooLarge(limit: 5), 413), (.ambiguous("Two hosts."), 400), (.overloaded, 503),
    ])
  func refusals(refusal: HTTPRefusal, status: Int) throws {
    let response = RecordedResponse()
    try Self.server().handle(.failure(refusal), response)
    #expect(response.whole.status == status && response.whole.values("x-request-id").count == 1)
    #expect(response.whole.values("Retry-After") == (refusal == .overloaded ? ["1"] : []))
    #expect(try response.json()["error"]?["message"]?.stringValue?.isEmpty == false)
  }

  @Test("the key opens all routes, the page and the health need none, and no name or origin is let through")
  func access() throws {
    let server = try Self.server(policy: AccessPolicy(key: "secret", origins: ["https://a.example"]))
    let closed = Self.requests.filter { $0.key != "/health" }
    for (route, (request, _)) in closed {
      #expect(Self.send(request, to: server).whole.status == 401, "\(route)")
      var opened = request
      opened.headers["authorization"] = "Bearer secret"
      #expect(Self.send(opened, to: server).whole.status == 200, "\(route)")
      opened.headers["host"] = "evil.example"
      #expect(Self.send(opened, to: server).whole.status == 403, "\(route)")
      opened.headers["host"] = "localhost"
      opened.headers["origin"] = "https://b.example"
      #expect(Self.send(opened, to: server).whole.status == 403, "\(route)")
    }
    #expect(Self.send(Self.request("GET", "/health"), to: server).whole.status == 200)
    let page = Self.send(Self.request("GET", "/"), to: server).whole
    #expect(page.status == 200 && page.values("Content-Security-Policy")[0].contains("default-src 'none'"))
    #expect(Self.send(Self.request("HEAD", "/"), to: server).whole.status == 200)
    #expect(Self.send(Self.request("GET", "/", headers: ["host": "evil.example"]), to: server).whole.status == 403)
    #expect(Self.send(Self.request("GET", "/v1/models"), to: server).whole.values("WWW-Authenticate") == ["Bearer"])
    let preflight = Self.send(
      Self.request("OPTIONS", "/v1/chat/completions", headers: ["origin": "https://a.example"]), to: server
    ).whole
    #expect(preflight.status == 204 && preflight.body.isEmpty)
    #expect(preflight.values("Access-Control-Allow-Origin") == ["https://a.example"])
  }

  @Test("a full queue tells clients when to come back, and a client that goes makes room for others")
  func fullQueue() throws {
    let server = try Self.server(parallel: 1, queue: 1)
    let running = (0..<2).map { _ in Self.post("/v1/completions", Self.endless, to: server) }
    running[0].wait(bytes: 1)
    let refused = Self.post("/v1/completions", #"{"prompt": "a"}"#, to: server)
    #expect(refused.whole.status == 429 && refused.whole.values("Retry-After").compactMap { Int($0) }.count == 1)
    #expect(try refused.json()["error"]?["code"]?.stringValue == "rate_limit_exceeded")
    for response in running { response.disconnect() }
    // The context is longer than what is written until here, so only cancelling can have made room.
    var status = 429
    while status == 429 { status = Self.post("/v1/completions", #"{"prompt": "a"}"#, to: server).whole.status }
    #expect(status == 200)
  }

  @Test("a request of more answers than run at once gets them all")
  func manyChoices() throws {
    let server = try Self.server(parallel: 2, queue: 0)
    let answer = try Self.post("/v1/completions", #"{"prompt": ["a", "b", "c"], "n": 3}"#, to: server).json()
    #expect(answer["choices"]?.arrayValue?.map { $0["index"] } == (0..<9).map { .integer($0) })
  }

  @Test("a server that stops says so: to new requests by status 503, in a stream by its last event")
  func stopping() throws {
    let server = try Self.server()
    let response = Self.post("/v1/completions", Self.endless, to: server)
    response.wait(bytes: 1)
    server.stop(waitingFor: 0)
    let last = try JSON(parsing: try #require(response.events.last))
    #expect(last["error"]?["code"]?.stringValue == "stopping" || last["choices"] != nil)
    for path in ["/health", "/v1/completions"] {
      let request = Self.request(path == "/health" ? "GET" : "POST", path, #"{"prompt": "a"}"#)
      #expect(Self.send(request, to: server).whole.status == 503)
    }
  }
}
