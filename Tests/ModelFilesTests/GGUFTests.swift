import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing
import Tokenization

/// A tokenizer of 512 tokens with v1's special ones and its chat template.
private let tokenizerDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .appendingPathComponent("../Interop/fixtures/tokenizer").standardizedFileURL.path

/// Numbers, texts and lists as they lie in a GGUF file.
private struct GGUFBytes {
  var bytes: [UInt8] = []

  mutating func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
  mutating func append(_ text: String) {
    append(UInt64(text.utf8.count))
    bytes += text.utf8
  }

  /// A file without metadata whose one tensor is described so.
  static func tensor(
    shape: [UInt64], type: UInt32, offset: UInt64, dataByteCount: Int, name: String = "w", count: UInt64 = 1
  ) -> [UInt8] {
    var file = GGUFBytes(bytes: Array("GGUF".utf8))
    file.append(UInt32(3))
    file.append(count)
    file.append(UInt64(0))
    for _ in 0..<count {
      file.append(name)
      file.append(UInt32(shape.count))
      for size in shape { file.append(size) }
      file.append(type)
      file.append(offset)
    }
    while file.bytes.count % 32 != 0 { file.bytes.append(0) }
    return file.bytes + [UInt8](repeating: 0, count: dataByteCount)
  }

  /// A file without tensors that has these bytes as its one value.
  static func metadata(key: String, type: UInt32, _ value: (inout GGUFBytes) -> Void, count: UInt64 = 1) -> [UInt8] {
    var file = GGUFBytes(bytes: Array("GGUF".utf8))
    file.append(UInt32(3))
    file.append(UInt64(0))
    file.append(count)
    file.append(key)
    file.append(type)
    value(&file)
    return file.bytes
  }
}

@Suite("GGUF files")
struct GGUFTests {
  private func write(_ configuration: ModelConfiguration, to path: String, seed: UInt64 = 3) throws -> Parameters {
    var configuration = configuration
    configuration.vocabularySize = 512
    let parameters = try Parameters(configuration: configuration, seed: seed)
    try GGUFFormat().write(
      StoredParameters(parameters, types: []), to: path,
      WriteSettings(encoding: .float32, tokenizerDirectory: tokenizerDirectory))
    return parameters
  }

  @Test("a model that is written is read as it was, weights and settings", arguments: ModelVariant.allCases)
  func roundTrip(variant: ModelVariant) throws {
    let shape = variant.configuration
    if shape.normalizesQueriesAndKeys && shape.attentionBias != .none { return }
    try withTemporaryDirectory { directory in
      let path = directory + "/model.gguf"
      let written = try write(shape, to: path)
      let read = try GGUFFormat().read(path, MissingSettings())
      var expected = written.configuration
      // The format has no place for it.
      if expected.isMixture { expected.balanceLossWeight = 0.001 }
      if !expected.isMixture { expected.balanceLossWeight = ModelConfiguration.tinyBalanceLossWeight }
      #expect(read.parameters.configuration == expected)
      #expect(read.parameters.allValues == written.allValues)
      let tokenizer = try Tokenizer(TokenizerFiles(path))
      #expect(tokenizer.contentHash == (try Tokenizer(directory: tokenizerDirectory)).contentHash)
      #expect(try ChatTemplate(TokenizerFiles(path)).jinja == nil)
    }
  }

