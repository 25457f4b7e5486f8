import Foundation
import Generation
import Model
import Serving
import Storage
import TestSupport
import Testing
import Tokenization
import Vision

/// Pictures in requests, with an encoder that needs no tower.
@Suite struct PictureRequestTests {
  /// Rows that depend on every pixel.
  private final class SumEncoder: PictureEncoder {
    let rowsPerPicture = 4
    let hiddenSize = 32

    func rows(_ pixels: [[Float]]) -> [[Float]] {
      pixels.map { values in
        (0..<rowsPerPicture * hiddenSize).map { place in
          var sum: Float = 0
          for index in stride(from: place % 7, to: values.count, by: 7) { sum += values[index] }
          return Float(place % 5 - 2) * 0.3 + sum / 50 * Float(place % 3 - 1)
        }
      }
    }
  }

  static let placeholder: [Int32] = [5, 5, 6, 6]

  private static var processor: PictureProcessor {
    var processor = PictureProcessor()
    processor.size = .exact(width: 8, height: 8)
    processor.rescaling = 1.0 / 255
    return processor
  }

  private static func file(_ light: UInt8) throws -> [UInt8] {
    try Picture(width: 10, height: 9, pixels: (0..<270).map { UInt8($0 % 50) + light }).png()
  }

  private static func base64(_ light: UInt8) throws -> String { Data(try file(light)).base64EncodedString() }

  private static func url(_ light: UInt8) throws -> String { "data:image/png;base64," + (try base64(light)) }

  private static func server(sees: Bool = true, fetcher: PictureFetcher? = nil) throws -> ModelServer {
    let tokenizer = ServingSupport.tokenizer
    let scheduler = try BatchScheduler(
      ModelServerTests.model(), tokenizer: tokenizer, maximumSequences: 4, queueLimit: 100, cacheTokens: 4096)
    let sight = Sight(SumEncoder(), processor, placeholder: placeholder)
    return ModelServer(
      ModelServer.Model(
        name: "sees", tokenizer: tokenizer, template: .success(ChatTemplate()), contextLength: 1024, hiddenSize: 32,
        endTokens: [tokenizer.endToken], sight: sees ? sight : nil, fetcher: fetcher, fingerprint: "fp_test"),
      scheduler, policy: AccessPolicy(), width: 4)
  }

  private static func body(_ content: String, _ others: String = "") -> String {
    #"{"messages": [{"role": "user", "content": [\#(content)]}], "max_tokens": 12, "temperature": 0, "logprobs": true\#(others)}"#
  }

  private static func part(_ light: UInt8) throws -> String {
    #"{"type": "image_url", "image_url": {"url": "\#(try url(light))"}}"#
  }

  private static func text(_ text: String) -> String { #"{"type": "text", "text": "\#(text)"}"# }

  /// The tokens' texts and log-probabilities of an answer.
  private static func answer(_ response: RecordedResponse) throws -> [String] {
    let json = try response.json()
    let content = try #require(json["choices"]?.arrayValue?[0]["logprobs"]?["content"]?.arrayValue, "\(json)")
    return content.map { "\($0["token"]?.stringValue ?? "") \(Float($0["logprob"]?.doubleValue ?? 0))" }
  }

  /// What the engine says to the prompt that the messages should become.
  private static func expected(_ lights: [UInt8], between: [String]) throws -> [String] {
    let model = try ModelServerTests.model()
    let tokenizer = ServingSupport.tokenizer
    func ids(_ text: String) -> [Int32] { try! tokenizer.encode(text, specialTokens: .asText) }
    var prompt = tokenizer.beginTokens + ids("user\n" + between[0])
    var spans: [EmbeddedSpan] = []
    for (index, light) in lights.enumerated() {
      let values = try processor.values(try PictureDecoder().picture(file(light))).values
      spans.append(EmbeddedSpan(rows: prompt.count..<prompt.count + 4, values: SumEncoder().rows([values])[0]))
      prompt += placeholder + ids(between[index + 1])
    }
    prompt += [tokenizer.endToken] + ids("\n") + tokenizer.beginTokens + ids("assistant\n")
    var request = GenerationRequest(prompt: prompt)
    request.embedded = spans
    request.maximumTokens = 12
    request.sampling.temperature = 0
    request.sampling.repetitionPenalty = GenerationDefaults().sampling.repetitionPenalty
    request.topLogProbabilities = 0
    var result: [String] = []
    for event in Generator(try BatchEngine(model, tokenizer), request) {
      guard case .token(let token, _, let probability) = event else { continue }
      let bytes = tokenizer.bytes(of: token)
      result.append("\(String(decoding: bytes, as: UTF8.self)) \(Float(probability?.logProbability ?? 0))")
    }
    return result
  }

  @Test("an answer to pictures is that of the engine to their rows, alone and among others, kept pages or not")
  func answers() throws {
    let server = try Self.server()
    let bodies: [(body: String, expected: [String])] = [
      (Self.body(try Self.part(10) + "," + Self.text("hello")), try Self.expected([10], between: ["", "\nhello"])),
      (Self.body(try Self.part(90) + "," + Self.text("hello")), try Self.expected([90], between: ["", "\nhello"])),
      (
        Self.body(try [Self.text("what"), Self.part(90), Self.part(10), Self.text("a world")].joined(separator: ",")),
        try Self.expected([90, 10], between: ["what\n", "\n", "\na world"])
      ),
    ]
    #expect(Set(bodies.map { $0.expected.joined() }).count == 3)
    // Twice, so that the pages of the first time are used, and all at once.
    for _ in 0..<2 {
      let responses = bodies.map { ModelServerTests.post("/v1/chat/completions", $0.body, to: server) }
      for (response, body) in zip(responses, bodies) {
        #expect(response.whole.status == 200)
        #expect(
          try Self.answer(response).map { $0.prefix { $0 != " " } } == body.expected.map { $0.prefix { $0 != " " } })
        for (found, wanted) in zip(try Self.answer(response), body.expected) {
          let (one, other) = (Float(found.split(separator: " ").last!)!, Float(wanted.split(separator: " ").last!)!)
          #expect(abs(one - other) < 1e-4, "\(found) \(wanted)")
        }
      }
    }
    let metrics = String(
      decoding: ModelServerTests.send(ModelServerTests.request("GET", "/metrics"), to: server).whole.body,
      as: UTF8.self)
    // Two different files, however often they come.
    #expect(metrics.contains("minimind_pictures_encoded_total 2\n"))
    #expect(metrics.contains("minimind_picture_seconds_total "))
  }

