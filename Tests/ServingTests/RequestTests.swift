import Inference
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

  @Test("control tokens are text in a conversation, and control tokens in a prompt")
  func controlTokens() throws {
    let end = ServingSupport.tokenizer.endToken
    let chat = try ServingSupport.chat(#"{"messages": [{"role": "user", "content": "</s>"}]}"#)
    #expect(chat.prompts[0].tokens.count { $0 == end } == 1)
    let prompt = try ServingSupport.completion(#"{"prompt": "</s>"}"#).prompts[0]
    #expect(prompt == TextInput(tokens: [ServingSupport.tokenizer.beginToken, end], addedTokens: 1))
    #expect(try ServingSupport.completion(#"{"prompt": "<s></s>"}"#).prompts[0].addedTokens == 0)
    #expect(try ServingSupport.completion(#"{"prompt": [7, 8]}"#).prompts == [TextInput(tokens: [7, 8])])
  }

  @Test("a conversation that ends with an answer has it continued")
  func continuedAnswer() throws {
    let open = try ServingSupport.chat("{\(Self.messages)}").prompts[0].tokens
    let body = #"{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "wor"}]}"#
    let tokens = try ServingSupport.chat(body).prompts[0].tokens
    #expect(tokens == open + ServingSupport.tokenizer.encode("wor", specialTokens: .asText))
  }

  @Test(
    "a wrong field is refused by name",
    arguments: [
      ("prompt", #"{}"#), ("prompt", #"{"prompt": []}"#), ("prompt", #"{"prompt": [300]}"#),
      ("prompt", #"{"prompt": [-1]}"#), ("prompt", #"{"prompt": [1.5]}"#), ("prompt", #"{"prompt": [["a"]]}"#),
      ("suffix", #"{"prompt": "a", "suffix": "b"}"#), ("best_of", #"{"prompt": "a", "best_of": 3}"#),
      ("logprobs", #"{"prompt": "a", "logprobs": true}"#), ("stop", #"{"prompt": "a", "stop": [1]}"#),
      ("max_tokens", #"{"prompt": "a", "max_tokens": 1e300}"#), ("top_k", #"{"prompt": "a", "top_k": -2}"#),
      ("temperature", #"{"prompt": "a", "temperature": 2.1}"#), ("echo", #"{"prompt": "a", "echo": 1}"#),
    ])
  func refusals(parameter: String, body: String) {
    let error = #expect(throws: APIError.self) { _ = try ServingSupport.completion(body) }
    #expect(error?.parameter == parameter && error?.status == 400)
  }

  @Test("paths with and without version and slash are the same")
  func paths() {
    for path in ["/v1/models", "/v1/models/", "/models", "/models//"] { #expect(Route.normalized(path) == "/models") }
    #expect(Route.normalized("/") == "/" && Route.normalized("/v1") == "/" && Route.normalized("/v10/x") == "/v10/x")
    #expect(Route.normalized("/v1/é" + String(repeating: "/", count: 30_000)) == "/é" && Route.normalized("//") == "/")
    #expect(Route.all.first { $0.matches("/models/a/b") }?.name == "/models/{id}")
  }
}
