import Compute
import Foundation
import CPUEngine
import Generation
import Model
import TestSupport
import Testing
import Tokenization

@Suite struct GeneratorTests {
  /// A tokenizer of a few merges, and a random model that knows its tokens.
  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 300, threads: 1)
    for line in ["hello world, hello there", "what a world", "你好，世界。你好。", "a question and an answer"] {
      try! trainer.add(document: line)
    }
    return try! trainer.train()
  }()

  static func model(contextLength: Int = 64, seed: UInt64 = 4) throws -> any InferenceEngine {
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64,
      vocabularySize: tokenizer.vocabularySize)
    return try CPUInferenceEngine(
      try InferenceShapes.parameters(configuration, seed: seed), type: .float32, contextLength: contextLength,
      team: WorkerTeam(count: 2))
  }

  static func sampling(temperature: Float = 1, topK: Int = 0, seed: UInt64 = 1) -> SamplingSettings {
    SamplerTests.settings(temperature: temperature, topK: topK, seed: seed)
  }

  struct Result: Equatable {
    var tokens: [Int32] = []
    var text = ""
    var pieces: [String] = []
    var reason: FinishReason?

    init(_ events: some Sequence<GenerationEvent>) {
      for event in events {
        text += event.text
        switch event {
        case .prompt, .stopString: break
        case .token(let token, let piece, _):
          tokens.append(token)
          pieces.append(piece)
        case .end(let reason, _): self.reason = reason
        }
      }
    }
  }

  static func request(
    prompt: [Int32] = [1, 40, 41], maximumTokens: Int? = 40, sampling: SamplingSettings = sampling(),
    stops: [String] = []
  ) -> GenerationRequest {
    var request = GenerationRequest(prompt: prompt)
    request.maximumTokens = maximumTokens
    request.sampling = sampling
    request.stops = stops
    return request
  }

  static func generate(
    _ model: any InferenceEngine, prompt: [Int32] = [1, 40, 41], maximumTokens: Int? = 40,
    sampling: SamplingSettings = sampling(), stops: [String] = []
  ) throws -> Result {
    let request = request(prompt: prompt, maximumTokens: maximumTokens, sampling: sampling, stops: stops)
    return Result(try Generator(model, tokenizer, request))
  }

  @Test("pieces are whole characters and together the decoded tokens", arguments: 1...20)
  func pieces(seed: UInt64) throws {
    let model = try Self.model()
    let result = try Self.generate(model, sampling: Self.sampling(seed: seed))
    #expect(result.text == Self.tokenizer.decode(result.tokens, skippingSpecialTokens: true))
    #expect(result.reason == (result.tokens.count == 40 ? .length : .stop))
    // A character that was never completed is shown at the end only.
    let broken = Self.tokenizer.decode(result.tokens).unicodeScalars.filter { $0 == "\u{FFFD}" }.count
    #expect(result.pieces.joined().unicodeScalars.filter { $0 == "\u{FFFD}" }.count <= broken)
  }

  @Test("the same seed gives the same text, another seed another")
  func seeds() throws {
    let model = try Self.model()
    let first = try Self.generate(model, sampling: Self.sampling(seed: 3))
    #expect(try Self.generate(model, sampling: Self.sampling(seed: 3)) == first)
    #expect(try Self.generate(model, sampling: Self.sampling(seed: 4)) != first)
  }

  @Test("a cache that holds the beginning changes nothing")
  func sharedPrefix() throws {
    let model = try Self.model()
    let engine = try BatchEngine(model, Self.tokenizer)
    let alone = try Self.generate(model, prompt: [1, 50, 51, 52])
    for prompt in [[1, 50, 51, 60, 61], [1, 50, 51, 52], [1, 50, 51, 52]] as [[Int32]] {
      let result = Result(Generator(engine, Self.request(prompt: prompt)))
      if prompt.count == 4 { #expect(result == alone) }
    }
  }

  @Test("the end of the context ends the text")
  func contextEnd() throws {
    let model = try Self.model(contextLength: 24)
    for seed in 0..<8 as Range<UInt64> {
      let result = try Self.generate(model, maximumTokens: nil, sampling: Self.sampling(seed: seed))
      if result.reason == .length { #expect(result.tokens.count == 21) }
      #expect(result.tokens.count <= 21)
    }
    let full = try Self.generate(
      model, prompt: [Int32](repeating: 40, count: 24), maximumTokens: nil,
      sampling: Self.sampling(temperature: 0))
    #expect(full.tokens.isEmpty && full.reason == .length)
  }

  @Test("the model's end token ends the text and is no part of it")
  func endToken() throws {
    let model = try Self.model()
    let all = try Self.generate(model, sampling: Self.sampling(seed: 2))
    let token = try #require(all.tokens.dropFirst().first { $0 != all.tokens[0] })
    var configuration = model.configuration
    configuration.endTokenIDs = [Int(token)]
    let ending = try CPUInferenceEngine(
      try InferenceShapes.parameters(configuration, seed: 4), type: .float32, contextLength: 64,
      team: WorkerTeam(count: 1))
    let result = try Self.generate(ending, sampling: Self.sampling(seed: 2))
    #expect(result.reason == .stop)
    #expect(result.tokens == Array(all.tokens.prefix { $0 != token }))
  }

  @Test("the tokenizer's end token ends the text of a model that names none")
  func unnamedEndToken() throws {
    var configuration = try Self.model().configuration
    configuration.endTokenIDs = []
    let model = try CPUInferenceEngine(
      try InferenceShapes.parameters(configuration, seed: 4), type: .float32, contextLength: 64,
      team: WorkerTeam(count: 1))
    var sampling = Self.sampling()
    sampling.logitBias = [Self.tokenizer.endToken: 1e6]
    let result = try Self.generate(model, sampling: sampling)
    #expect(result.tokens.isEmpty && result.reason == .stop)
  }

  @Test("a stop string ends the text before it, wherever the tokens' edges are", arguments: 1...12)
  func stopStrings(seed: UInt64) throws {
    let model = try Self.model()
    let whole = try Self.generate(model, sampling: Self.sampling(seed: seed))
    let characters = Array(whole.text)
    guard characters.count > 12 else { return }
    let stop = String(characters[6..<9])
    let result = try Self.generate(model, sampling: Self.sampling(seed: seed), stops: ["☃☃", stop])
    let range = try #require(whole.text.range(of: stop, options: .literal))
    #expect(result.text == String(whole.text[..<range.lowerBound]))
    #expect(result.reason == .stop)
  }

  @Test("text that could become a stop string is held back, and let go when it does not")
  func stopFinder() {
    var finder = StopFinder(["END", "好吗"])
    #expect(finder.push("abcE") == "abc")
    #expect(finder.push("N") == "")
    #expect(finder.push("E") == "EN")
    #expect(finder.push("ENDx") == "E")
    #expect(finder.isFound)
    #expect(finder.push("more") == "" && finder.finish() == "")

    var other = StopFinder(["END", "好吗", ""])
    #expect(other.push("你好") == "你")
    #expect(other.push("!EN") == "好!")
    #expect(other.finish() == "EN")
    #expect(!other.isFound)
  }

  @Test("the stop string that is complete first ends the text, wherever the pieces are cut", arguments: 0..<200)
  func stopsAndCuts(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    func text(_ count: ClosedRange<Int>) -> String {
      String((0..<Int.random(in: count, using: &random)).map { _ in ["a", "b", "好"].randomElement(using: &random)! })
    }
    let stops = (0..<3).map { _ in text(1...4) }
    let whole = text(0...12)
    let ends = whole.indices.map { whole[...$0] }
    let first = ends.first { end in stops.contains { end.hasSuffix($0) } }
    let longest = first.map { end in stops.filter { end.hasSuffix($0) }.map(\.count).max()! }
    let expected = first.map { String($0.dropLast(longest!)) } ?? whole
    for pieces in 1...4 {
      var finder = StopFinder(stops)
      var found = ""
      var rest = whole[...]
      while !rest.isEmpty {
        found += finder.push(String(rest.prefix(pieces)))
        rest = rest.dropFirst(pieces)
      }
      found += finder.finish()
      #expect(found == expected && finder.isFound == (first != nil), "\(whole), \(stops), \(pieces) at a time")
    }
  }

  @Test("no token at all when none is asked for")
  func nothing() throws {
    let model = try Self.model()
    #expect(try Self.generate(model, maximumTokens: 0).tokens.isEmpty)
  }
}
