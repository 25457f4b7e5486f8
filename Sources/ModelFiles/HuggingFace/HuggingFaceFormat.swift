import Model
import Tokenization

/// Hugging Face's directory: `config.json`, safetensors, the tokenizer's files.
package struct HuggingFaceFormat: ModelFormat {
  package let name = "hf"
  package let title = "Hugging Face directory"
  package let ending: String? = nil
  package let encodings: [WeightEncoding] = [.float32, .bfloat16, .float16]
  package let tokenizer = TokenizerPlace.beside
  package let hasShards = true

  package init() {}

  package func isFormat(ofPath path: String) -> Bool {
    guard let directory = try? resolveModelDirectory(path) else { return false }
    return !isFile(directory) && !PEFTAdapter.isAdapter(directory)
  }

  package func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws {
    if let sight = configuration.sight { _ = try SightLayout.layout(of: sight, path: path) }
  }

  package func encodes(_ entry: ParameterEntry) -> Bool { entry.role != .router }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    try StoredParameters(StoredModel(modelDirectory: try resolveModelDirectory(path)), tokenizerOf: path)
  }

  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    try model.parameters.save(
      modelDirectory: path, type: settings.encoding.tensorType ?? .float32,
      tokenizerDirectory: settings.tokenizerDirectory, shardByteCount: settings.shardByteCount,
      keepingSettingsOf: model.settingsDirectory, metadata: model.metadata)
  }
}

extension StoredParameters {
  /// Reads the weights of a model, or of an adapter's base with the adapter merged.
  ///
  /// - Parameter path: of the directory or file, or of a run or checkpoint with it.
  init(_ stored: StoredModel, tokenizerOf path: String) throws {
    let directory = try resolveModelDirectory(path)
    let isAdapter = PEFTAdapter.isAdapter(directory)
    try self.init(
      Parameters(stored.configuration, stored.weights),
      types: stored.table.entries.map { isAdapter ? .float32 : stored.weights.tensor($0.key)?.type })
    settingsDirectory = stored.weights.directory
    tokenizerDirectory = try TokenizerFiles.firstPath(of: [directory, stored.weights.directory])
    metadata = stored.weights.mergedMetadata()
  }
}
