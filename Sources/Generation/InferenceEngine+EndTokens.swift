import Model
import Tokenization

extension InferenceEngine {
  /// The tokens that end a text: those of the configuration, or the tokenizer's where it names none.
  package func endTokens(_ tokenizer: Tokenizer) -> [Int32] {
    configuration.endTokenIDs.isEmpty ? [tokenizer.endToken] : configuration.endTokenIDs.map(Int32.init)
  }
}
