import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing
import Vision

private func tinyConfiguration(experts: Int = 0) -> ModelConfiguration {
  var configuration = ModelConfiguration(
    hiddenSize: 16, layerCount: 2, headCount: 2, keyValueHeadCount: 1, vocabularySize: 40)
  if experts > 0 {
    configuration.expertCount = experts
    configuration.expertsPerToken = 2
    configuration.sharedExpertCount = 1
  }
  return configuration
}

private func readMiniMind(_ path: String, heads: Int = 2) throws -> Parameters {
  try Parameters(miniMind: TorchCheckpoint(path), MissingSettings(headCount: heads))
}

private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch { return "\(error)" }
}

/// Writes a v1 checkpoint of `parameters` with its tensors changed by `edit`, in fp32.
private func writeEdited(
  _ parameters: Parameters, to path: String, _ edit: (inout [(name: String, shape: [Int], values: [Float])]) -> Void
) throws {
  let plain = path + ".plain"
  try parameters.saveMiniMind(plain, type: .float32)
  let checkpoint = try TorchCheckpoint(plain)
  var tensors = try checkpoint.tensors.map { tensor in
    var values = [Float](repeating: 0, count: tensor.shape.reduce(1, *))
    try checkpoint.copy(tensor, to: &values)
    return (name: tensor.name, shape: tensor.shape, values: values)
  }
  try FileManager.default.removeItem(atPath: plain)
  edit(&tensors)
  let blocks = tensors.map { UnsafeMutableBufferPointer<Float>.allocate(capacity: max(1, $0.values.count)) }
  defer { for block in blocks { block.deallocate() } }
  for (block, tensor) in zip(blocks, tensors) { _ = block.update(fromContentsOf: tensor.values) }
  try TorchWriter.write(
    zip(blocks, tensors).map { block, tensor in
      let bytes = UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: block[..<tensor.values.count]))
      return TorchWriter.Tensor(names: [tensor.name], shape: tensor.shape, bytes: bytes)
    }, type: .float32, to: path)
}

@Suite struct MiniMindTests {
  @Test(
    "v1's own checkpoints hold the weights that v1 had", .enabled(if: SharedFixtures.has("fixtures/v1")),
    arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let golden = try GoldenFixture(name)
    let path = SharedFixtures.path("fixtures/v1/\(name.rawValue).after.pth")
    let parameters = try readMiniMind(path, heads: golden.configuration.headCount)
    #expect(parameters.configuration.parameterCount == golden.configuration.parameterCount)
    for (key, values) in golden.parametersAfter {
      #expect(parameters.copy(of: key).map(\.bitPattern) == values.map(\.bitPattern), "\(key)")
    }
    try withTemporaryDirectory { directory in
      try parameters.saveMiniMind(directory + "/again.pth", type: .float32)
      let (first, second) = (try TorchCheckpoint(path), try TorchCheckpoint(directory + "/again.pth"))
      #expect(Set(first.tensors.map(\.name)) == Set(second.tensors.map(\.name)))
      let again = try readMiniMind(directory + "/again.pth", heads: golden.configuration.headCount)
      #expect(again.allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
    }
  }