  @Test("a model that sees is two files, which are read as it was", arguments: [GELU.exact, .tanh])
  func sightRoundTrip(activation: GELU) throws {
    try withTemporaryDirectory { directory in
      var shape = ModelConfiguration(hiddenSize: 64, layerCount: 1, headCount: 2, keyValueHeadCount: 1)
      shape.sight = SightConfiguration(
        tower: VisionTowerConfiguration(
          kind: .siglip, hiddenSize: 32, intermediateSize: 64, layerCount: 3, headCount: 2, imageSize: 16, patchSize: 4,
          feature: .init(layer: 2, isNormalized: false, dropsClassToken: false)),
        projector: ProjectorConfiguration(kind: .mlp, activation: activation), placeholderIDs: [7, 9])
      let written = try write(shape, to: directory + "/model.gguf")
      let read = try GGUFFormat().read(directory + "/model.gguf", MissingSettings())
      let sight = try #require(read.parameters.configuration.sight)
      #expect(sight.placeholder == [Int32](repeating: 7, count: 8) + [Int32](repeating: 9, count: 8))
      #expect(sight.tower == shape.sight?.tower && sight.projector == shape.sight?.projector)
      #expect(read.parameters.allValues == written.allValues)
      let projector = try GGUFFile(directory + "/mmproj-model.gguf")
      #expect(projector.tensor("v.post_ln.weight") == nil && projector.tensor("mm.2.bias") != nil)
      #expect(projector.tensor("v.blk.2.ffn_up.weight")?.shape == [64, 32])
      let modelfile = try String(contentsOfFile: directory + "/model.Modelfile", encoding: .utf8)
      #expect(modelfile.hasPrefix("FROM ./model.gguf\nFROM ./mmproj-model.gguf\n"))
      // Another model's file is left as it is.
      try FileManager.default.removeItem(atPath: directory + "/model.gguf")
      #expect(throws: FileError.self) { try write(shape, to: directory + "/model.gguf", seed: 4) }
      #expect(try GGUFFile(directory + "/mmproj-model.gguf").tensors.map(\.name) == projector.tensors.map(\.name))
      #expect(!FileManager.default.fileExists(atPath: directory + "/model.gguf"))
    }
  }

