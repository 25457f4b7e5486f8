import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing

private func tinyConfiguration() -> ModelConfiguration {
  ModelConfiguration(hiddenSize: 16, layerCount: 2, headCount: 2, keyValueHeadCount: 1, vocabularySize: 40)
}

private func mixtureConfiguration() -> ModelConfiguration {
  var configuration = tinyConfiguration()
  (configuration.expertCount, configuration.expertsPerToken, configuration.sharedExpertCount) = (4, 2, 1)
  return configuration
}

private func edit(_ directory: String, _ change: (String) -> String) throws {
  let path = directory + "/config.json"
  try change(try String(contentsOfFile: path, encoding: .utf8)).write(toFile: path, atomically: true, encoding: .utf8)
}

/// The text of the error that `body` throws; empty when it throws none.
private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch { return "\(error)" }
}

@Suite struct ModelDirectoryTests {
  @Test("saving and loading a model of every architecture loses no bit")
  func architectures() throws {
    var (biased, windowed, normalized, qwen) = (
      tinyConfiguration(), tinyConfiguration(), tinyConfiguration(), mixtureConfiguration()
    )
    (biased.attentionBias, windowed.slidingWindow) = (.inputs, 24)
    (normalized.normalizesQueriesAndKeys, normalized.attentionBias) = (true, .inputsAndOutput)
    (qwen.normalizesQueriesAndKeys, qwen.sharedExpertCount, qwen.normalizesExpertWeights) = (true, 0, false)
    var llama = tinyConfiguration()
    llama.attentionBias = .inputsAndOutput
    for (configuration, name) in [
      (biased, "Qwen2ForCausalLM"), (windowed, "MistralForCausalLM"), (normalized, "Qwen3ForCausalLM"),
      (qwen, "Qwen3MoeForCausalLM"), (llama, "LlamaForCausalLM"),
    ] {
      try withTemporaryDirectory { directory in
        let parameters = try Parameters(configuration: configuration, seed: 9)
        for entry in parameters.table.entries where entry.role.isBias {
          for index in entry.range { parameters.values[index] = Float(index) }
        }
        try parameters.save(modelDirectory: directory + "/model")
        let read = try Parameters(modelDirectory: directory + "/model")
        #expect(read.configuration == configuration)
        #expect(read.allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
        #expect(try JSON(contentsOf: directory + "/model/config.json")["architectures"] == .array([.string(name)]))
      }
    }
  }

