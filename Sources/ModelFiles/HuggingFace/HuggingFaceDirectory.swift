import Foundation
import Model
import Storage
import Tokenization

/// A model in Hugging Face's directory: `config.json`, `generation_config.json`, safetensors, the tokenizer's files.
struct HuggingFaceDirectory: ModelContainer {
  let path: String

  var tokenizer: TokenizerFiles { TokenizerFiles(directory: path) }

  /// Where `config.json` ties embedding and output and the weights have both, unequal, they are not tied:
  /// `ModelWeights.hasOutputOfItsOwn`.
  func configuration(_ generation: GenerationConfiguration) throws -> ModelConfiguration {
    let settings = path + "/config.json"
    var result = try ModelConfiguration(huggingFaceConfig: settings)
    let hasWeights = ["", ".index.json"].contains {
      FileManager.default.fileExists(atPath: path + "/model.safetensors" + $0)
    }
    if result.tiesEmbeddings, hasWeights, try ModelWeights(modelDirectory: path, adapter: nil).hasOutputOfItsOwn() {
      result.tiesEmbeddings = false
    }
    if generation.endTokens.isEmpty { return result }
    // What config.json does not name is only a default.
    if try JSON(contentsOf: settings)["eos_token_id"] == nil { result.endTokenIDs = [] }
    for token in generation.endTokens where !result.endTokenIDs.contains(token) { result.endTokenIDs.append(token) }
    try result.validate(source: path + "/generation_config.json")
    return result
  }

  func generation() throws -> GenerationConfiguration {
    let settings = path + "/generation_config.json"
    guard FileManager.default.fileExists(atPath: settings) else { return GenerationConfiguration() }
    return try GenerationConfiguration(path: settings)
  }

  func weights() throws -> StoredTensors { try StoredTensors(directory: path) }
}
