import CPUEngine
import Compute
import Model
import TestSupport
import Testing

import Inference

@Suite struct InferenceModelTests {
  /// Sums of some hundred products of numbers around 1, in fp32, over a few layers.
  static let tolerance: Float = 2e-5

  /// Shapes with odd sizes, shared and unshared heads, q/k normalisation and a separate output matrix.
  static let shapes: [ModelConfiguration] = {
    var plain = ModelConfiguration(
      hiddenSize: 48, layerCount: 3, headCount: 4, keyValueHeadCount: 2, intermediateSize: 80, vocabularySize: 130)
    plain.maximumSequenceLength = 96
    var qwen = ModelConfiguration(
      hiddenSize: 40, layerCount: 2, headCount: 3, keyValueHeadCount: 1, headSize: 20, intermediateSize: 56,
      vocabularySize: 97)
    qwen.normalizesQueriesAndKeys = true
    qwen.tiesEmbeddings = false
    qwen.maximumSequenceLength = 96
    var mixture = plain
    (mixture.expertCount, mixture.expertsPerToken, mixture.sharedExpertCount) = (4, 2, 2)
    var withoutShared = qwen
    withoutShared.normalizesQueriesAndKeys = false
    (withoutShared.expertCount, withoutShared.expertsPerToken) = (5, 3)
    return [plain, qwen, mixture, withoutShared]
  }()

  static func parameters(_ shape: ModelConfiguration, seed: UInt64 = 7) throws -> Parameters {
    let parameters = try Parameters(configuration: shape, seed: seed)
    // Weights larger than a new model's, so that every part matters.
    for entry in parameters.table.entries {
      for index in entry.range { parameters.values[index] *= entry.role.isDecayed ? 6 : 1 + 0.01 * Float(index % 17) }
    }
    return parameters
  }