  @Test("Responses, Messages and Ollama give what chat completions give")
  func otherAPIs() throws {
    let server = try Self.server()
    let wanted = try ModelServerTests.post(
      "/v1/chat/completions", Self.body(try Self.part(33) + "," + Self.text("hello")), to: server
    ).json()["choices"]?.arrayValue?[0]["message"]?["content"]
    let data = try Self.base64(33)
    let responses = try ModelServerTests.post(
      "/v1/responses",
      #"{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "\#(try Self.url(33))"}, {"type": "input_text", "text": "hello"}]}], "max_output_tokens": 12, "temperature": 0}"#,
      to: server
    ).json()
    #expect(responses["output"]?.arrayValue?[0]["content"]?.arrayValue?[0]["text"] == wanted, "\(responses)")
    let messages = try ModelServerTests.post(
      "/v1/messages",
      #"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "\#(data)"}}, {"type": "text", "text": "hello"}]}], "max_tokens": 12, "temperature": 0}"#,
      to: server
    ).json()
    #expect(messages["content"]?.arrayValue?[0]["text"] == wanted, "\(messages)")
    let ollama = try ModelServerTests.post(
      "/api/chat",
      #"{"messages": [{"role": "user", "content": "hello", "images": ["\#(data)"]}], "stream": false, "options": {"num_predict": 12, "temperature": 0}}"#,
      to: server
    ).json()
    #expect(ollama["message"]?["content"] == wanted, "\(ollama)")
  }

