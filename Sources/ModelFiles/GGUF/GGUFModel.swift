import Model
import Tokenization

/// A model in a GGUF file, with the file of its tower and projector beside it if it sees.
struct GGUFModel: ModelContainer {
  let path: String
  private let file: GGUFFile
  private let tokens: GGUFSpecialTokens
  /// Nil for a model of text alone.
  private let sight: GGUFSight?

  /// - Throws: `FileError` or `ModelFileError` when the file is damaged, or holds no whole model.
  init(path: String) throws {
    self.path = path
    file = try GGUFFile(path)
    let metadata = file.metadata
    func unsupported(_ feature: String) -> ModelFileError { .unsupported(path: path, feature: feature) }
    let type = try metadata.text("general.type") ?? "model"
    guard type == "model" else { throw unsupported("it holds '\(type.prefix(60))' and no model") }
    let parts = try metadata.integer("split.count", default: 1)
    guard parts <= 1 else {
      throw unsupported("it is one of \(parts) parts of a model; put them together with llama-gguf-split --merge")
    }
    tokens = try GGUFSpecialTokens(metadata)
    sight = try GGUFSight(beside: path)
  }

  private func architecture() throws(ModelFileError) -> GGUFArchitecture {
    guard let name = try file.metadata.text("general.architecture") else {
      throw .malformed(path: path, fault: "its metadata have no 'general.architecture'")
    }
    guard let architecture = GGUFArchitecture(rawValue: name) else {
      throw .unsupported(
        path: path,
        feature: "the architecture '\(name.prefix(60))' is not supported; "
          + GGUFArchitecture.allCases.map(\.rawValue).joined(separator: ", ") + " are")
    }
    return architecture
  }

  /// What the file says of its tokenizer, for another file.
  var tokenizerMetadata: [(key: String, value: GGUFValue)] {
    file.metadata.keys.filter { $0.hasPrefix("tokenizer.") }.map { ($0, .stored(file.metadata.stored($0))) }
  }

  var tokenizer: TokenizerFiles { GGUFTokenizerFiles.files(of: file.metadata, tokens) }

  func configuration(_ generation: GenerationConfiguration) throws -> ModelConfiguration {
    var result = try ModelConfiguration(gguf: file, architecture(), tokens)
    result.sight = sight?.configuration
    let tokenCount = tokens.count
    guard tokenCount <= result.vocabularySize else {
      throw ModelFileError.contradiction(
        "\(path): it has \(tokenCount) tokens and an embedding of \(result.vocabularySize) rows. The file is damaged or was "
          + "put together from two models.")
    }
    for token in generation.endTokens where !result.endTokenIDs.contains(token) { result.endTokenIDs.append(token) }
    try result.validate(source: path)
    return result
  }

  func generation() throws -> GenerationConfiguration { try GenerationConfiguration(gguf: file.metadata) }

  func weights() throws -> StoredTensors {
    let architecture = try architecture()
    let configuration = try configuration(GenerationConfiguration())
    let table = try ParameterTable(configuration)
    var weights = try sight?.weights(table) ?? [:]
    var known: Set<String> = [GGUFRotaryScaling.factorsName]
    for weight in table.ggufWeights(of: configuration, architecture) {
      guard let tensor = file.tensor(weight.name) else {
        throw ModelFileError.contradiction(
          "\(path): '\(weight.name)' is missing from a model of \(configuration.layerCount) layers.")
      }
      // A single row may be written as a vector.
      guard tensor.shape.drop(while: { $0 == 1 }) == weight.shape.drop(while: { $0 == 1 }) else {
        throw ModelFileError.contradiction(
          "\(path): '\(weight.name)' is \(tensor.shape), its metadata ask for \(weight.shape).")
      }
      known.insert(weight.name)
      for (index, entry) in weight.entries.enumerated() {
        // Ernie has adjacent pairs in a Hugging Face directory, too.
        let isSplit = weight.hasAdjacentPairs && !configuration.storesAdjacentPairs
        weights[entry.key] = GGUFWeight(
          file: file, tensor: tensor.part(index, shape: entry.shape), headSize: isSplit ? configuration.headSize : nil)
      }
    }
    for layer in 0..<configuration.layerCount {
      let name = "blk.\(layer).exp_probs_b.bias"
      guard let tensor = file.tensor(name) else { continue }
      known.insert(name)
      weights[ParameterKey.Layer(layer).routerBias] = GGUFWeight(file: file, tensor: tensor)
    }
    if let other = file.tensors.first(where: { !known.contains($0.name) }) {
      throw ModelFileError.contradiction(
        "\(path): '\(other.name.prefix(200))' is no weight of a model of the architecture \(architecture.rawValue) that "
          + "this program has.")
    }
    return StoredTensors(path: path, weights: weights)
  }
}

/// A weight in a GGUF file.
struct GGUFWeight: StoredWeight {
  let file: GGUFFile
  /// That of the file, or the part of it that is the weight of one expert.
  let tensor: GGUFFile.Tensor
  /// Of a weight whose rows are in the order of adjacent pairs, and not so in a Hugging Face directory.
  var headSize: Int?

  var storedName: String { tensor.name }
  var path: String { file.path }
  var shape: [Int] { tensor.shape }
  var type: TensorType? { tensor.type.tensorType }
  var bytes: UnsafeRawBufferPointer { file.bytes(of: tensor) }

  func rows(_ range: Range<Int>) -> (any StoredWeight)? {
    guard headSize == nil, shape.count > 1 else { return nil }
    return GGUFWeight(file: file, tensor: tensor.rows(range))
  }

  func copy(to destination: UnsafeMutablePointer<Float>) throws {
    file.copy(tensor, to: destination)
    guard let headSize else { return }
    RotaryRows.split(destination, rows: shape[0], columns: shape.count > 1 ? shape[1] : 1, headSize: headSize)
  }

  func release() { file.release(tensor) }
}