  @Test("writing and reading a v1 checkpoint loses no bit of its type", arguments: [0, 3])
  func roundTrip(experts: Int) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let parameters = try Parameters(configuration: tinyConfiguration(experts: experts), seed: 9)
      try parameters.saveMiniMind(path, type: .float32)
      #expect(try readMiniMind(path).configuration == parameters.configuration)
      #expect(try readMiniMind(path).allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
      try parameters.save(modelDirectory: directory + "/half", type: .float16)
      let half = try Parameters(modelDirectory: directory + "/half")
      try half.saveMiniMind(directory + "/half.pth", type: .float16)
      if experts == 0 { #expect(try readMiniMind(directory + "/half.pth").allValues == half.allValues) }
    }
  }

  /// Shapes as MiniMind2 and MiniMind 3 have them, small.
  private static func later(norms: Bool, experts: Int) -> ModelConfiguration {
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 8, keyValueHeadCount: norms ? 4 : 2, headSize: norms ? 6 : nil,
      vocabularySize: 40)
    configuration.normalizesQueriesAndKeys = norms
    configuration.ropeTheta = 1e6
    configuration.rmsNormEpsilon = norms ? 1e-6 : 1e-5
    configuration.maximumSequenceLength = 32768
    if experts > 0 {
      (configuration.expertCount, configuration.expertsPerToken) = (experts, norms ? 1 : 2)
      configuration.sharedExpertCount = norms ? 0 : 1
      configuration.balanceLossWeight = norms ? 5e-4 : 0.01
    }
    return configuration
  }

  @Test(
    "checkpoints of MiniMind2 and MiniMind 3 are known by their names, and go both ways without options",
    arguments: [false, true], [0, 3])
  func laterVersions(norms: Bool, experts: Int) throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: Self.later(norms: norms, experts: experts), seed: 9)
      let path = directory + "/a.pth"
      try parameters.saveMiniMind(path, type: .float32)
      let names = Set(try TorchCheckpoint(path).tensors.map(\.name))
      #expect(names.isSuperset(of: ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"]))
      #expect(names.contains("model.layers.1.self_attn.q_norm.weight") == norms)
      #expect(names.contains("model.layers.1.mlp.shared_experts.0.up_proj.weight") == (!norms && experts > 0))
      let read = try Parameters(miniMind: TorchCheckpoint(path), MissingSettings())
      #expect(read.configuration == parameters.configuration)
      #expect(read.allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
      var missing = MissingSettings(expertsPerToken: 1, ropeTheta: 5e5)
      #expect(try Parameters(miniMind: TorchCheckpoint(path), missing).configuration.ropeTheta == 5e5)
      missing.headCount = 4
      let text = message { _ = try Parameters(miniMind: TorchCheckpoint(path), missing) }
      #expect(text.contains("Leave out --heads") == norms, "\(text)")
    }
  }

  /// MiniMind-V's versions, small, with as many rows of a picture.
  private static var seeing: [ModelConfiguration] {
    func tower(_ kind: VisionTowerConfiguration.Kind, side: Int, patch: Int, drops: Bool = false)
      -> VisionTowerConfiguration
    {
      VisionTowerConfiguration(
        kind: kind, hiddenSize: 8, intermediateSize: 12, layerCount: 2, headCount: 2, imageSize: side, patchSize: patch,
        feature: .init(layer: 2, isNormalized: kind == .siglip, dropsClassToken: drops))
    }
    var first = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 16, keyValueHeadCount: 8, vocabularySize: 40)
    first.sight = SightConfiguration(
      tower: tower(.clip, side: 28, patch: 4), projector: ProjectorConfiguration(kind: .linear),
      placeholderIDs: [30, 32])
    var second = later(norms: false, experts: 0)
    second.sight = SightConfiguration(
      tower: tower(.clip, side: 28, patch: 2, drops: true), projector: ProjectorConfiguration(kind: .linear),
      placeholderIDs: [34])
    var third = later(norms: true, experts: 3)
    third.sight = SightConfiguration(
      tower: tower(.siglip, side: 16, patch: 2), projector: ProjectorConfiguration(kind: .normalizedMLP),
      placeholderIDs: [12])
    return [first, second, third]
  }

  @Test("a checkpoint of MiniMind-V has no tower, and is read with one from a directory", arguments: 0..<3)
  func sight(version: Int) throws {
    try withTemporaryDirectory { directory in
      let configuration = Self.seeing[version]
      let parameters = try Parameters(configuration: configuration, seed: 9)
      let (model, path) = (directory + "/model", directory + "/a.pth")
      try parameters.save(modelDirectory: model)
      try parameters.saveMiniMind(path, type: .float32)
      let names = try TorchCheckpoint(path).tensors.map(\.name)
      let projector = names.filter { $0.hasPrefix("vision_proj.") }
      #expect(projector.count == (version == 2 ? 6 : 2) && !names.contains { $0.contains("tower") })
      #expect(
        projector.contains(version == 2 ? "vision_proj.mlp.3.bias" : "vision_proj.vision_proj.0.weight"), "\(projector)"
      )
      let read = try MiniMindFormat().read(path, MissingSettings(towerDirectory: model))
      #expect(read.parameters.allValues == parameters.allValues)
      let sight = try #require(read.parameters.configuration.sight)
      #expect(sight.tower == configuration.sight?.tower && sight.projector == configuration.sight?.projector)
      #expect(sight.placeholder == configuration.sight?.placeholder)
      // v1 stretches pictures, whatever the tower's own processor does.
      let processor = try PictureProcessor(sight, path: path)
      let side = sight.tower.imageSize
      #expect(processor.size == (version == 1 ? .shortestEdge(side) : .exact(width: side, height: side)))
      #expect((processor.crop == nil) == (version != 1))
      let without = message { _ = try MiniMindFormat().read(path, MissingSettings()) }
      #expect(without.contains("give it by --tower"), "\(without)")
    }
  }

  @Test("a model that sees otherwise than its version is not written")
  func unsupportedSight() throws {
    let changes: [(String, (inout SightConfiguration) -> Void)] = [
      ("a CLIP tower, but one of SigLIP", { $0.tower.kind = .clip }),
      (
        "another state than the last one",
        { $0.tower.feature = .init(layer: 1, isNormalized: false, dropsClassToken: false) }
      ),
      ("a projector of another kind (mlp)", { $0.projector.kind = .mlp }),
      ("the activation gelu_pytorch_tanh", { $0.projector.activation = .tanh }),
      ("16 rows of a picture, but 64", { $0.tower.patchSize = 4 }),
      ("a picture's place at the tokens [13]", { $0.placeholderIDs = [13] }),
    ]
    try withTemporaryDirectory { directory in
      for (fault, change) in changes {
        var configuration = Self.seeing[2]
        change(&configuration.sight!)
        let parameters = try Parameters(configuration: configuration, seed: 9)
        let text = message { try parameters.saveMiniMind(directory + "/a.pth", type: .float32) }
        #expect(text.contains("vision model of MiniMind 3 has not " + fault), "\(text)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test(
    "MiniMind 3's fixed settings are not lost on the way into its file, nor heads that are not MiniMind2's read wrongly"
  )
  func laterRefusals() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      var odd = Self.later(norms: true, experts: 0)
      odd.rmsNormEpsilon = 1e-5
      let text = message { try Parameters(configuration: odd, seed: 1).saveMiniMind(path, type: .float32) }
      #expect(text.contains("MiniMind 3 has no model with the epsilon 1e-05"))
      var wide = Self.later(norms: false, experts: 0)
      wide.keyValueHeadCount = 4
      try Parameters(configuration: wide, seed: 1).saveMiniMind(path, type: .float32)
      let refusal = message { _ = try Parameters(miniMind: TorchCheckpoint(path), MissingSettings()) }
      #expect(refusal.contains("is not a quarter of the model's, 32, as MiniMind2 has it"), "\(refusal)")
      let read = try Parameters(miniMind: TorchCheckpoint(path), MissingSettings(headCount: 8))
      #expect(read.configuration == wide)
    }
  }

  @Test("prefixes are dropped, and the tables that v1 stores beside its weights")
  func strays() throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: tinyConfiguration(experts: 3), seed: 9)
      try writeEdited(parameters, to: directory + "/a.pth") { tensors in
        for index in tensors.indices { tensors[index].name = "module._orig_mod." + tensors[index].name }
        tensors.append(("module._orig_mod.layers.0.attention.mask", [1, 1, 2, 2], [0, -.infinity, 0, 0]))
        tensors.append(("pos_cis", [2, 4], [1, 0, 1, 0, 1, 0, 1, 0]))
        // Without its second name the embedding is still the output.
        tensors.removeAll { $0.name.hasSuffix("output.weight") }
      }
      #expect(try readMiniMind(directory + "/a.pth").allValues == parameters.allValues)
    }
  }

  @Test("a checkpoint that is no v1 model is refused with what does not fit")
  func refusals() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      typealias Tensors = [(name: String, shape: [Int], values: [Float])]
      let cases: [(String, (inout Tensors) -> Void)] = [
        ("there is no 'tok_embeddings.weight'", { $0.removeFirst() }),
        (
          "'layers.1.ffn_norm.weight' is missing from a model of 2 layers",
          { $0.removeAll { $0.name == "layers.1.ffn_norm.weight" } }
        ),
        ("'lora.weight' is no weight of a MiniMind v1 model", { $0.append(("lora.weight", [1], [1])) }),
        (
          "'layers.0.attention.wo.weight' is [8, 32], the other weights ask for [16, 16]",
          { tensors in
            tensors[tensors.firstIndex { $0.name == "layers.0.attention.wo.weight" }!].shape = [8, 32]
          }
        ),
        ("'output.weight' is not 'tok_embeddings.weight'", { $0[1].values[5] += 1 }),
        (
          "'norm.weight' holds values that are not finite",
          { tensors in
            tensors[tensors.firstIndex { $0.name == "norm.weight" }!].values[0] = .nan
          }
        ),
        (
          "two weights 'norm.weight' with different prefixes",
          { $0.append(("module.norm.weight", [16], [Float](repeating: 1, count: 16))) }
        ),
        ("a width of 16 cannot be cut into 3 heads", { _ in }),
        ("no multiple of the head size 16", { _ in }),
      ]
      for (fault, edit) in cases {
        try writeEdited(parameters, to: path, edit)
        let heads = fault.contains("3 heads") ? 3 : fault.contains("size 16") ? 1 : 2
        let text = message { _ = try readMiniMind(path, heads: heads) }
        #expect(text.hasPrefix(path) && text.contains(fault), "\(fault): \(text)")
      }
    }
  }

  @Test("a model that v1 cannot have is not written")
  func unsupported() throws {
    try withTemporaryDirectory { directory in
      let changes: [(String, (inout ModelConfiguration) -> Void)] = [
        ("an output matrix of its own", { $0.tiesEmbeddings = false }),
        ("biases", { $0.attentionBias = .inputs }), ("a sliding window", { $0.slidingWindow = 8 }),
        ("heads of 6 that do not add up to its width of 16", { $0.headSize = 6 }),
        ("the rotary base 500000.0", { $0.ropeTheta = 500_000 }), ("the epsilon 1e-06", { $0.rmsNormEpsilon = 1e-6 }),
        ("rotary scaling", { $0.rotaryScaling = .linear(factor: 2) }),
      ]
      for (fault, change) in changes {
        var configuration = tinyConfiguration()
        change(&configuration)
        let parameters = try Parameters(configuration: configuration, seed: 9)
        let text = message { try parameters.saveMiniMind(directory + "/a.pth", type: .float32) }
        #expect(text.contains("MiniMind v1 has no model with " + fault), "\(text)")
      }
      let large = try Parameters(configuration: tinyConfiguration(), seed: 9)
      withExtendedLifetime(large) { large[ParameterKey.finalNorm][0] = 1e6 }
      let text = message { try large.saveMiniMind(directory + "/a.pth", type: .float16) }
      #expect(text.contains("'norm.weight' has values beyond 65504"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test("thousands of damaged checkpoints become a model or an error, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let configuration =
        seed < 2 ? tinyConfiguration(experts: seed == 0 ? 0 : 3) : Self.later(norms: seed == 2, experts: 3)
      try Parameters(configuration: configuration, seed: 9).saveMiniMind(path, type: .float32)
      let good = try MappedFile.contents(of: path)
      var generator = SeededGenerator(seed: seed)
      for _ in 0..<500 {
        let bytes = withDamagedPickle(good, using: &generator)
        do {
          try bytes.withUnsafeBytes {
            _ = try Parameters(miniMind: TorchCheckpoint($0, path: path), MissingSettings(headCount: 2))
          }
        } catch {
          #expect(error is ModelFileError || error is ConfigurationError, "seed \(seed): \(error)")
        }
      }
    }
  }
}
