import Foundation
import ModelFiles
import Storage
import TestSupport
import Testing

/// A base of two weights, and adapters for it, as files.
private struct AdapterFiles {
  let folder: String
  var base: String { folder + "/base" }
  var adapter: String { folder + "/adapter" }

  static let name = "model.layers.0.mlp.down_proj"
  /// [2, 3]
  static let weight: [Float] = [1, 2, 3, 4, 5, 6]

  static func inFolder<Result>(_ body: (AdapterFiles) throws -> Result) throws -> Result {
    try withTemporaryDirectory { folder in
      let files = AdapterFiles(folder: folder)
      for directory in [files.base, files.adapter] {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      }
      try files.writeBase()
      try AtomicFile.write("{}", to: files.base + "/config.json")
      try files.writeAdapter()
      return try body(files)
    }
  }

  func writeBase(_ weight: [Float] = weight, metadata: [String: String] = [:]) throws {
    try write(base + "/model.safetensors", [(Self.name + ".weight", [2, 3], weight)], metadata)
  }

  /// An adapter of rank 1: A = [1, 0, 2], B = [10, 20].
  func writeAdapter(_ change: [String: JSON] = [:], hash: String? = nil) throws {
    let prefix = "base_model.model." + Self.name
    try write(
      adapter + "/adapter_model.safetensors",
      [(prefix + ".lora_A.weight", [1, 3], [1, 0, 2]), (prefix + ".lora_B.weight", [2, 1], [10, 20])],
      hash.map { [PEFTAdapter.baseHashKey: $0] } ?? [:])
    try writeConfiguration(change)
  }

  func writeConfiguration(_ change: [String: JSON]) throws {
    let plain = PEFTConfiguration(base: base, rank: 1, alpha: 2, dropout: 0, targets: ["down_proj"]).json
    guard case .object(var members) = plain else { return }
    for (key, value) in change {
      members.removeAll { $0.key == key }
      members.append(JSON.Member(key, value))
    }
    try AtomicFile.write(JSON.object(members).text(), to: adapter + "/adapter_config.json")
  }

  func write(_ path: String, _ tensors: [(String, [Int], [Float])], _ metadata: [String: String] = [:]) throws {
    let writer = try SafetensorsWriter(
      path, tensors: tensors.map { .init(name: $0.0, type: .float32, shape: $0.1) }, metadata: metadata)
    for tensor in tensors { try tensor.2.withUnsafeBufferPointer { try writer.append($0) } }
    try writer.commit()
  }

  /// The weight with the adapter merged into it.
  func merged() throws -> [Float] {
    let weights = try ModelWeights(directory: adapter)
    return try [Float](unsafeUninitializedCapacity: 6) { buffer, count in
      try weights.copy(Self.name + ".weight", to: buffer.baseAddress!)
      count = 6
    }
  }

  func fault() -> String {
    do {
      _ = try ModelWeights(directory: adapter)
      return "no error"
    } catch { return "\(error)" }
  }
}

@Suite("PEFT adapters")
struct PEFTTests {
  @Test("a weight is read with the adapter merged into it: W + alpha/rank · B·A")
  func merging() throws {
    try AdapterFiles.inFolder { files in
      #expect(try files.merged() == [21, 2, 43, 44, 5, 86])
      #expect(try modelContainer(files.adapter).path == files.base)
      #expect(try resolveModelDirectory(files.adapter) == files.adapter)
      // Its stored bytes would be those without the adapter.
      #expect(try ModelWeights(directory: files.adapter).bytes(of: AdapterFiles.name + ".weight") == nil)
      // A base named from the adapter's own place.
      try files.writeConfiguration(["base_model_name_or_path": .string("../base")])
      #expect(try files.merged() == [21, 2, 43, 44, 5, 86])
    }
  }

  @Test("patterns of alpha and rank, and rank-stabilised scaling, are followed")
  func scaling() throws {
    try AdapterFiles.inFolder { files in
      try files.writeConfiguration(["alpha_pattern": .object([.init("mlp.down_proj", .integer(1))])])
      #expect(try files.merged() == [11, 2, 23, 24, 5, 46])
      try files.writeConfiguration(["alpha_pattern": .object([.init("own_proj", .integer(1))])])
      #expect(try files.merged() == [21, 2, 43, 44, 5, 86])
      try files.writeConfiguration(["r": .integer(4)])
      #expect(files.fault().contains("is [1, 3], adapter_config.json says rank 4. Check r."))
      try files.writeConfiguration(["r": .integer(4), "rank_pattern": .object([.init("down_proj", .integer(1))])])
      #expect(try files.merged() == [21, 2, 43, 44, 5, 86])
      let configuration = PEFTConfiguration(base: "", rank: 4, alpha: 6, dropout: 0, targets: [])
      #expect(configuration.scale(of: "q_proj", rank: 4) == 1.5)
      var stabilized = configuration
      stabilized.usesRankStabilization = true
      #expect(stabilized.scale(of: "q_proj", rank: 4) == 3)
    }
  }

  @Test("what is written is read back")
  func roundTrip() throws {
    try AdapterFiles.inFolder { files in
      let written = PEFTConfiguration(
        base: "some/base", rank: 8, alpha: 16, dropout: 0.125, targets: ["q_proj", "v_proj"])
      try AtomicFile.write(written.json.text(), to: files.adapter + "/adapter_config.json")
      #expect(try PEFTConfiguration(directory: files.adapter) == written)
    }
  }

