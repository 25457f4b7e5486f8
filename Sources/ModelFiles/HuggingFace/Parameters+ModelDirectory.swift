import Foundation
import Model
import Storage
import Tokenization

// MARK: - Reading

extension Parameters {
  /// Reads the model in a Hugging Face directory; weights stored in 16 bits are widened.
  ///
  /// - Parameter modelDirectory: the directory itself; `resolveModelDirectory` finds it for a run or checkpoint.
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each saying which file and what is wrong.
  public convenience init(modelDirectory: String) throws {
    try self.init(
      ModelConfiguration(modelDirectory: modelDirectory), ModelWeights(directory: modelDirectory))
  }

  /// Reads the model of a configuration from its files.
  package convenience init(_ configuration: ModelConfiguration, _ weights: ModelWeights) throws {
    let table = try ParameterTable(configuration, checkedAgainst: weights)
    // Only now is it certain that the sizes are those of a file that exists.
    try self.init(zeroed: configuration)
    for entry in table.entries { try weights.copy(entry, of: configuration, to: values + entry.offset) }
  }
}

extension ModelWeights {
  /// Writes a weight in fp32 to `destination`, with its rows in this program's order.
  ///
  /// - Precondition: the weights have been checked against the configuration's table.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  package func copy(
    _ entry: ParameterEntry, of configuration: ModelConfiguration, to destination: UnsafeMutablePointer<Float>
  ) throws {
    try copy(entry.key, to: destination)
    if configuration.storesAdjacentPairs && entry.role.isRotated {
      RotaryRows.split(
        destination, rows: entry.shape[0], columns: entry.columns, headSize: configuration.headSize)
    }
  }
}

extension ParameterTable {
  /// The table of a model whose weights are in `weights`.
  ///
  /// - Throws: `ModelFileError.contradiction` when a weight is missing, left over, or of another shape than
  ///   the configuration says.
  public init(_ configuration: ModelConfiguration, checkedAgainst weights: ModelWeights) throws {
    try self.init(configuration)
    for entry in entries {
      let isOutputsOnly = entry.key == ParameterKey.embedding && weights.storesEmbeddingAsOutput
      guard let tensor = weights.tensor(entry.key), !isOutputsOnly || configuration.tiesEmbeddings else {
        throw ModelFileError.contradiction(
          "\(weights.path): '\(entry.key)' is missing, config.json asks for it. Check \(Self.settings(for: entry.role))."
        )
      }
      guard tensor.shape == entry.shape else {
        throw ModelFileError.contradiction(
          "\(weights.filePath(of: entry.key)): '\(entry.key)' is \(tensor.shape), config.json says \(entry.shape). "
            + "Check \(Self.settings(for: entry.role)).")
      }
    }
    let constants = Dictionary(uniqueKeysWithValues: configuration.constantWeights.map { ($0.name, $0) })
    for name in weights.names.sorted() where entry(name) == nil {
      if Self.tables.contains(where: name.hasSuffix) { continue }
      if configuration.sight != nil, VisionTowerConfiguration.isUnused(name) { continue }
      if name == ParameterKey.output, weights.tensor(name)?.shape == weights.tensor(ParameterKey.embedding)?.shape,
        try !weights.hasOutputOfItsOwn()
      {
        continue
      }
      if let constant = constants[name], let weight = weights.tensor(name) {
        guard try weight.floats() == constant.values else {
          throw ModelFileError.unsupported(
            path: weights.filePath(of: name), feature: "'\(name)' \(constant.reason)")
        }
        continue
      }
      throw ModelFileError.contradiction(
        "\(weights.filePath(of: name)): '\(name.prefix(200))' is no weight of the model that config.json describes. "
          + "Check \(Self.settings(forName: name)).")
    }
  }

  /// Tables that some programs store beside the weights: the rotary frequencies, and the angles by position. They follow
  /// from the configuration, and `transformers` does not read them either.
  private static let tables = [
    ".rotary_emb.inv_freq", ".rotary_emb.original_inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached",
    ".freqs_cos", ".freqs_sin", ".pos_cis",
  ]

  /// The settings of `config.json` that decide whether a weight exists and what its shape is.
  private static func settings(for role: ParameterRole) -> String {
    let layer = "hidden_size and num_hidden_layers"
    switch role {
    case .embedding: return "vocab_size and hidden_size"
    case .output: return "tie_word_embeddings, vocab_size and hidden_size"
    case .query, .attentionOutput: return "num_attention_heads, head_dim, \(layer)"
    case .key, .value: return "num_key_value_heads, head_dim, \(layer)"
    case .queryNorm, .keyNorm: return "the architecture, head_dim and num_hidden_layers"
    case .queryBias, .keyBias, .valueBias, .attentionOutputBias: return "the architecture, attention_bias, \(layer)"
    case .attentionNorm, .feedForwardNorm, .finalNorm: return layer
    case .router: return "moe_num_experts or num_experts, \(layer)"
    case .gate(let block), .up(let block), .down(let block):
      switch block {
      case .dense: return "intermediate_size, \(layer)"
      case .shared: return "moe_num_shared_experts, moe_intermediate_size, \(layer)"
      case .expert: return "moe_num_experts or num_experts, moe_intermediate_size, \(layer)"
      }
    case .loraA, .loraB: return "the architecture"
    case .projector: return "hidden_size of both parts, vision_feature_layer, projector_hidden_act"
    case .tower: return "vision_config"
    }
  }

