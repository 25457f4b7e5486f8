import CPUEngine
import Compute
import Generation
import Model
import Reference
import TestSupport
import Testing

/// What every engine must do alike, over all of them, each within its own tolerance.
@Suite("Inference engines")
struct InferenceEngineTests {
  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case reference, cpuFloat32, cpuBFloat16, cpuQ8

    var testDescription: String { rawValue }

    func engine(_ parameters: Parameters, contextLength: Int? = nil) throws -> any InferenceEngine {
      func cpu(_ type: WeightType) throws -> any InferenceEngine {
        try CPUInferenceEngine(
          parameters, type: type, contextLength: contextLength, team: WorkerTeam(count: 2))
      }
      return switch self {
      case .reference: ReferenceInferenceEngine(parameters, contextLength: contextLength)
      case .cpuFloat32: try cpu(.float32)
      case .cpuBFloat16: try cpu(.bfloat16)
      case .cpuQ8: try cpu(.q8)
      }
    }

    /// The largest error of a logit over the largest logit. In fp32 that of sums of some hundred products over a few
    /// layers; else that of 8 bits in every weight and activation.
    var tolerance: Float {
      switch self {
      case .reference: 1e-6
      case .cpuFloat32: 2e-5
      case .cpuBFloat16: 0.05
      case .cpuQ8: 0.1
      }
    }
  }

  /// [tokens, vocabulary] by the model on one page, documents of one.
  static func expected(_ parameters: Parameters, _ tokens: [Int32]) -> [Float] {
    ReferenceModel(parameters).forward(tokens: tokens.map(Int.init), documentOffsets: [0, tokens.count]).logits
      .map(Float.init)
  }

  /// Every engine with every shape, but rounded weights with dense shapes only: where two experts are nearly as likely,
  /// rounding sends a token to the other one, which no tolerance of the arithmetic covers.
  static let cases: [(Kind, ModelConfiguration)] = Kind.allCases.flatMap { kind in
    InferenceShapes.all.filter { !$0.isMixture || kind == .reference || kind == .cpuFloat32 }.map { (kind, $0) }
  }

  @Test("a prompt in pieces and tokens one by one give the logits of the whole text", arguments: cases)
  func logits(kind: Kind, shape: ModelConfiguration) throws {
    let parameters = try InferenceShapes.parameters(shape)
    let tokens = InferenceShapes.tokens(40, shape)
    let expected = Self.expected(parameters, tokens)
    let bound = kind.tolerance * expected.map(abs).max()!
    func row(_ index: Int) -> ArraySlice<Float> {
      expected[index * shape.vocabularySize..<(index + 1) * shape.vocabularySize]
    }
    let engine = try kind.engine(parameters)
    let cache = try engine.makeCache()
    for (piece, end) in [(0..<1, 1), (1..<20, 20), (20..<33, 33)] {
      #expect(largestDifference(engine.prefill(tokens[piece], cache), row(end - 1)) <= bound)
    }
    for index in 33..<40 { #expect(largestDifference(engine.decode(tokens[index], cache), row(index)) <= bound) }
    cache.truncate(to: 10)
    #expect(largestDifference(engine.prefill(tokens[10...], cache), row(39)) <= bound)
  }

  @Test("every rotary scaling turns as it does in the model on one page", arguments: [Kind.reference, .cpuFloat32])
  func rotaryScaling(kind: Kind) throws {
    for scaling: RotaryScaling in [
      .linear(factor: 4), .dynamic(factor: 2), .yarn(YaRN(factor: 4, originalLength: 16)),
    ] {
      var shape = InferenceShapes.all[0]
      shape.maximumSequenceLength = 16
      shape.rotaryScaling = scaling
      let parameters = try InferenceShapes.parameters(shape)
      let tokens = InferenceShapes.tokens(45, shape)
      let engine = try kind.engine(parameters, contextLength: 45)
      for count in [12, 45] {
        let logits = engine.prefill(tokens[..<count], try engine.makeCache())
        let expected = Self.expected(parameters, Array(tokens[..<count])).suffix(shape.vocabularySize)
        #expect(largestDifference(logits, expected) <= kind.tolerance * expected.map(abs).max()!)
      }
    }
  }

  @Test(
    "v1's greedy continuation, token for token", arguments: [Kind.reference, .cpuFloat32], GoldenFixture.Name.allCases)
  func golden(kind: Kind, name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = parameters[key].update(fromContentsOf: values) }
    let engine = try kind.engine(parameters)
    let cache = try engine.makeCache()
    var logits = engine.prefill(try fixture.integers("greedy_prompt"), cache)
    var tokens: [Int32] = []
    let expected = try fixture.integers("greedy_tokens")
    while tokens.count < expected.count {
      tokens.append(Int32(logits.indices.max { logits[$0] < logits[$1] }!))
      logits = engine.decode(tokens.last!, cache)
    }
    #expect(tokens == expected)
  }

  @Test("the service writes the same text on every engine that computes exactly")
  func generation() throws {
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64,
      vocabularySize: GeneratorTests.tokenizer.vocabularySize)
    let parameters = try InferenceShapes.parameters(configuration, seed: 4)
    var request = GeneratorTests.request(
      prompt: (0..<50).map { Int32(3 + $0 * 11 % 250) }, maximumTokens: 20, sampling: GeneratorTests.sampling(seed: 5))
    request.ignoresEndTokens = true
    let width = configuration.hiddenSize
    request.embedded = [
      EmbeddedSpan(rows: 30..<42, values: (0..<12 * width).map { Float($0 % 7) / 7 - 0.5 })
    ]
    let texts = try [Kind.reference, .cpuFloat32].map { kind in
      let engine = try BatchEngine(
        try kind.engine(parameters, contextLength: 100), GeneratorTests.tokenizer, maximumSequences: 3)
      var results: [GeneratorTests.Result] = []
      // Three at once, and one after them, which shares their pages.
      var events = [[GenerationEvent]](repeating: [], count: 3)
      for id in 0..<3 { engine.generate(request, id: id) { events[id].append($0) } }
      while engine.hasWork { engine.step() }
      for events in events { results.append(GeneratorTests.Result(events)) }
      let shared = Array(Generator(engine, request))
      #expect(shared.first != .prompt([], cachedTokens: 0))
      results.append(GeneratorTests.Result(shared))
      #expect(results.allSatisfy { $0 == results[0] })
      return results[0]
    }
    #expect(texts[0] == texts[1] && texts[0].tokens.count == 20)
  }
}
