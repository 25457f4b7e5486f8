import Compute
import CPUEngine
import Generation
import Model
import TestSupport
import Testing
import Tokenization

@Suite struct BatchEngineTests {
  /// Dense, with q/k normalisation, mixtures, and dynamic scaling; all know the test tokenizer's tokens.
  static let shapes: [ModelConfiguration] = {
    var shapes = InferenceShapes.all.map { shape in
      var shape = shape
      shape.vocabularySize = GeneratorTests.tokenizer.vocabularySize
      return shape
    }
    shapes.append(shapes[0])
    shapes[4].rotaryScaling = .dynamic(factor: 2)
    shapes[4].maximumSequenceLength = 48
    return shapes
  }()

  static func model(_ shape: ModelConfiguration, type: WeightType, contextLength: Int = 200) throws
    -> any InferenceEngine
  {
    try CPUInferenceEngine(
      InferenceShapes.parameters(shape), type: type, contextLength: contextLength, team: WorkerTeam(count: 2))
  }

  static func request(_ generator: inout SeededGenerator, prompt: ClosedRange<Int> = 1...120) -> GenerationRequest {
    let length = Int.random(in: prompt, using: &generator)
    // Prompts that often begin alike.
    let shared = (0..<80).map { Int32(3 + $0 * 7 % 250) }
    let kept = Int.random(in: 0...min(length, 80), using: &generator)
    var request = GenerationRequest(
      prompt: Array(shared.prefix(kept))
        + (kept..<length).map { _ in Int32.random(in: 3..<250, using: &generator) })
    request.maximumTokens = Int.random(in: 1...60, using: &generator)
    request.sampling = GeneratorTests.sampling(
      temperature: Bool.random(using: &generator) ? 0 : 0.8, seed: UInt64.random(in: 0...9, using: &generator))
    request.topLogProbabilities = 2
    request.ignoresEndTokens = Bool.random(using: &generator)
    return request
  }

  /// What a request brings alone, on an engine that knows nothing yet, without guesses.
  static func alone(_ model: any InferenceEngine, _ request: GenerationRequest) throws -> [GenerationEvent] {
    let engine = try BatchEngine(model, GeneratorTests.tokenizer)
    engine.guessesTokens = false
    return Array(Generator(engine, request))
  }