  @Test(
    "a setting that changes the arithmetic is refused by its name",
    arguments: [
      ("use_dora", JSON.bool(true), "use_dora is true"), ("bias", .string("all"), "bias is \"all\""),
      ("fan_in_fan_out", .bool(true), "fan_in_fan_out is true"),
      ("modules_to_save", .array([.string("lm_head")]), "modules_to_save is [\"lm_head\"]"),
      ("peft_type", .string("IA3"), "the adapter is of the type \"IA3\""),
      ("init_lora_weights", .string("pissa"), "init_lora_weights is 'pissa', which changes the base's weights"),
      ("alpha_pattern", .object([.init("layers\\.[0-9]+", .integer(1))]), "alpha_pattern has the pattern"),
      ("target_parameters", .array([.string("experts")]), "target_parameters is [\"experts\"]"),
      ("something_new", .integer(3), "something_new is 3"), ("r", .integer(0), "r is 0, a whole number above 0"),
      ("lora_alpha", .string("x"), "lora_alpha is \"x\", a number is expected"),
    ])
  func refused(key: String, value: JSON, expected: String) throws {
    try AdapterFiles.inFolder { files in
      try files.writeConfiguration([key: value])
      #expect(files.fault().contains(expected), "\(files.fault())")
    }
  }

  @Test("a wrong base is refused: by shape, by name, by the hash of its weights, or because it is not there")
  func wrongBase() throws {
    try AdapterFiles.inFolder { files in
      let hash = try ModelWeights(directory: files.base).contentHash()
      try files.writeAdapter(hash: hash)
      #expect(files.fault() == "no error")
      try files.writeBase([1, 2, 3, 4, 5, 7])
      #expect(files.fault().contains("was trained on other weights than those in \(files.base) (their hash differs)"))
      try files.writeAdapter()
      #expect(files.fault() == "no error")
      try files.write(
        files.base + "/model.safetensors", [(AdapterFiles.name + ".weight", [3, 2], AdapterFiles.weight)])
      #expect(files.fault().contains("of the shape [2, 3], which is [3, 2] in \(files.base)"))
      try files.write(files.base + "/model.safetensors", [("model.other.weight", [2, 3], AdapterFiles.weight)])
      #expect(files.fault().contains("it adapts '\(AdapterFiles.name).weight', which is no linear layer"))
      try files.writeConfiguration(["base_model_name_or_path": .string("/nowhere")])
      #expect(files.fault().contains("it is an adapter of /nowhere, where there is no model (config.json)"))
      try files.writeConfiguration(["base_model_name_or_path": .null])
      #expect(files.fault().contains("names no base (base_model_name_or_path)"))
    }
  }

  @Test("the hash of a model's weights does not depend on how they are stored")
  func contentHash() throws {
    try AdapterFiles.inFolder { files in
      let hash = try ModelWeights(directory: files.base).contentHash()
      // Small whole numbers lose nothing in 16 bits.
      let writer = try SafetensorsWriter(
        files.base + "/part.safetensors",
        tensors: [.init(name: AdapterFiles.name + ".weight", type: .bfloat16, shape: [2, 3])])
      try AdapterFiles.weight.withUnsafeBufferPointer { try writer.append($0) }
      try writer.commit()
      try FileManager.default.removeItem(atPath: files.base + "/model.safetensors")
      try AtomicFile.write(
        "{\"weight_map\": {\"\(AdapterFiles.name).weight\": \"part.safetensors\"}}",
        to: files.base + "/model.safetensors.index.json")
      #expect(try ModelWeights(directory: files.base).contentHash() == hash)
    }
  }

  @Test("a model remembers what is merged into it, and does not take it a second time")
  func secondMerge() throws {
    try AdapterFiles.inFolder { files in
      let weights = try ModelWeights(directory: files.adapter)
      #expect(weights.mergedAdapters.isEmpty)
      try files.writeBase(try files.merged(), metadata: weights.mergedMetadata())
      #expect(files.fault().contains("\(files.adapter) is merged into \(files.base) already"))
      try files.write(
        files.adapter + "/adapter_model.safetensors",
        [
          ("base_model.model.\(AdapterFiles.name).lora_A.weight", [1, 3], [0, 0, 1]),
          ("base_model.model.\(AdapterFiles.name).lora_B.weight", [2, 1], [1, 1]),
        ])
      let both = try ModelWeights(directory: files.adapter).mergedMetadata().values.first
      #expect(both?.split(separator: ",").count == 2)
    }
  }

  @Test("damaged weights are refused with the tensor's name")
  func damagedWeights() throws {
    try AdapterFiles.inFolder { files in
      let path = files.adapter + "/adapter_model.safetensors"
      let prefix = "base_model.model." + AdapterFiles.name
      try files.write(path, [(prefix + ".lora_A.weight", [1, 3], [1, 0, 2])])
      #expect(files.fault().contains("'\(prefix).lora_A.weight' is without its lora_B"))
      try files.write(
        path, [(prefix + ".lora_A.weight", [1, 3], [1, 0, 2]), (prefix + ".lora_B.weight", [1, 2], [1, 0])])
      #expect(files.fault().contains("has a lora_A of [1, 3] and a lora_B of [1, 2]"))
      try files.write(path, [("base_model.model.lm_head.weight", [1], [1])])
      #expect(files.fault().contains("'base_model.model.lm_head.weight' is no lora_A or lora_B"))
      try FileManager.default.removeItem(atPath: path)
      #expect(files.fault().contains("it has an adapter_config.json and no adapter_model.safetensors"))
    }
  }

  @Test("10,000 damaged settings and weights end in an error or in an adapter, never in a trap")
  func fuzz() throws {
    try AdapterFiles.inFolder { files in
      var generator = SeededGenerator(seed: 21)
      for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let path = files.adapter + "/" + name
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        for _ in 0..<5000 {
          try Data(damaged(whole, using: &generator)).write(to: URL(fileURLWithPath: path))
          _ = try? files.merged()
        }
        try Data(whole).write(to: URL(fileURLWithPath: path))
      }
    }
  }
}