  @Test(
    "rotary scaling is read as it was written",
    arguments: [
      .linear(factor: 4), .yarn(YaRN(factor: 4, originalLength: 64)),
      .llama3(Llama3Scaling(factor: 8, originalLength: 64)), .llama3(Llama3Scaling(factor: 32, originalLength: 8192)),
      .llama3(Llama3Scaling(factor: 8, originalLength: 4096, slowTurns: 1, fastTurns: 16)),
    ] as [RotaryScaling])
  func rotaryScaling(scaling: RotaryScaling) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/model.gguf"
      var shape = ModelConfiguration(
        hiddenSize: 64, layerCount: 1, headCount: 1, keyValueHeadCount: 1, headSize: 64, intermediateSize: 64)
      shape.ropeTheta = 500_000
      shape.rotaryScaling = scaling
      _ = try write(shape, to: path)
      #expect(try ModelConfiguration(modelDirectory: path).rotaryScaling == scaling)
    }
  }

  @Test(
    "what a file says wrongly is refused in one sentence that names it",
    arguments: [
      (Array("GGUX".utf8), "does not begin with GGUF"), ([], "the file is empty"),
      (Array("GGUF".utf8) + [1, 0, 0, 0], "version 1 of GGUF"), (Array("GGUF".utf8) + [0, 0, 0, 3], "big-endian"),
      (Array("GGUF".utf8) + [9, 0, 0, 0], "version 9 of GGUF"),
      (GGUFBytes.tensor(shape: [4], type: 0, offset: 0, dataByteCount: 12), "should lie at byte 0 of the data with 16"),
      (
        GGUFBytes.tensor(shape: [4], type: 0, offset: 1 << 63, dataByteCount: 16),
        "should lie at byte 9223372036854775808"
      ),
      (GGUFBytes.tensor(shape: [4], type: 0, offset: 8, dataByteCount: 64), "no multiple of 32"),
      (GGUFBytes.tensor(shape: [1 << 60], type: 0, offset: 0, dataByteCount: 16), "should lie at byte"),
      (GGUFBytes.tensor(shape: [1 << 33, 1 << 33], type: 0, offset: 0, dataByteCount: 16), "absurd shape"),
      (GGUFBytes.tensor(shape: [UInt64.max], type: 0, offset: 0, dataByteCount: 16), "absurd shape"),
      (GGUFBytes.tensor(shape: [1, 1, 1, 1, 1], type: 0, offset: 0, dataByteCount: 16), "has 5 axes"),
      (GGUFBytes.tensor(shape: [32], type: 11, offset: 0, dataByteCount: 64), "is Q3_K and only F32"),
      (
        GGUFBytes.tensor(shape: [32], type: 99, offset: 0, dataByteCount: 64), "is of an unknown type, 99, and only F32"
      ),
      (GGUFBytes.tensor(shape: [48, 2], type: 2, offset: 0, dataByteCount: 64), "no whole blocks of Q4_0"),
      (GGUFBytes.tensor(shape: [4], type: 0, offset: 0, dataByteCount: 16, count: 2), "there are two tensors 'w'"),
      (GGUFBytes.metadata(key: "a", type: 13) { $0.append(UInt64(0)) }, "'a' is of an unknown type, 13"),
      (
        GGUFBytes.metadata(key: "a", type: 8) { $0.append(UInt64(1) << 60) },
        "promises 1152921504606846976 bytes of text"
      ),
      (
        GGUFBytes.metadata(key: "a", type: 9) {
          $0.append(UInt32(8))
          $0.append(UInt64.max)
        }, "promises 18446744073709551615 values of 'a'"
      ),
      (
        GGUFBytes.metadata(key: "a", type: 9) {
          $0.append(UInt32(9))
          $0.append(UInt64(0))
        }, "a list of values of the type 9"
      ),
      (
        GGUFBytes.metadata(key: "general.alignment", type: 4) { $0.append(UInt32(24)) },
        "general.alignment is not a power"
      ),
      (GGUFBytes.metadata(key: "a", type: 4, { $0.append(UInt32(1)) }, count: 1 << 60), "metadata, and"),
      (
        GGUFBytes.metadata(key: "general.architecture", type: 8) { $0.append("gemma9") },
        "the architecture 'gemma9' is not supported; llama"
      ),
      (GGUFBytes.metadata(key: "general.type", type: 8) { $0.append("adapter") }, "holds 'adapter' and no model"),
      (GGUFBytes.metadata(key: "split.count", type: 2) { $0.append(UInt16(4)) }, "one of 4 parts"),
      (GGUFBytes.metadata(key: "a", type: 0) { $0.append(UInt8(4)) }, "no 'general.architecture'"),
      (
        GGUFBytes.metadata(key: "tokenizer.ggml.model", type: 8, { $0.append("gpt2") }), "no 'general.architecture'"
      ),
    ] as [([UInt8], String)])
  func refusals(bytes: [UInt8], fault: String) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/bad.gguf"
      try AtomicFile.write(bytes, to: path)
      let error = #expect(throws: ModelFileError.self) { try GGUFFormat().read(path, MissingSettings()) }
      let text = error?.description ?? ""
      #expect(text.hasPrefix(path) && text.contains(fault) && !text.contains("\n"), "\(text)")
    }
  }

  @Test("ten thousand damaged files are read or refused, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.gguf"
      var shape = ModelConfiguration(hiddenSize: 8, layerCount: 1, headCount: 2, keyValueHeadCount: 1, headSize: 4)
      shape.intermediateSize = 8
      _ = try write(shape, to: path)
      let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      var generator = SeededGenerator(seed: seed)
      let extremes: [UInt64] = [0, 1, 255, 1 << 31, 1 << 32, 1 << 60, 1 << 63, .max, 0x7FFF_FFFF_FFFF_FFFF]
      // All of it that is no tensor, and places of the sizes of the model, which come first.
      let header = good.count - 512 * 8 * 4
      for round in 0..<2500 {
        var bytes = good
        if round % 2 == 0 {
          let place = Int.random(in: 0..<(round % 4 == 0 ? 1400 : header), using: &generator)
          let value = extremes.randomElement(using: &generator)!
          let width = [1, 4, 8].randomElement(using: &generator)!
          for i in 0..<width { bytes[place + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(i))) }
        } else {
          bytes = damaged(good, using: &generator)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        do { _ = try GGUFFormat().read(path, MissingSettings()) } catch is ModelFileError {} catch is ConfigurationError
        {}
        // Its texts take longest.
        guard round % 8 < 2 else { continue }
        do { _ = try Tokenizer(TokenizerFiles(path)) } catch is ModelFileError {} catch is TokenizerError {}
      }
    }
  }
}

extension ModelConfiguration {
  /// Of a dense model, in which it means nothing.
  fileprivate static var tinyBalanceLossWeight: Double {
    ModelConfiguration(hiddenSize: 2, layerCount: 1, headCount: 1, keyValueHeadCount: 1).balanceLossWeight
  }
}
