import CPUEngine
import Compute
import Model
import ModelFiles
import TestSupport
import Testing

@Suite struct CPUInferenceEngineTests {
  /// Sums of some hundred products of numbers around 1, in fp32, over a few layers.
  static let tolerance: Float = 2e-5

  /// [tokens, vocabulary] from the training pass, which forgets nothing and remembers nothing.
  static func fullLogits(_ parameters: Parameters, _ tokens: [Int32], _ team: WorkerTeam) throws -> [Float] {
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: tokens.count, team: team, trains: false)
    return pass.logits(Batch(prompts: [tokens]))
  }

  static func load(_ directory: String, _ type: WeightType, _ team: WorkerTeam) throws -> CPUInferenceEngine {
    let stored = try StoredModel(modelDirectory: directory)
    return try CPUInferenceEngine(
      InferenceWeights(
        stored.configuration, stored.table, type: type, team: team, hasRows: stored.hasRows, read: stored.readRows),
      team: team)
  }

  @Test("decoding token by token equals the full forward pass", arguments: InferenceShapes.all, [1, 2, 3])
  func decodeEqualsForward(shape: ModelConfiguration, workers: Int) throws {
    let team = WorkerTeam(count: workers)
    let parameters = try InferenceShapes.parameters(shape)
    let tokens = InferenceShapes.tokens(70, shape)
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try CPUInferenceEngine(parameters, type: .float32, team: team)
    let cache = try model.makeCache()
    for (index, token) in tokens.enumerated() {
      let row = expected[index * shape.vocabularySize..<(index + 1) * shape.vocabularySize]
      #expect(largestDifference(model.decode(token, cache), row) < Self.tolerance, "token \(index)")
    }
    #expect(cache.count == tokens.count)
  }

  @Test("prefill in pieces of any length equals the full forward pass", arguments: InferenceShapes.all, [1, 2])
  func prefillEqualsForward(shape: ModelConfiguration, workers: Int) throws {
    let team = WorkerTeam(count: workers)
    let parameters = try InferenceShapes.parameters(shape)
    let tokens = InferenceShapes.tokens(90, shape)
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try CPUInferenceEngine(parameters, type: .float32, team: team)
    for pieces in [[90], [1, 9, 33, 47], [40, 8, 10, 32], [17, 17, 17, 39], [81, 9]] {
      let cache = try model.makeCache()
      var end = 0
      for piece in pieces {
        let logits = model.prefill(tokens[end..<end + piece], cache)
        end += piece
        let row = expected[(end - 1) * shape.vocabularySize..<end * shape.vocabularySize]
        #expect(largestDifference(logits, row) < Self.tolerance, "\(pieces) up to \(end)")
      }
    }
  }

  @Test("a prompt longer than a chunk, beyond the trained length, equals the full forward pass")
  func longPrompt() throws {
    let team = WorkerTeam(count: 2)
    let parameters = try InferenceShapes.parameters(InferenceShapes.all[0])
    let tokens = InferenceShapes.tokens(1100, InferenceShapes.all[0])
    let expected = try Self.fullLogits(parameters, tokens, team)
    let model = try CPUInferenceEngine(parameters, type: .float32, contextLength: 1200, team: team)
    let cache = try model.makeCache()
    let logits = model.prefill(tokens, cache)
    #expect(largestDifference(logits, expected.suffix(InferenceShapes.all[0].vocabularySize)) < Self.tolerance)
  }

  static let scalings: [RotaryScaling] = [
    .linear(factor: 4), .dynamic(factor: 2), .yarn(YaRN(factor: 4, originalLength: 96)),
    .llama3(Llama3Scaling(factor: 4, originalLength: 96)),
  ]

  @Test(
    "with every rotary scaling, a prompt beyond the trained length equals the full forward pass", arguments: scalings)
  func rotaryScaling(scaling: RotaryScaling) throws {
    let team = WorkerTeam(count: 2)
    var shape = InferenceShapes.all[0]
    shape.rotaryScaling = scaling
    let parameters = try InferenceShapes.parameters(shape)
    let tokens = InferenceShapes.tokens(700, shape)
    func expected(_ count: Int) throws -> ArraySlice<Float> {
      try Self.fullLogits(parameters, Array(tokens[..<count]), team).suffix(shape.vocabularySize)
    }
    let model = try CPUInferenceEngine(parameters, type: .float32, contextLength: 700, team: team)
    let cache = try model.makeCache()
    // Longer, shorter, and within the trained length.
    for count in [50, 200, 203, 700, 150, 96, 60] {
      cache.truncate(to: 0)
      let logits = model.prefill(tokens[..<count], cache)
      #expect(largestDifference(logits, try expected(count)) < Self.tolerance, "\(count) tokens")
    }
    #expect(
      try Self.fullLogits(try InferenceShapes.parameters(InferenceShapes.all[0]), tokens, team).suffix(130)
        != expected(700))
  }

  @Test("documents of different lengths in one batch turn as each by itself", arguments: scalings)
  func rotaryScalingInBatches(scaling: RotaryScaling) throws {
    let team = WorkerTeam(count: 2)
    var shape = InferenceShapes.all[1]
    shape.rotaryScaling = scaling
    let parameters = try InferenceShapes.parameters(shape)
    let documents = [150, 20, 96, 200].map { InferenceShapes.tokens($0, shape, seed: UInt64($0)) }
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: 466, team: team, trains: false)
    let packed = pass.logits(Batch(prompts: documents))
    let alone = try documents.flatMap { try Self.fullLogits(parameters, $0, team) }
    #expect(largestDifference(packed, alone) < Self.tolerance)
  }

  @Test("a context beyond the model's sliding window is refused, and up to it there is no difference")
  func slidingWindow() throws {
    let team = WorkerTeam(count: 1)
    let plain = try InferenceShapes.parameters(InferenceShapes.all[0])
    var shape = plain.configuration
    shape.slidingWindow = 40
    let parameters = try InferenceShapes.parameters(shape)
    let model = try CPUInferenceEngine(parameters, type: .float32, team: team)
    #expect(model.contextLength == 40)
    let tokens = InferenceShapes.tokens(40, shape)
    let expected = try CPUInferenceEngine(plain, type: .float32, team: team)
    #expect(model.prefill(tokens, try model.makeCache()) == expected.prefill(tokens, try expected.makeCache()))
    #expect(throws: ConfigurationError.beyondWindow(tokens: 41, window: 40)) {
      try CPUInferenceEngine(parameters, type: .float32, contextLength: 41, team: team)
    }
  }

  @Test("a cache cut short goes on as if the rest had never been", arguments: InferenceShapes.all)
  func truncation(shape: ModelConfiguration) throws {
    let team = WorkerTeam(count: 2)
    let model = try CPUInferenceEngine(try InferenceShapes.parameters(shape), type: .float32, team: team)
    let tokens = InferenceShapes.tokens(40, shape)
    let cache = try model.makeCache()
    _ = model.prefill(tokens[..<20], cache)
    let first = model.prefill(tokens[20...], cache)
    cache.truncate(to: 20)
    _ = model.prefill(InferenceShapes.tokens(30, shape, seed: 99), cache)
    cache.truncate(to: 20)
    #expect(model.prefill(tokens[20...], cache) == first)
    cache.truncate(to: 0)
    #expect(cache.room == shape.maximumSequenceLength)
  }

  @Test("rows of a span take the place of the embeddings of its tokens, however the sequence is cut")
  func embeddedRows() throws {
    let team = WorkerTeam(count: 2)
    let shape = InferenceShapes.all[0]
    let parameters = try InferenceShapes.parameters(shape)
    let model = try CPUInferenceEngine(parameters, type: .float32, team: team)
    let tokens = InferenceShapes.tokens(60, shape)
    let expected = model.prefill(tokens, try model.makeCache())
    // Other tokens whose rows are replaced by those of the tokens above.
    let embedding = parameters[ParameterKey.embedding]
    let spans = [4..<11, 11..<12, 30..<52].map { positions in
      EmbeddedSpan(
        rows: positions,
        values: positions.flatMap { position in
          let first = Int(tokens[position]) * shape.hiddenSize
          return Array(embedding[first..<first + shape.hiddenSize])
        })
    }
    let placeholders = tokens.indices.map { position in
      spans.contains { $0.rows.contains(position) } ? 0 : tokens[position]
    }
    #expect(model.prefill(placeholders, try model.makeCache()) != expected)
    for pieces in [[60], [8, 30, 22], [31, 1, 28]] {
      let cache = KeyValueCache(try KeyValuePool(model, tokens: 96), capacity: 96, embedded: spans)
      var logits: [Float] = []
      for piece in pieces { logits = model.prefill(placeholders[cache.count..<cache.count + piece], cache) }
      #expect(logits == expected, "\(pieces)")
    }
  }

  @Test("sequences that take turns do not disturb each other")
  func severalCaches() throws {
    let team = WorkerTeam(count: 2)
    let shape = InferenceShapes.all[1]
    let model = try CPUInferenceEngine(try InferenceShapes.parameters(shape), type: .bfloat16, team: team)
    let prompts = (0..<3).map { InferenceShapes.tokens(20, shape, seed: UInt64($0)) }
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
    "every type of weights stays near fp32, and saved models read back as they are", arguments: InferenceShapes.all,
    WeightType.allCases)
  func typesAndFiles(shape: ModelConfiguration, type: WeightType) throws {
    let team = WorkerTeam(count: 2)
    let parameters = try InferenceShapes.parameters(shape)
    let tokens = InferenceShapes.tokens(50, shape)
    func logits(_ model: CPUInferenceEngine) throws -> [Float] { model.prefill(tokens, try model.makeCache()) }
    let exact = try logits(CPUInferenceEngine(parameters, type: .float32, team: team))
    let rounded = try logits(CPUInferenceEngine(parameters, type: type, team: team))
    let scale = exact.map(abs).max()!
    // 8 bits of precision in every weight and activation, with q8 of the largest in 32; with q4 4 bits in every weight.
    let bounds: [WeightType: Float] = [.float32: 0, .bfloat16: 0.05, .q8: 0.1, .q4: 0.5]
    #expect(largestDifference(exact, rounded) <= bounds[type]! * scale)
    #expect(type == .float32 || exact != rounded)
    try withTemporaryDirectory { directory in
      try parameters.save(modelDirectory: directory + "/model")
      #expect(try logits(Self.load(directory + "/model", type, team)) == rounded)
    }
  }

  @Test("v1's greedy continuation, token for token, and its logits", arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let team = WorkerTeam(count: 2)
    // v1 continued the prompt with the weights that it had after five steps.
    let trained = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = trained[key].update(fromContentsOf: values) }
    var model = try CPUInferenceEngine(trained, type: .float32, team: team)
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

    model = try CPUInferenceEngine(try fixture.makeParameters(), type: .float32, team: team)
    cache = try model.makeCache()
    let inputs = try fixture.integers("input_ids")
    let golden = try fixture.floats("logits")
    let length = 40
    let vocabulary = fixture.configuration.vocabularySize
    for sequence in 0..<inputs.count / length {
      cache.truncate(to: 0)
      for index in sequence * length..<(sequence + 1) * length {
        let row = golden[index * vocabulary..<(index + 1) * vocabulary]
        #expect(largestDifference(model.decode(inputs[index], cache), row) < 1e-4)
      }
    }
  }
}