  static func tokens(_ count: Int, _ shape: ModelConfiguration, seed: UInt64 = 3) -> [Int32] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Int32.random(in: 0..<Int32(shape.vocabularySize), using: &generator) }
  }

  /// [tokens, vocabulary] from the training pass, which forgets nothing and remembers nothing.
  static func fullLogits(_ parameters: Parameters, _ tokens: [Int32], _ team: WorkerTeam) throws -> [Float] {
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: tokens.count, team: team, trains: false)
    return pass.logits(Batch(prompts: [tokens]))
  }

  static func largestDifference(_ left: some Collection<Float>, _ right: some Collection<Float>) -> Float {
    zip(left, right).reduce(left.count == right.count ? 0 : .infinity) { max($0, abs($1.0 - $1.1)) }
  }

  @Test("decoding token by token equals the full forward pass", arguments: shapes, [1, 2, 3])
  func decodeEqualsForward(shape: ModelConfiguration, workers: Int) throws {
    let team = WorkerTeam(count: workers)
    let parameters = try Self.parameters(shape)
    let tokens = Self.tokens(70, shape)
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try InferenceModel(parameters, type: .float32, team: team)
    let cache = try model.makeCache()
    for (index, token) in tokens.enumerated() {
      let row = expected[index * shape.vocabularySize..<(index + 1) * shape.vocabularySize]
      #expect(Self.largestDifference(model.decode(token, cache), row) < Self.tolerance, "token \(index)")
    }
    #expect(cache.count == tokens.count)
  }

  @Test("prefill in pieces of any length equals the full forward pass", arguments: shapes, [1, 2])
  func prefillEqualsForward(shape: ModelConfiguration, workers: Int) throws {
    let team = WorkerTeam(count: workers)
    let parameters = try Self.parameters(shape)
    let tokens = Self.tokens(90, shape)
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try InferenceModel(parameters, type: .float32, team: team)
    for pieces in [[90], [1, 9, 33, 47], [40, 8, 10, 32], [17, 17, 17, 39], [81, 9]] {
      let cache = try model.makeCache()
      var end = 0
      for piece in pieces {
        let logits = model.prefill(tokens[end..<end + piece], cache)
        end += piece
        let row = expected[(end - 1) * shape.vocabularySize..<end * shape.vocabularySize]
        #expect(Self.largestDifference(logits, row) < Self.tolerance, "\(pieces) up to \(end)")
      }
    }
  }

  @Test("a prompt longer than a chunk, beyond the trained length, equals the full forward pass")
  func longPrompt() throws {
    let team = WorkerTeam(count: 2)
    let parameters = try Self.parameters(Self.shapes[0])
    let tokens = Self.tokens(1100, Self.shapes[0])
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try InferenceModel(parameters, type: .float32, contextLength: 1200, team: team)
    let cache = try model.makeCache()
    let logits = model.prefill(tokens, cache)
    #expect(Self.largestDifference(logits, expected.suffix(Self.shapes[0].vocabularySize)) < Self.tolerance)
  }

  static let scalings: [RotaryScaling] = [
    .linear(factor: 4), .dynamic(factor: 2), .yarn(YaRN(factor: 4, originalLength: 96)),
  ]

  @Test(
    "with every rotary scaling, a prompt beyond the trained length equals the full forward pass", arguments: scalings)
  func rotaryScaling(scaling: RotaryScaling) throws {
    let team = WorkerTeam(count: 2)
    var shape = Self.shapes[0]
    shape.rotaryScaling = scaling
    let parameters = try Self.parameters(shape)
    let tokens = Self.tokens(700, shape)
    func expected(_ count: Int) throws -> ArraySlice<Float> {
      try Self.fullLogits(parameters, Array(tokens[..<count]), team).suffix(shape.vocabularySize)
    }
    let model = try InferenceModel(parameters, type: .float32, contextLength: 700, team: team)
    let cache = try model.makeCache()
    // Longer, shorter, and within the trained length.
    for count in [50, 200, 203, 700, 150, 96, 60] {
      cache.truncate(to: 0)
      let logits = model.prefill(tokens[..<count], cache)
      #expect(Self.largestDifference(logits, try expected(count)) < Self.tolerance, "\(count) tokens")
    }
    #expect(try Self.fullLogits(try Self.parameters(Self.shapes[0]), tokens, team).suffix(130) != expected(700))
  }

  @Test("documents of different lengths in one batch turn as each by itself", arguments: scalings)
  func rotaryScalingInBatches(scaling: RotaryScaling) throws {
    let team = WorkerTeam(count: 2)
    var shape = Self.shapes[1]
    shape.rotaryScaling = scaling
    let parameters = try Self.parameters(shape)
    let documents = [150, 20, 96, 200].map { Self.tokens($0, shape, seed: UInt64($0)) }
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: 466, team: team, trains: false)
    let packed = pass.logits(Batch(prompts: documents))
    let alone = try documents.flatMap { try Self.fullLogits(parameters, $0, team) }
    #expect(Self.largestDifference(packed, alone) < Self.tolerance)
  }

  @Test("a cache cut short goes on as if the rest had never been", arguments: shapes)
  func truncation(shape: ModelConfiguration) throws {
    let team = WorkerTeam(count: 2)
    let model = try InferenceModel(try Self.parameters(shape), type: .float32, team: team)
    let tokens = Self.tokens(40, shape)
    let cache = try model.makeCache()
    _ = model.prefill(tokens[..<20], cache)
    let first = model.prefill(tokens[20...], cache)
    cache.truncate(to: 20)
    _ = model.prefill(Self.tokens(30, shape, seed: 99), cache)
    cache.truncate(to: 20)
    #expect(model.prefill(tokens[20...], cache) == first)
    cache.truncate(to: 0)
    #expect(cache.room == shape.maximumSequenceLength)
  }

  @Test("sequences that take turns do not disturb each other")
  func severalCaches() throws {
    let team = WorkerTeam(count: 2)
    let shape = Self.shapes[1]
    let model = try InferenceModel(try Self.parameters(shape), type: .bfloat16, team: team)
    let prompts = (0..<3).map { Self.tokens(20, shape, seed: UInt64($0)) }
    let alone = try prompts.map { prompt in
      let cache = try model.makeCache()
      return prompt.map { model.decode($0, cache) }
    }
    let caches = try prompts.map { _ in try model.makeCache() }
    for index in 0..<20 {
      for sequence in 0..<3 {
        #expect(model.decode(prompts[sequence][index], caches[sequence]) == alone[sequence][index])
      }
    }
  }

  @Test(
    "every type of weights stays near fp32, and saved models read back as they are", arguments: shapes,
    WeightType.allCases)
  func typesAndFiles(shape: ModelConfiguration, type: WeightType) throws {
    let team = WorkerTeam(count: 2)
    let parameters = try Self.parameters(shape)
    let tokens = Self.tokens(50, shape)
    func logits(_ model: InferenceModel) throws -> [Float] { model.prefill(tokens, try model.makeCache()) }
    let exact = try logits(InferenceModel(parameters, type: .float32, team: team))
    let rounded = try logits(InferenceModel(parameters, type: type, team: team))
    let scale = exact.map(abs).max()!
    // 8 bits of precision in every weight and activation, with q8 of the largest in 32; with q4 4 bits in every weight.
    let bounds: [WeightType: Float] = [.float32: 0, .bfloat16: 0.05, .q8: 0.1, .q4: 0.5]
    #expect(Self.largestDifference(exact, rounded) <= bounds[type]! * scale)
    #expect(type == .float32 || exact != rounded)
    try withTemporaryDirectory { directory in
      try parameters.save(modelDirectory: directory + "/model")
      #expect(try logits(InferenceModel(modelDirectory: directory + "/model", type: type, team: team)) == rounded)
    }
  }

  @Test("v1's greedy continuation, token for token, and its logits", arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let team = WorkerTeam(count: 2)
    // v1 continued the prompt with the weights that it had after five steps.
    let trained = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = trained[key].update(fromContentsOf: values) }
    var model = try InferenceModel(trained, type: .float32, team: team)
    let prompt = try fixture.integers("greedy_prompt")
    var cache = try model.makeCache()
    var tokens: [Int32] = []
    var logits = model.prefill(prompt, cache)
    let expected = try fixture.integers("greedy_tokens")
    while tokens.count < expected.count {
      tokens.append(Int32(logits.indices.max { logits[$0] < logits[$1] }!))
      logits = model.decode(tokens.last!, cache)
    }
    #expect(tokens == expected)

    model = try InferenceModel(try fixture.makeParameters(), type: .float32, team: team)
    cache = try model.makeCache()
    let inputs = try fixture.integers("input_ids")
    let golden = try fixture.floats("logits")
    let length = 40
    let vocabulary = fixture.configuration.vocabularySize
    for sequence in 0..<inputs.count / length {
      cache.truncate(to: 0)
      for index in sequence * length..<(sequence + 1) * length {
        let row = golden[index * vocabulary..<(index + 1) * vocabulary]
        #expect(Self.largestDifference(model.decode(inputs[index], cache), row) < 1e-4)
      }
    }
  }
}