  @Test("a mixture whose experts' matrices are in one tensor is the same model, and an odd one is refused")
  func packedExperts() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      var configuration = mixtureConfiguration()
      (configuration.normalizesQueriesAndKeys, configuration.sharedExpertCount) = (true, 0)
      let parameters = try Parameters(configuration: configuration, seed: 9)
      try parameters.save(modelDirectory: model)
      let others = parameters.table.entries.filter { !$0.key.contains(".mlp.experts.") }
      func save(downRows: Int) throws {
        // gate and up lie one after the other in the table, and so does what a packed tensor has of an expert.
        var plans = others.map { SafetensorsWriter.Plan(name: $0.key, type: .float32, shape: $0.shape) }
        var values = others.map { parameters.copy(of: $0.key) }
        for layer in 0..<2 {
          let prefix = "model.layers.\(layer).mlp.experts."
          for (name, parts, rows) in [("gate_up_proj", ["gate", "up"], 128), ("down_proj", ["down"], downRows)] {
            let all = (0..<4).flatMap { expert in
              parts.flatMap { part in parameters.copy(of: "\(prefix)\(expert).\(part)_proj.weight") }
            }
            plans.append(.init(name: prefix + name, type: .float32, shape: [4, rows, all.count / 4 / rows]))
            values.append(all)
          }
        }
        let writer = try SafetensorsWriter(model + "/model.safetensors", tensors: plans)
        for value in values { try value.withUnsafeBufferPointer { try writer.append($0) } }
        try writer.commit()
      }
      try save(downRows: 16)
      #expect(try Parameters(modelDirectory: model).allValues == parameters.allValues)
      try save(downRows: 32)
      let text = message { _ = try Parameters(modelDirectory: model) }
      #expect(text.contains("'model.layers.0.mlp.experts.0.down_proj.weight' is [32, 32], config.json says [16, 64]"))
    }
  }

  @Test("saving and loading a model loses no bit", arguments: 0..<6)
  func roundTrip(variant: Int) throws {
    try withTemporaryDirectory { directory in
      var configuration = variant < 4 ? tinyConfiguration() : mixtureConfiguration()
      configuration.tiesEmbeddings = variant & 1 == 0
      configuration.normalizesQueriesAndKeys = variant & 2 != 0
      configuration.sharedExpertCount = variant == 4 ? 3 : 0
      configuration.balanceLossWeight = variant == 4 ? 0.25 : 0.01
      configuration.headSize = 6
      configuration.ropeTheta = 500_000
      configuration.rmsNormEpsilon = 1e-6
      configuration.endTokenIDs = [2, 5]
      let parameters = try Parameters(configuration: configuration, seed: 9)
      try parameters.save(modelDirectory: directory + "/model")
      let read = try Parameters(modelDirectory: directory + "/model")
      #expect(read.configuration == configuration)
      #expect(read.allValues.map(\.bitPattern) == parameters.allValues.map(\.bitPattern))
    }
  }

  @Test("a model saved in bfloat16 is the rounded model")
  func bfloat16() throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      try parameters.save(modelDirectory: directory + "/model", type: .bfloat16)
      let read = try Parameters(modelDirectory: directory + "/model")
      for (rounded, value) in zip(read.allValues, parameters.allValues) {
        #expect(abs(rounded - value) <= abs(value) / 256)
        #expect(rounded.bitPattern & 0xFFFF == 0)
      }
    }
  }

  @Test("shards with an index load as one file does")
  func shards() throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      let model = directory + "/model"
      try parameters.save(modelDirectory: model)
      try FileManager.default.removeItem(atPath: model + "/model.safetensors")
      var map: [JSON.Member] = []
      for part in 0..<2 {
        let name = "model-0000\(part + 1)-of-00002.safetensors"
        let entries = parameters.table.entries.enumerated().filter { $0.offset % 2 == part }.map(\.element)
        let writer = try SafetensorsWriter(
          model + "/" + name, tensors: entries.map { .init(name: $0.key, type: .float32, shape: $0.shape) })
        for entry in entries {
          try parameters.copy(of: entry.key).withUnsafeBufferPointer { try writer.append($0) }
          map.append(JSON.Member(entry.key, .string(name)))
        }
        try writer.commit()
      }
      let index = model + "/model.safetensors.index.json"
      try AtomicFile.write(JSON.object([JSON.Member("weight_map", .object(map))]).text(), to: index)
      let read = try Parameters(modelDirectory: model)
      #expect(read.allValues == parameters.allValues)

      for hostile in ["../outside.safetensors", "/etc/passwd", "..", ""] {
        map[0].value = .string(hostile)
        try AtomicFile.write(JSON.object([JSON.Member("weight_map", .object(map))]).text(), to: index)
        #expect(message { _ = try Parameters(modelDirectory: model) }.contains("is not the name of a file beside it"))
      }
    }
  }

  @Test("a configuration that contradicts the weights is refused, saying what to check")
  func contradictions() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      let weights = model + "/model.safetensors"
      let cases: [(String, String, String)] = [
        (
          "\"vocab_size\": 40", "\"vocab_size\": 41",
          "\(weights): 'model.embed_tokens.weight' is [40, 16], config.json says [41, 16]. Check vocab_size and hidden_size."
        ),
        (
          "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
          "\(weights): 'lm_head.weight' is missing, config.json asks for it. Check tie_word_embeddings, vocab_size and hidden_size."
        ),
        (
          "\"attention_bias\": false", "\"attention_bias\": true",
          "\(weights): 'model.layers.0.self_attn.q_proj.bias' is missing, config.json asks for it. "
            + "Check the architecture, attention_bias, hidden_size and num_hidden_layers."
        ),
        (
          "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
          "\(weights): 'model.layers.1.input_layernorm.weight' is no weight of the model that config.json describes. "
            + "Check hidden_size and num_hidden_layers."
        ),
        (
          "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2",
          "\(weights): 'model.layers.0.self_attn.k_proj.weight' is [8, 16], config.json says [16, 16]. "
            + "Check num_key_value_heads, head_dim, hidden_size and num_hidden_layers."
        ),
      ]
      for (old, new, expected) in cases {
        try parameters.save(modelDirectory: model)
        try edit(model) { $0.replacingOccurrences(of: old, with: new) }
        #expect(message { _ = try Parameters(modelDirectory: model) } == expected)
      }
    }
  }

  @Test(
    "settings that would change the arithmetic are refused by name",
    arguments: [
      ("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "hidden_act \"gelu\" is not supported"),
      ("\"mlp_bias\": false", "\"mlp_bias\": true", "mlp_bias is true"),
      ("\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 4}", "no low_freq_factor"),
      ("\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4}", "type \"longrope\""),
      ("\"rope_scaling\": null", "\"rope_parameters\": {\"type\": \"linear\"}", "the rotary scaling has no factor"),
      ("\"rope_scaling\": null", "\"rope_scaling\": [4]", "the rotary settings [4] are not an object"),
      (
        "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 0.5}",
        "the rotary scaling's factor is 0.5, a number of at least 1.0 is needed"
      ),
      (
        "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"beta_fast\": -1}",
        "beta_fast is -1.0"
      ),
      ("\"rope_scaling\": null", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor 0.5"),
      ("\"rope_scaling\": null", "\"quantization_config\": {}", "quantization_config"),
      ("\"LlamaForCausalLM\"", "\"MixtralForCausalLM\"", "the architecture 'MixtralForCausalLM' is not supported"),
      ("\"hidden_size\": 16", "\"hidden_size\": 1e99", "hidden_size is 1e+99, a whole number is expected"),
      ("\"hidden_size\": 16", "\"hidden_size\": \"16\"", "hidden_size is \"16\", a whole number is expected"),
      ("\"hidden_size\": 16", "\"hidden_size\": null", "hidden_size is missing"),
      ("\"vocab_size\": 40", "\"vocab_size\": 40000000000", "vocab_size is 40000000000, expected 1 to 16777216"),
      ("\"eos_token_id\": 2", "\"eos_token_id\": 40", "token 40 is outside the vocabulary of 40"),
      ("\"head_dim\": 8", "\"head_dim\": 7", "head_dim is 7, an even number is needed"),
    ])
  func refusals(old: String, new: String, expected: String) throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      try Parameters(configuration: tinyConfiguration(), seed: 9).save(modelDirectory: model)
      try edit(model) { $0.replacingOccurrences(of: old, with: new) }
      let text = message { _ = try Parameters(modelDirectory: model) }
      #expect(text.contains(expected) && text.hasPrefix(model + "/config.json"), "\(text)")
    }
  }

  @Test(
    "what another mixture of experts does otherwise is refused by name",
    arguments: [
      ("\"moe_layer_start_index\": 0", "\"moe_layer_start_index\": 1", "moe_layer_start_index 1"),
      ("\"moe_layer_end_index\": 1", "\"moe_layer_end_index\": 0", "moe_layer_end_index 0"),
      ("\"moe_layer_interval\": 1", "\"moe_layer_interval\": 2", "moe_layer_interval 2"),
      ("\"moe_norm_min\": 1e-12", "\"moe_norm_min\": 0.9", "moe_norm_min 0.9 would change the weights"),
      ("\"use_bias\": false", "\"use_bias\": true", "use_bias is true"),
      ("\"moe_num_experts\": 4", "\"moe_num_experts\": 0", "moe_num_experts is 0, expected 1 to 256"),
      ("\"moe_num_experts\": 4", "\"moe_num_experts\": 1", "2 of 1 experts for each token is not possible"),
      ("\"moe_k\": 2", "\"moe_k\": true", "moe_k is true, a whole number is expected"),
      ("\"router_aux_loss_coef\": 0.01", "\"router_aux_loss_coef\": -1", "router_aux_loss_coef is -1.0"),
    ])
  func mixtureRefusals(old: String, new: String, expected: String) throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      try Parameters(configuration: mixtureConfiguration(), seed: 9).save(modelDirectory: model)
      let before = try String(contentsOfFile: model + "/config.json", encoding: .utf8)
      #expect(before.contains(old), "\(before)")
      try edit(model) { $0.replacingOccurrences(of: old, with: new) }
      let text = message { _ = try Parameters(modelDirectory: model) }
      #expect(text.contains(expected) && text.hasPrefix(model + "/config.json"), "\(text)")
    }
  }

  @Test("a mixture's weights that the configuration does not fit are refused, and so is a router's bias")
  func mixtureContradictions() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      let parameters = try Parameters(configuration: mixtureConfiguration(), seed: 9)
      for (old, new, expected) in [
        (
          "\"moe_num_experts\": 4", "\"moe_num_experts\": 5",
          "'model.layers.0.mlp.gate.weight' is [4, 16], config.json says [5, 16]. "
            + "Check moe_num_experts or num_experts, hidden_size and num_hidden_layers."
        ),
        (
          "\"moe_num_shared_experts\": 1", "\"moe_num_shared_experts\": 2",
          "'model.layers.0.mlp.shared_experts.gate_proj.weight' is [64, 16], config.json says [128, 16]. "
            + "Check moe_num_shared_experts, moe_intermediate_size, hidden_size and num_hidden_layers."
        ),
      ] {
        try parameters.save(modelDirectory: model)
        try edit(model) { $0.replacingOccurrences(of: old, with: new) }
        let text = message { _ = try Parameters(modelDirectory: model) }
        #expect(text.contains(expected), "\(text)")
      }
      // The last tensor of the file is the last layer's bias.
      try parameters.save(modelDirectory: model)
      let weights = URL(fileURLWithPath: model + "/model.safetensors")
      var bytes = try Data(contentsOf: weights)
      bytes[bytes.count - 1] = 0x3F
      try bytes.write(to: weights)
      let text = message { _ = try Parameters(modelDirectory: model) }
      #expect(text.contains("'model.layers.1.mlp.moe_statics.e_score_correction_bias' is not zero"), "\(text)")
    }
  }

  @Test("a mixture's file has the rows of queries and keys in the order of adjacent pairs, and its routers in fp32")
  func adjacentPairs() throws {
    try withTemporaryDirectory { directory in
      let golden = try GoldenFixture(.mixture)
      for (type, size) in [(TensorType.float32, 4), (.bfloat16, 2)] {
        try golden.makeParameters().save(modelDirectory: directory + "/model", type: type)
        let file = try ModelWeights(directory: directory + "/model")
        let query = ParameterKey.Layer(1).query
        if type == .float32 {
          // v1 has these rows in that order, too.
          var stored = [Float](repeating: 0, count: file.tensor(query)!.count)
          try stored.withUnsafeMutableBufferPointer { try file.copy(query, to: $0.baseAddress!) }
          #expect(stored == (try golden.floats("weight.layers.1.attention.wq.weight")))
        }
        #expect(file.tensor(query)!.type == type)
        #expect(file.tensor(ParameterKey.Layer(0).router)!.type == .float32)
        #expect(file.bytes(of: ParameterKey.Layer(0).routerBias)?.count == 16)
        #expect(file.bytes(of: query)?.count == size * 64 * 64)
      }
    }
  }

  @Test("the rotary base of transformers 5 is read")
  func ropeParameters() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      try Parameters(configuration: tinyConfiguration(), seed: 9).save(modelDirectory: model)
      try edit(model) {
        $0.replacingOccurrences(
          of: "\"rope_theta\": 10000.0",
          with: "\"rope_parameters\": {\"rope_theta\": 1234.5, \"rope_type\": \"default\"}")
      }
      #expect(try ModelConfiguration(huggingFaceConfig: model + "/config.json").ropeTheta == 1234.5)
    }
  }

  static let scalings: [RotaryScaling] = {
    var yarn = YaRN(factor: 4, originalLength: 32)
    yarn.fastTurns = 20
    yarn.slowTurns = 2.5
    yarn.attentionFactor = 1.25
    yarn.roundsBounds = false
    return [
      .none, .linear(factor: 4), .dynamic(factor: 2.5), .yarn(YaRN(factor: 8, originalLength: 64)), .yarn(yarn),
      .llama3(Llama3Scaling(factor: 8, originalLength: 64, slowTurns: 1.5, fastTurns: 5)),
    ]
  }()

  @Test("rotary scaling is kept in config.json", arguments: scalings)
  func rotaryScaling(scaling: RotaryScaling) throws {
    try withTemporaryDirectory { directory in
      var configuration = tinyConfiguration()
      configuration.rotaryScaling = scaling
      try Parameters(configuration: configuration, seed: 9).save(modelDirectory: directory + "/model")
      #expect(try Parameters(modelDirectory: directory + "/model").configuration == configuration)
    }
  }

  @Test("YaRN's defaults are those of transformers, its scales of attention and the outer length included")
  func yarnDefaults() throws {
    let plain = YaRN(factor: 2, originalLength: 64)
    var scaled = plain
    scaled.attentionFactor = (0.1 * 0.7 * log(2.0) + 1) / (0.1 * 0.5 * log(2.0) + 1)
    for (settings, expected) in [
      (#""factor": 2"#, plain), (#""factor": 2, "mscale": 0.7, "mscale_all_dim": 0.5"#, scaled),
      (#""original_max_position_embeddings": 32"#, YaRN(factor: 2, originalLength: 32)),
    ] {
      try withTemporaryDirectory { directory in
        var configuration = tinyConfiguration()
        configuration.maximumSequenceLength = 64
        try Parameters(configuration: configuration, seed: 9).save(modelDirectory: directory + "/model")
        try edit(directory + "/model") {
          $0.replacingOccurrences(
            of: "\"rope_scaling\": null", with: "\"rope_scaling\": {\"type\": \"yarn\", \(settings)}")
        }
        let read = try ModelConfiguration(huggingFaceConfig: directory + "/model/config.json")
        #expect(read.rotaryScaling == .yarn(expected), "\(settings)")
      }
    }
    #expect(plain.attentionFactor == 0.1 * log(2.0) + 1)
  }

  @Test("a weight that is not a number is found at loading")
  func notFinite() throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      try withExtendedLifetime(parameters) {
        parameters[ParameterKey.finalNorm][3] = .nan
        try parameters.save(modelDirectory: directory + "/model")
      }
      let text = message { _ = try Parameters(modelDirectory: directory + "/model") }
      #expect(text.contains("'model.norm.weight' holds values that are not finite numbers"))
    }
  }

  @Test("a run, a checkpoint and a plain directory lead to the model; other paths are refused")
  func resolution() throws {
    try withTemporaryDirectory { directory in
      let parameters = try Parameters(configuration: tinyConfiguration(), seed: 9)
      try parameters.save(modelDirectory: directory + "/run/model")
      #expect(try resolveModelDirectory(directory + "/run") == directory + "/run/model")
      #expect(try resolveModelDirectory(directory + "/run/model") == directory + "/run/model")
      for path in ["/nowhere", "", "/run/model/config.json"] {
        #expect(throws: ModelFileError.self) { try resolveModelDirectory(directory + path) }
      }
    }
  }

  @Test("an existing model is replaced whole, and a failed save leaves it as it was")
  func replacement() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      try Parameters(configuration: tinyConfiguration(), seed: 1).save(modelDirectory: model)
      let second = try Parameters(configuration: tinyConfiguration(), seed: 2)
      #expect(throws: FileError.self) {
        try second.save(modelDirectory: model, tokenizerDirectory: directory + "/no-tokenizer")
      }
      let first = try Parameters(configuration: tinyConfiguration(), seed: 1)
      #expect(try Parameters(modelDirectory: model).allValues == first.allValues)
      try second.save(modelDirectory: model)
      #expect(try Parameters(modelDirectory: model).allValues == second.allValues)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["model"])
    }
  }

  @Test("ten thousand damaged configurations and as many indices are read or refused, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      let configuration = seed % 2 == 0 ? tinyConfiguration() : mixtureConfiguration()
      try Parameters(configuration: configuration, seed: 9).save(modelDirectory: model)
      try Parameters(configuration: configuration, seed: 9).save(
        modelDirectory: directory + "/sharded", shardByteCount: 4000)
      var generator = SeededGenerator(seed: seed)
      let files = [
        ("model/config.json", 2500), ("model/model.safetensors", 200), ("sharded/model.safetensors.index.json", 2500),
      ]
      for (name, count) in files {
        let url = URL(fileURLWithPath: directory + "/" + name)
        let model = url.deletingLastPathComponent().path
        let good = Array(try Data(contentsOf: url))
        for _ in 0..<count {
          try Data(damaged(good, using: &generator)).write(to: url)
          do {
            _ = try Parameters(modelDirectory: model)
          } catch {
            #expect(
              error is ModelFileError || error is ConfigurationError || error is FileError, "seed \(seed): \(error)")
          }
        }
        try Data(good).write(to: url)
      }
    }
  }
}

@Suite struct GoldenFixtureTests {
  @Test("the golden fixture has every weight, gradient and result of its model", arguments: GoldenFixture.Name.allCases)
  func complete(name: GoldenFixture.Name) throws {
    let golden = try GoldenFixture(name)
    let table = try ParameterTable(golden.configuration)
    for group in [golden.parameters, golden.gradients, golden.parametersAfter] {
      #expect(group.count == table.entries.count)
      for entry in table.entries { #expect(group[entry.key]?.count == entry.count) }
    }
    #expect(try golden.floats("logits").count == 3 * 40 * golden.configuration.vocabularySize)
    #expect(try golden.integers("greedy_prompt").count == 9)
    #expect(golden.numbers("losses").count == 5)
  }
}
