import Foundation
import Model

/// The models of `transformers` that a configuration can express, with what each has where `config.json` is silent.
package enum Architecture: String, CaseIterable {
  case llama = "LlamaForCausalLM"
  /// Llama with a window over the tokens that are seen.
  case mistral = "MistralForCausalLM"
  /// Llama with biases on queries, keys and values.
  case qwen2 = "Qwen2ForCausalLM"
  case qwen3 = "Qwen3ForCausalLM"
  case qwen3Mixture = "Qwen3MoeForCausalLM"
  case ernieMixture = "Ernie4_5_MoeForCausalLM"

  /// What a model of this configuration is called. A Mistral without a window is a Llama.
  package init(_ configuration: ModelConfiguration) {
    self =
      if configuration.isMixture {
        configuration.normalizesQueriesAndKeys ? .qwen3Mixture : .ernieMixture
      } else if configuration.normalizesQueriesAndKeys {
        .qwen3
      } else if configuration.attentionBias == .inputs {
        .qwen2
      } else {
        configuration.slidingWindow == nil ? .llama : .mistral
      }
  }

  /// The name of the class that gives a text a score, where `transformers` has one.
  package var scoringName: String? {
    self == .ernieMixture
      ? nil : rawValue.replacingOccurrences(of: "ForCausalLM", with: "ForSequenceClassification")
  }

  var modelType: String {
    switch self {
    case .llama: "llama"
    case .mistral: "mistral"
    case .qwen2: "qwen2"
    case .qwen3: "qwen3"
    case .qwen3Mixture: "qwen3_moe"
    case .ernieMixture: "ernie4_5_moe"
    }
  }

  /// The same model in llama.cpp.
  var gguf: GGUFArchitecture {
    switch self {
    case .llama, .mistral: .llama
    case .qwen2: .qwen2
    case .qwen3: .qwen3
    case .qwen3Mixture: .qwen3Mixture
    case .ernieMixture: .ernieMixture
    }
  }

  /// `general.architecture` of a GGUF file.
  package var ggufName: String { gguf.rawValue }

  package var isMixture: Bool { self == .qwen3Mixture || self == .ernieMixture }

  /// Of the members of `config.json`.
  var defaultKeyValueHeadCount: Int? {
    switch self {
    case .llama: nil
    case .mistral: 8
    case .qwen2, .qwen3: 32
    case .qwen3Mixture, .ernieMixture: 4
    }
  }
  var defaultMaximumSequenceLength: Int {
    switch self {
    case .llama: 2048
    case .mistral, .ernieMixture: 131_072
    case .qwen2, .qwen3, .qwen3Mixture: 32_768
    }
  }
  var defaultRopeTheta: Double { self == .ernieMixture ? 500_000 : 10_000 }
  var defaultEpsilon: Double { self == .ernieMixture ? 1e-5 : 1e-6 }
  var tiesEmbeddingsByDefault: Bool { self == .ernieMixture }
  /// Nil: the width divided by the number of heads.
  var defaultHeadSize: Int? { self == .qwen3 ? 128 : nil }
  /// Whether 1 begins a text and 2 ends it.
  var hasDefaultTokens: Bool {
    switch self {
    case .llama, .mistral, .ernieMixture: true
    case .qwen2, .qwen3, .qwen3Mixture: false
    }
  }
}
