import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing

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

private func readMiniMindV1(_ path: String, heads: Int = 2) throws -> Parameters {
  try Parameters(miniMindV1: TorchCheckpoint(path), MissingSettings(headCount: heads))
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
  try parameters.saveMiniMindV1(plain, type: .float32)
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

@Suite struct MiniMindV1Tests {
  @Test(
    "v1's own checkpoints hold the weights that v1 had", .enabled(if: SharedFixtures.has("fixtures/v1")),
    arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let golden = try GoldenFixture(name)
    let path = SharedFixtures.path("fixtures/v1/\(name.rawValue).after.pth")
    let parameters = try readMiniMindV1(path, heads: golden.configuration.headCount)
    #expect(parameters.configuration.parameterCount == golden.configuration.parameterCount)
    for (key, values) in golden.parametersAfter {
      #expect(parameters.copy(of: key).map(\.bitPattern) == values.map(\.bitPattern), "\(key)")
    }
    try withTemporaryDirectory { directory in
      try parameters.saveMiniMindV1(directory + "/again.pth", type: .float32)
      let (first, second) = (try TorchCheckpoint(path), try TorchCheckpoint(directory + "/again.pth"))
      #expect(Set(first.tensors.map(\.name)) == Set(second.tensors.map(\.name)))
      let again = try readMiniMindV1(directory + "/again.pth", heads: golden.configuration.headCount)
      #expect(again.allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
    }
  }

  @Test("writing and reading a v1 checkpoint loses no bit of its type", arguments: [0, 3])
  func roundTrip(experts: Int) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let parameters = try Parameters(configuration: tinyConfiguration(experts: experts), seed: 9)
      try parameters.saveMiniMindV1(path, type: .float32)
      #expect(try readMiniMindV1(path).configuration == parameters.configuration)
      #expect(try readMiniMindV1(path).allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
      try parameters.save(modelDirectory: directory + "/half", type: .float16)
      let half = try Parameters(modelDirectory: directory + "/half")
      try half.saveMiniMindV1(directory + "/half.pth", type: .float16)
      if experts == 0 { #expect(try readMiniMindV1(directory + "/half.pth").allValues == half.allValues) }
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
      #expect(try readMiniMindV1(directory + "/a.pth").allValues == parameters.allValues)
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
        let text = message { _ = try readMiniMindV1(path, heads: heads) }
        #expect(text.hasPrefix(path) && text.contains(fault), "\(fault): \(text)")
      }
    }
  }

  @Test("a model that v1 cannot have is not written")
  func unsupported() throws {
    try withTemporaryDirectory { directory in
      let changes: [(String, (inout ModelConfiguration) -> Void)] = [
        ("an output matrix of its own", { $0.tiesEmbeddings = false }),
        ("norms of queries and keys", { $0.normalizesQueriesAndKeys = true }),
        ("heads of 6 that do not add up to its width of 16", { $0.headSize = 6 }),
        ("the rotary base 500000.0", { $0.ropeTheta = 500_000 }), ("the epsilon 1e-06", { $0.rmsNormEpsilon = 1e-6 }),
        ("rotary scaling", { $0.rotaryScaling = .linear(factor: 2) }),
      ]
      for (fault, change) in changes {
        var configuration = tinyConfiguration()
        change(&configuration)
        let parameters = try Parameters(configuration: configuration, seed: 9)
        let text = message { try parameters.saveMiniMindV1(directory + "/a.pth", type: .float32) }
        #expect(text.contains("MiniMind v1 has no model with " + fault), "\(text)")
      }
      let large = try Parameters(configuration: tinyConfiguration(), seed: 9)
      withExtendedLifetime(large) { large[ParameterKey.finalNorm][0] = 1e6 }
      let text = message { try large.saveMiniMindV1(directory + "/a.pth", type: .float16) }
      #expect(text.contains("'norm.weight' has values beyond 65504"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test("thousands of damaged checkpoints become a model or an error, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      try Parameters(configuration: tinyConfiguration(experts: seed % 2 == 0 ? 0 : 3), seed: 9).saveMiniMindV1(
        path, type: .float32)
      let good = try MappedFile.contents(of: path)
      var generator = SeededGenerator(seed: seed)
      for _ in 0..<500 {
        let bytes = withDamagedPickle(good, using: &generator)
        do {
          try bytes.withUnsafeBytes {
            _ = try Parameters(miniMindV1: TorchCheckpoint($0, path: path), MissingSettings(headCount: 2))
          }
        } catch {
          #expect(error is ModelFileError || error is ConfigurationError, "seed \(seed): \(error)")
        }
      }
    }
  }
}
