import Model
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing

/// What the engine of programs promises beyond the mathematics, which `TrainingEngineTests` check over all engines.
@Suite("Engine of programs")
struct ProgramTrainingEngineTests {
  private func engine(
    _ parameters: Parameters, precision: ElementType = .float32, maximumTokens: Int = 128, recomputes: Bool = false,
    optimizer: OptimizerKind? = .adamW, lossRows: Int = 32, scaling: RotaryScaling? = nil
  ) throws -> any TrainingEngine {
    try ProgramEngineProvider(Interpreter(), ProgramSizes(lossRows: lossRows, expertRows: 8, attentionRows: 4))
      .makeEngine(
        .whole(parameters),
        EngineSettings(
          precision: precision, maximumTokens: maximumTokens, recomputesActivations: recomputes, optimizer: optimizer,
          rotaryScaling: scaling))
  }

  private func gradients(_ engine: any TrainingEngine, _ batch: Batch) -> [[Float]] {
    _ = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0)
    return engine.trained.entries.map { engine.read(.gradients, of: $0) }
  }

  private func relativeError(_ found: [[Float]], _ expected: [[Float]]) -> Double {
    let sums = zip(found.joined(), expected.joined()).reduce((0.0, 0.0)) { sums, pair in
      let difference = Double(pair.0) - Double(pair.1)
      return (sums.0 + difference * difference, sums.1 + Double(pair.1) * Double(pair.1))
    }
    return (sums.0 / sums.1).squareRoot()
  }

  @Test(
    "what is computed again, and in how many chunks losses come, changes no bit",
    arguments: [ModelVariant.normalizedHeads, .mixture])
  func recomputed(variant: ModelVariant) throws {
    let batch = Batch(lengths: [5, 40, 17, 9], vocabulary: 53, seed: 3)
    let kept = gradients(try engine(try variant.parameters()), batch)
    #expect(gradients(try engine(try variant.parameters(), recomputes: true), batch) == kept)
    let whole = gradients(try engine(try variant.parameters(), lossRows: 1000), batch)
    // Only the output matrix is summed in another order.
    #expect(relativeError(whole, kept) < 1e-6)
  }

  @Test(
    "a batch has the same gradients in a program of any size", arguments: [ModelVariant.tied, .mixture],
    [71, 100, 200, 1000])
  func sizes(variant: ModelVariant, maximumTokens: Int) throws {
    let batch = Batch(lengths: [5, 40, 17, 9], vocabulary: 53, seed: 3)
    let expected = gradients(try engine(try variant.parameters(), maximumTokens: 128), batch)
    let found = gradients(try engine(try variant.parameters(), maximumTokens: maximumTokens), batch)
    #expect(relativeError(found, expected) < 1e-6)
  }

  @Test("bfloat16 products err by a rounding, and not by none", arguments: ModelVariant.allCases)
  func bfloat16(variant: ModelVariant) throws {
    let batch = Batch(lengths: [5, 40, 17, 9], vocabulary: 53, seed: 3)
    let exact = gradients(try engine(try variant.parameters()), batch)
    let rounded = gradients(try engine(try variant.parameters(), precision: .bfloat16), batch)
    let error = relativeError(rounded, exact)
    // 2⁻⁹ for each operand, through some ten products; a token that takes another expert adds more.
    #expect(error > 1e-4 && error < (variant.configuration.isMixture ? 0.3 : 0.05), "\(error)")
  }

  @Test(
    "rotary scaling is the reference engine's, where angles depend on a document's length too",
    arguments: [
      RotaryScaling.linear(factor: 4), .dynamic(factor: 2), .yarn(YaRN(factor: 4, originalLength: 8)),
    ])
  func rotaryScaling(scaling: RotaryScaling) throws {
    var configuration = ModelVariant.tied.configuration
    configuration.maximumSequenceLength = 16
    let source = try ModelVariant.tied.parameters()
    let parameters = try Parameters(zeroed: configuration)
    for entry in source.table.entries { _ = parameters[entry.key].update(fromContentsOf: source.copy(of: entry.key)) }
    let batch = Batch(lengths: [5, 40, 17, 9], vocabulary: 53, seed: 3)
    let reference = try ReferenceTrainingEngine(.whole(parameters), optimizer: .adamW, rotaryScaling: scaling)
    let found = gradients(try engine(parameters, scaling: scaling), batch)
    #expect(relativeError(found, gradients(reference, batch)) < 1e-5)
    #expect(relativeError(found, gradients(try engine(parameters), batch)) > 1e-3)
  }

  @Test("an engine that only computes losses keeps no moments, and gives those of one that trains")
  func lossesAlone() throws {
    let parameters = try ModelVariant.tied.parameters()
    let losses = try engine(parameters, optimizer: nil)
    let batch = Batch(lengths: [9], vocabulary: 53, seed: 3)
    #expect(losses.forward(batch, lossWeights: nil) == (try engine(parameters)).forward(batch, lossWeights: nil))
    #expect(losses.momentBytes == 0 && !losses.keeps(.firstMoment, of: losses.trained.entries[0]))
  }

  @Test("several processes share out the moments, each weight to one of them, and take more of the host's memory")
  func processes() throws {
    let parameters = try ModelVariant.normalizedMixture.parameters()
    let provider = ProgramEngineProvider(
      Interpreter(replicas: 2), ProgramSizes(lossRows: 32, expertRows: 8, attentionRows: 4))
    var settings = EngineSettings(precision: .float32, maximumTokens: 64, optimizer: .muon)
    let alone = try provider.makeEngine(.whole(parameters), settings)
    let memory = try provider.memoryBytes(parameters.configuration, lora: nil, settings)
    settings.ranks = 3
    var (moments, parts): (Int, [Range<Int>]) = (0, [])
    for rank in 0..<3 {
      settings.rank = rank
      let engine = try #require(
        try provider.makeEngine(.whole(parameters), settings) as? ProgramTrainingEngine<Interpreter>)
      #expect(engine.momentBytes > alone.momentBytes / 5 && engine.momentBytes < alone.momentBytes / 2)
      moments += engine.momentBytes
      parts += engine.parts[rank]
      #expect(engine.trained.entries.allSatisfy { engine.keeps(.firstMoment, of: $0) })
    }
    #expect(moments == alone.momentBytes)
    #expect(
      parts.sorted { $0.lowerBound < $1.lowerBound }
        == alone.trained.entries.map(\.range).sorted {
          $0.lowerBound < $1.lowerBound
        })
    let exchanged = 8 * parameters.configuration.parameterCount
    #expect(try provider.memoryBytes(parameters.configuration, lora: nil, settings) < memory + exchanged)
  }

  @Test("memory is that of the largest program, and grows with the batch")
  func memory() throws {
    func bytes(_ tokens: Int, recomputes: Bool) throws -> Int {
      try ProgramEngineProvider(Interpreter()).memoryBytes(
        try ModelConfiguration.named("tiny"), lora: nil,
        EngineSettings(
          precision: .float32, maximumTokens: tokens, recomputesActivations: recomputes, optimizer: .adamW))
    }
    let (small, large, recomputed) = (
      try bytes(512, recomputes: false), try bytes(2048, recomputes: false), try bytes(2048, recomputes: true)
    )
    #expect(small < recomputed && recomputed < large)
  }
}