  @Test("a picture that is named by its address is fetched once, and the answers are those to its bytes")
  func fetched() throws {
    let files = try LocalFiles(["/33.png": Self.file(33), "/text.png": Array("no picture".utf8)])
    defer { files.stop() }
    let server = try Self.server(fetcher: try files.fetcher())
    func url(_ path: String) -> String { files.url(path) }
    func part(_ path: String) -> String { #"{"type": "image_url", "image_url": {"url": "\#(url(path))"}}"# }
    let chat = "/v1/chat/completions"
    let inline = try Self.answer(
      ModelServerTests.post(
        chat, Self.body([Self.part(33), Self.part(33), Self.text("hello")].joined(separator: ",")), to: server))
    let found = try Self.answer(
      ModelServerTests.post(
        chat, Self.body([part("/33.png"), part("/33.png"), Self.text("hello")].joined(separator: ",")), to: server))
    #expect(found == inline && files.requests.count == 1)

    let wanted = try ModelServerTests.post(chat, Self.body(try Self.part(33) + "," + Self.text("hello")), to: server)
      .json()["choices"]?.arrayValue?[0]["message"]?["content"]
    let responses = try ModelServerTests.post(
      "/v1/responses",
      #"{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "\#(url("/33.png"))"}, {"type": "input_text", "text": "hello"}]}], "max_output_tokens": 12, "temperature": 0}"#,
      to: server
    ).json()
    #expect(responses["output"]?.arrayValue?[0]["content"]?.arrayValue?[0]["text"] == wanted, "\(responses)")
    let messages = try ModelServerTests.post(
      "/v1/messages",
      #"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "\#(url("/33.png"))"}}, {"type": "text", "text": "hello"}]}], "max_tokens": 12, "temperature": 0}"#,
      to: server
    ).json()
    #expect(messages["content"]?.arrayValue?[0]["text"] == wanted, "\(messages)")

    for (path, code, reason) in [
      ("/none.png", "invalid_image_url", "the answer at its address is 404"),
      ("/moved", "invalid_image_url", "a redirect, which is not followed"),
      ("/text.png", "invalid_image", "is text, not a picture"),
    ] {
      let response = ModelServerTests.post(chat, Self.body(part(path)), to: server)
      let error = try response.json()["error"]
      #expect(response.whole.status == 400 && error?["code"]?.stringValue == code, "\(path)")
      #expect(error?["param"]?.stringValue == "messages[0].content")
      #expect(error?["message"]?.stringValue?.contains(reason) == true, "\(String(describing: error))")
    }
    let other = try ModelServerTests.post(
      chat, Self.body(#"{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}"#), to: server
    ).json()["error"]
    #expect(other?["message"]?.stringValue?.contains("those that https:// or http:// leads to") == true)
    // As the program itself is: it asks nobody on this machine.
    let product = try Self.server(fetcher: PictureFetcher(ports: [files.port]))
    let refused = ModelServerTests.post(chat, Self.body(part("/33.png")), to: product)
    #expect(refused.whole.status == 400)
    #expect(try refused.json()["error"]?["message"]?.stringValue?.contains("is not public") == true)
  }

  @Test("what cannot be seen is refused by its field's name")
  func refusals() throws {
    let server = try Self.server()
    func refused(_ path: String, _ body: String, _ field: String, _ part: String, by other: ModelServer? = nil) throws {
      let response = ModelServerTests.post(path, body, to: other ?? server)
      #expect(response.whole.status == 400)
      let error = try response.json()["error"]
      #expect(error?["message"]?.stringValue?.contains(part) == true, "\(String(describing: error))")
      if path.contains("chat") || path.contains("responses") {
        #expect(error?["param"]?.stringValue == field, "\(String(describing: error))")
      }
    }
    let chat = "/v1/chat/completions"
    try refused(
      chat, Self.body(try Self.part(1)), "messages[0].content", "this model reads text only",
      by: Self.server(sees: false))
    func url(_ text: String) -> String { #"{"type": "image_url", "image_url": {"url": "\#(text)"}}"# }
    for (text, part) in [
      ("https://example.org/a.png", "this server fetches none"), ("file:///etc/passwd", "this server fetches none"),
      ("data:image/png;base64,????", "is damaged"), ("data:text/plain;base64,aGVsbG8=", "data of the kind"),
      ("data:image/png,abc", "not in base64"), ("data:image/gif;base64,R0lGODdhAQABAA==", "is a GIF"),
    ] { try refused(chat, Self.body(url(text)), "messages[0].content", part) }
    let many = try Array(repeating: Self.part(1), count: 33).joined(separator: ",")
    try refused(chat, Self.body(many), "messages", "more than 32 pictures")
    try refused(
      chat,
      #"{"messages": [{"role": "system", "content": [\#(try Self.part(1))]}, {"role": "user", "content": "a"}]}"#,
      "messages[0].content", "only messages of a user")
    try refused(
      "/v1/responses",
      #"{"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}]}"#,
      "input[0].content", "a picture of 'input[0].content' is data of another kind")
    try refused(
      "/v1/messages",
      #"{"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}}]}]}"#,
      "", "this server fetches none")
  }

  @Test("what a user writes never stands for a picture")
  func marks() throws {
    let server = try Self.server()
    func tokens(_ content: String) throws -> Int? {
      try ModelServerTests.post("/v1/chat/completions", Self.body(content), to: server).json()["usage"]?[
        "prompt_tokens"]?
        .integerValue
    }
    // Swift writes no such code point in a text.
    let mark = PictureMark.text(0)
    #expect(try tokens(Self.text("a \(mark) b")) == tokens(Self.text("a \u{FFFD} b")))
    // Four tokens for the picture, and one for the line break after it.
    #expect(try tokens(Self.part(3) + "," + Self.text("a"))! - tokens(Self.text("a"))! == 5)
  }
}