  @Test(
    "sequences that join, leave and are cancelled at random are to the bit what they would be alone",
    arguments: shapes, [WeightType.float32, .q8])
  func joinsAndLeaves(shape: ModelConfiguration, type: WeightType) throws {
    let model = try Self.model(shape, type: type)
    var generator = SeededGenerator(seed: UInt64(shape.hiddenSize))
    // Room for a few at a time only, so that some wait for pages.
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: 6, cacheTokens: 512)
    let requests = (0..<30).map { _ in Self.request(&generator) }
    var events = [[GenerationEvent]](repeating: [], count: requests.count)
    var cancelled: Set<Int> = []
    var next = 0
    while next < requests.count || engine.hasWork {
      if next < requests.count, !engine.hasWork || Int.random(in: 0..<4, using: &generator) == 0 {
        let id = next
        engine.generate(requests[id], id: id) { events[id].append($0) }
        next += 1
      }
      if Int.random(in: 0..<40, using: &generator) == 0 {
        let id = Int.random(in: 0..<next, using: &generator)
        if case .end = events[id].last {} else { cancelled.insert(id) }
        engine.cancel(id)
      }
      engine.step()
    }
    for (id, request) in requests.enumerated() {
      let expected = try Self.alone(model, request)
      // How much was kept of the prompt differs, and what was cancelled is only a beginning.
      let found = events[id].drop { if case .prompt = $0 { true } else { false } }
      if cancelled.contains(id) {
        #expect(found.last.map { if case .end(.cancelled, _) = $0 { true } else { false } } == true)
        #expect(found.dropLast() == expected.dropFirst().prefix(max(0, found.count - 1)))
      } else {
        #expect(Array(found) == Array(expected.dropFirst()), "request \(id)")
      }
    }
    let statistics = engine.statistics
    #expect(statistics.running == 0 && statistics.waiting == 0 && statistics.usedPages == 0)
    // Dynamic scaling has few prompts within the trained length, and shares nothing beyond.
    #expect(statistics.totals.cachedTokens > 0 || shape.rotaryScaling != .none)
    #expect(statistics.freePages + statistics.keptPages == 16)
  }

  @Test("the beginning of a prompt that an earlier sequence had is not computed again", arguments: shapes)
  func prefixes(shape: ModelConfiguration) throws {
    let model = try Self.model(shape, type: .bfloat16)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer)
    var request = GeneratorTests.request(
      prompt: (0..<100).map { Int32(3 + $0 * 11 % 250) }, maximumTokens: 40, sampling: GeneratorTests.sampling())
    request.ignoresEndTokens = true
    let first = Array(Generator(engine, request))
    #expect(first.first == .prompt([], cachedTokens: 0))
    let isDynamic = shape.rotaryScaling != .none
    let second = Array(Generator(engine, request))
    #expect(second.first == .prompt([], cachedTokens: isDynamic ? 0 : 96))
    #expect(second.dropFirst() == first.dropFirst())

    // A second turn: the answer's tokens are known as well.
    for case .token(let token, _, _) in first { request.prompt.append(token) }
    request.prompt += [40, 41]
    let turn = Array(Generator(engine, request))
    #expect(turn.first == .prompt([], cachedTokens: isDynamic ? 0 : 128))
    #expect(turn.dropFirst() == (try Self.alone(model, request)).dropFirst())
  }

  @Test("prompts with equal placeholders share pages only as far as their embedded rows are equal")
  func embeddedPrefixes() throws {
    let model = try Self.model(Self.shapes[0], type: .float32)
    let width = model.configuration.hiddenSize
    func span(seed: UInt64, start: Int = 40) -> EmbeddedSpan {
      var generator = SeededGenerator(seed: seed)
      return EmbeddedSpan(
        rows: start..<start + 40, values: (0..<40 * width).map { _ in Float.random(in: -1...1, using: &generator) })
    }
    func request(_ spans: [EmbeddedSpan], placeholder: Int32 = 3) -> GenerationRequest {
      var request = GeneratorTests.request(
        prompt: (0..<120).map { 40..<80 ~= $0 ? placeholder : Int32(3 + $0 * 11 % 250) }, maximumTokens: 8,
        sampling: GeneratorTests.sampling(temperature: 0))
      request.embedded = spans
      request.ignoresEndTokens = true
      request.topLogProbabilities = 5
      return request
    }
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, cacheTokens: 1000)
    /// Tokens of shared pages, and tokens and log-probabilities.
    func run(_ request: GenerationRequest) throws -> (cached: Int, written: [GenerationEvent]) {
      let events = Array(Generator(engine, request))
      guard case .prompt(_, let cached)? = events.first else {
        throw InferenceError.messageTooLong(tokens: 0, contextLength: 0)
      }
      // Whatever was shared, it is what a new engine computes.
      #expect(events.dropFirst() == (try Self.alone(model, request)).dropFirst())
      return (cached, Array(events.dropFirst()))
    }
    let first = try run(request([span(seed: 1)]))
    #expect(first.cached == 0)
    // The page before the span is the same.
    let other = try run(request([span(seed: 2)]))
    #expect(other.cached == 32 && other.written != first.written)
    let again = try run(request([span(seed: 1)]))
    #expect(again.cached == 96 && again.written == first.written)
    let placeholders = try run(request([span(seed: 1)], placeholder: 9))
    #expect(placeholders.cached == 96 && placeholders.written == first.written)
    let text = try run(request([]))
    #expect(text.cached == 32 && text.written != first.written)
    // The same rows, one position later.
    let later = try run(request([span(seed: 1, start: 41)]))
    #expect(later.cached == 32 && later.written != first.written)
  }

  @Test("guesses change nothing in the text", arguments: 0..<12)
  func guesses(seed: UInt64) throws {
    let model = try Self.model(Self.shapes[Int(seed) % 4], type: .q8)
    var generator = SeededGenerator(seed: seed)
    var request = Self.request(&generator, prompt: 40...120)
    request.maximumTokens = 70
    request.ignoresEndTokens = true
    request.sampling.temperature = seed % 3 == 0 ? 0.3 : 0
    let engine = try BatchEngine(model, GeneratorTests.tokenizer)
    var events: [GenerationEvent] = []
    engine.generate(request, id: 0) { events.append($0) }
    var steps = 0
    while engine.hasWork {
      engine.step()
      steps += 1
    }
    #expect(events == (try Self.alone(model, request)))
    #expect(steps <= 70)
    #expect(engine.statistics.usedPages == 0)
  }

  @Test("a text that repeats itself takes fewer steps than it has tokens")
  func repetition() throws {
    let model = try Self.model(Self.shapes[0], type: .float32)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer)
    // Only one token can be chosen, so that the text repeats itself.
    var request = GeneratorTests.request(maximumTokens: 100, sampling: GeneratorTests.sampling(temperature: 0))
    request.sampling.logitBias = [50: 1e6]
    engine.generate(request, id: 0) { _ in }
    var (steps, written) = (0, 0)
    while engine.hasWork {
      engine.step()
      steps += 1
      #expect(engine.statistics.totals.generatedTokens > written, "tokens count as they are written")
      written = engine.statistics.totals.generatedTokens
    }
    #expect(written == 100)
    #expect(steps < 60)
  }

  @Test("every sequence has room for the whole context, as far as memory allows")
  func room() throws {
    // Two pages each, the second not full.
    let model = try Self.model(Self.shapes[0], type: .float32, contextLength: 50)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: 4)
    var request = GeneratorTests.request(maximumTokens: nil)
    request.ignoresEndTokens = true
    for id in 0..<4 { engine.generate(request, id: id) { _ in } }
    engine.step()
    #expect(engine.statistics.running == 4)
    let page = model.pageByteCount
    #expect(model.cacheTokens(sequences: 4) == 256 && model.cacheTokens(sequences: 4, byteLimit: 6 * page - 1) == 160)
    #expect(model.cacheTokens(sequences: 4, byteLimit: 0) == 64)
  }

  @Test("kept pages make way for answers before these touch more than half of the pool")
  func growth() throws {
    // Two pages each; of the pool's 16 four may be kept.
    let model = try Self.model(Self.shapes[0], type: .float32, contextLength: 64)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: 8)
    var request = GeneratorTests.request(maximumTokens: nil)
    request.ignoresEndTokens = true
    /// The most pages that were kept while `count` answers had all of theirs.
    func kept(beside count: Int, from first: Int32) -> Int {
      for id in 0..<count {
        request.prompt = [Int32](repeating: first + Int32(id), count: 2)
        engine.generate(request, id: id) { _ in }
      }
      var most = 0
      while engine.hasWork {
        engine.step()
        if engine.statistics.usedPages >= 2 * count { most = max(most, engine.statistics.keptPages) }
      }
      return most
    }
    for id in 0..<4 { _ = kept(beside: 1, from: Int32(10 + id)) }
    #expect(engine.statistics.keptPages == 4)
    #expect(kept(beside: 2, from: 20) == 4)
    #expect(kept(beside: 5, from: 30) == 0)
  }

  @Test("a sequence waits until the pages that it can come to need are free")
  func admission() throws {
    let model = try Self.model(Self.shapes[0], type: .float32)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: 4, cacheTokens: 256)
    var request = GeneratorTests.request(maximumTokens: 150)
    request.ignoresEndTokens = true
    var ends = 0
    for id in 0..<3 {
      request.prompt = [Int32(10 + id)]
      engine.generate(request, id: id) { if case .end = $0 { ends += 1 } }
    }
    engine.step()
    // 5 of 8 pages each.
    #expect(engine.statistics.running == 1 && engine.statistics.waiting == 2)
    while engine.hasWork { engine.step() }
    #expect(ends == 3)
  }
}