  /// The same for a weight that the model does not have, by what a weight of this name is in others.
  private static func settings(forName name: String) -> String {
    // In the first layer, and of the first expert, every kind of weight occurs.
    let first = name.split(separator: ".", omittingEmptySubsequences: false)
      .map { Int($0) == nil ? String($0) : "0" }.joined(separator: ".")
    var dense = ModelConfiguration(hiddenSize: 2, layerCount: 1, headCount: 1, keyValueHeadCount: 1)
    dense.tiesEmbeddings = false
    dense.normalizesQueriesAndKeys = true
    dense.attentionBias = .inputsAndOutput
    var mixture = dense
    mixture.normalizesQueriesAndKeys = false
    mixture.attentionBias = .none
    (mixture.expertCount, mixture.expertsPerToken, mixture.sharedExpertCount) = (1, 1, 1)
    let tables = [dense, mixture].compactMap { try? ParameterTable($0) }
    return tables.lazy.compactMap { $0.entry(first) }.first.map { settings(for: $0.role) } ?? "the architecture"
  }
}

// MARK: - Writing

extension Parameters {
  /// Writes a Hugging Face model directory, which appears at `modelDirectory` whole or not at all.
  ///
  /// - Parameters:
  ///   - type: `.float32`, which loses nothing, `.bfloat16` or `.float16`. The routers of a mixture of experts stay in
  ///     fp32.
  ///   - tokenizerDirectory: where the tokenizer's files are copied from, or a file that stands for them; without it the
  ///     directory has none.
  ///   - shardByteCount: the most bytes of weights in one file; one file when nil.
  ///   - origin: a model directory that this model was read from. Its settings for generation are kept, and those of its
  ///     config.json that mean nothing here.
  ///   - metadata: what the weights' files are to say of themselves.
  /// - Throws: `FileError` when the disk or the permissions do not allow it; `ModelFileError` when a weight lies beyond the
  ///   range of fp16.
  public func save(
    modelDirectory: String, type: TensorType = .float32, tokenizerDirectory: String? = nil,
    shardByteCount: Int? = nil, keepingSettingsOf origin: String? = nil,
    metadata: [String: String] = [:]
  ) throws {
    let typeNames: [TensorType: String] = [.float32: "float32", .bfloat16: "bfloat16", .float16: "float16"]
    guard let typeName = typeNames[type] else { preconditionFailure("weights cannot be saved as \(type)") }
    if let sight = configuration.sight { _ = try SightLayout.layout(of: sight, path: modelDirectory) }
    try AtomicDirectory.write(modelDirectory) { directory in
      let original = try origin.flatMap { try JSON(ifPresentAt: $0 + "/config.json") }
      let config = configuration.huggingFaceConfig(weightType: typeName).adding(unknownSettingsOf: original)
      try AtomicFile.write(config.text() + "\n", to: directory + "/config.json")
      let generation =
        try origin.flatMap { try JSON(ifPresentAt: $0 + "/generation_config.json") }
        ?? configuration.huggingFaceGenerationConfig()
      try AtomicFile.write(generation.text() + "\n", to: directory + "/generation_config.json")
      if let tokenizerDirectory { try TokenizerFiles(tokenizerDirectory).write(into: directory) }
      try configuration.sight?.writeProcessor(into: directory, hasTokenizer: tokenizerDirectory != nil)
      let constants = configuration.constantWeights
      let writer = try ModelWeightsWriter(
        directory: directory,
        tensors: table.entries.map {
          let shape = configuration.storesPatchRows($0) ? [$0.shape[0], $0.count / $0.shape[0]] : $0.shape
          return SafetensorsWriter.Plan(
            name: configuration.storedName(of: $0), type: $0.role == .router ? .float32 : type, shape: shape)
        }
          + constants.map { SafetensorsWriter.Plan(name: $0.name, type: $0.isExact ? .float32 : type, shape: $0.shape) },
        shardByteCount: shardByteCount, metadata: metadata)
      for entry in table.entries { try append(entry, to: writer) }
      for constant in constants { try constant.values.withUnsafeBufferPointer { try writer.append($0) } }
      try writer.commit()
    }
  }

  private func append(_ entry: ParameterEntry, to writer: ModelWeightsWriter) throws {
    let weight = UnsafeBufferPointer(start: values + entry.offset, count: entry.count)
    if configuration.storesPatchRows(entry) {
      return try PatchRows.fromConvolution(weight, outputs: entry.shape[0], side: entry.shape[2])
        .withUnsafeBufferPointer { try writer.append($0) }
    }
    guard configuration.storesAdjacentPairs && entry.role.isRotated else { return try writer.append(weight) }
    var rows = Array(weight)
    try rows.withUnsafeMutableBufferPointer { rows in
      RotaryRows.interleave(
        rows.baseAddress!, rows: entry.shape[0], columns: entry.columns, headSize: configuration.headSize)
      try writer.append(UnsafeBufferPointer(rows))
    }
  }
}

extension ParameterEntry {
  /// Of a matrix, or 1 of a vector, whose numbers are its rows.
  fileprivate var columns: Int { shape.count > 1 ? shape[1] : 1 }
}

extension JSON {
  /// The settings file at `path`; nil when there is none.
  fileprivate init?(ifPresentAt path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    try self.init(contentsOf: path)
  }

  /// This object of settings, with the members of `original` that it does not have itself.
  ///
  /// Settings that mean something were read and stand in this object; the others, such as `pad_token_id` or the version
  /// of `transformers`, belong to other programs. Left out are other spellings of what is written here.
  fileprivate func adding(unknownSettingsOf original: JSON?) -> JSON {
    guard case .object(let members) = self, case .object(let originals)? = original else { return self }
    // The settings of a language model lie deeper in those of one that sees.
    guard (original?["text_config"] == nil) == (self["text_config"] == nil) else { return self }
    let respelled = ["dtype", "rope_parameters", "num_local_experts"]
    return .object(
      members + originals.filter { original in self[original.key] == nil && !respelled.contains(original.key) })
  }
}
