import ModelFiles
import Storage

// MARK: - Reading

extension Parameters {
  /// Reads the model in a Hugging Face directory; weights stored in 16 bits are widened.
  ///
  /// - Parameter modelDirectory: the directory itself; `resolveModelDirectory` finds it for a run or checkpoint.
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each saying which file and what is wrong.
  public convenience init(modelDirectory: String) throws {
    let configuration = try ModelConfiguration(huggingFaceConfig: modelDirectory + "/config.json")
    let weights = try ModelWeights(directory: modelDirectory)
    let table = try ParameterTable(configuration, checkedAgainst: weights)
    // Only now is it certain that the sizes are those of a file that exists.
    try self.init(zeroed: configuration)
    for entry in table.entries { try weights.copy(entry.key, to: values + entry.offset) }
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
      guard let tensor = weights.tensor(entry.key) else {
        throw ModelFileError.contradiction(
          "\(weights.path): '\(entry.key)' is missing, config.json asks for it. Check \(Self.settings(for: entry.key))."
        )
      }
      guard tensor.shape == entry.shape else {
        throw ModelFileError.contradiction(
          "\(weights.filePath(of: entry.key)): '\(entry.key)' is \(tensor.shape), config.json says \(entry.shape). "
            + "Check \(Self.settings(for: entry.key)).")
      }
    }
    for name in weights.names.sorted() where entry(name) == nil {
      // Old Llama checkpoints store the rotary frequencies, which follow from the configuration.
      if name.hasSuffix(".rotary_emb.inv_freq") { continue }
      if name == ParameterKey.output, let output = weights.bytes(of: name),
        let embedding = weights.bytes(of: ParameterKey.embedding), output.elementsEqual(embedding)
      {
        continue
      }
      throw ModelFileError.contradiction(
        "\(weights.filePath(of: name)): '\(name.prefix(200))' is no weight of the model that config.json describes. "
          + "Check \(Self.settings(for: name)).")
    }
  }

  /// The settings of `config.json` that decide whether a weight exists and what its shape is.
  private static func settings(for key: String) -> String {
    let settings: [(suffix: String, names: String)] = [
      (ParameterKey.embedding, "vocab_size and hidden_size"),
      (ParameterKey.output, "tie_word_embeddings, vocab_size and hidden_size"),
      (".q_proj.weight", "num_attention_heads, head_dim, hidden_size and num_hidden_layers"),
      (".k_proj.weight", "num_key_value_heads, head_dim, hidden_size and num_hidden_layers"),
      (".v_proj.weight", "num_key_value_heads, head_dim, hidden_size and num_hidden_layers"),
      (".o_proj.weight", "num_attention_heads, head_dim, hidden_size and num_hidden_layers"),
      ("_proj.weight", "intermediate_size, hidden_size and num_hidden_layers"),
      ("_norm.weight", "the architecture, head_dim and num_hidden_layers"),
      ("norm.weight", "hidden_size and num_hidden_layers"),
    ]
    return settings.first { key.hasSuffix($0.suffix) }?.names ?? "the architecture"
  }
}

// MARK: - Writing

extension Parameters {
  /// Writes a Hugging Face model directory, which appears at `modelDirectory` whole or not at all.
  ///
  /// - Parameters:
  ///   - type: `.float32`, which loses nothing, or `.bfloat16`.
  ///   - tokenizerDirectory: where the tokenizer's files are copied from; without it the directory has none.
  /// - Throws: `FileError` when the disk or the permissions do not allow it.
  public func save(
    modelDirectory: String, type: TensorType = .float32, tokenizerDirectory: String? = nil
  ) throws {
    precondition(type == .float32 || type == .bfloat16, "weights cannot be saved as \(type)")
    try AtomicDirectory.write(modelDirectory) { directory in
      let typeName = type == .float32 ? "float32" : "bfloat16"
      try AtomicFile.write(
        configuration.huggingFaceConfig(weightType: typeName).text() + "\n", to: directory + "/config.json")
      try AtomicFile.write(
        configuration.huggingFaceGenerationConfig().text() + "\n", to: directory + "/generation_config.json")
      if let tokenizerDirectory { try TokenizerFiles.copy(from: tokenizerDirectory, to: directory) }
      let writer = try SafetensorsWriter(
        directory + "/model.safetensors",
        tensors: table.entries.map { SafetensorsWriter.Plan(name: $0.key, type: type, shape: $0.shape) })
      for entry in table.entries {
        try writer.append(UnsafeBufferPointer(start: values + entry.offset, count: entry.count))
      }
      try writer.commit()
    }
  }
}
