import Machine
import Storage

/// The shape of a model: everything that its weights alone do not say.
///
/// A Llama-style decoder; Qwen3's per-head normalisation of queries and keys and Qwen2's biases are values, a mixture of
/// experts a number. Written to and read from Hugging Face's `config.json`.
public struct ModelConfiguration: Sendable, Equatable {
  public var hiddenSize: Int
  public var layerCount: Int
  /// Query heads. Each group of `headCount / keyValueHeadCount` of them shares one key/value head.
  public var headCount: Int
  public var keyValueHeadCount: Int
  /// Dimensions of one head; even, since rotary embedding turns them in pairs.
  public var headSize: Int
  /// Width inside the feed-forward block (of one expert, in a mixture).
  public var intermediateSize: Int
  public var vocabularySize: Int
  /// The sequence length that the model is made for. Inference can go beyond, training does not.
  public var maximumSequenceLength: Int = 512
  /// How many tokens a token sees, itself the last of them (Mistral); nil for all before it. Attention has no window here:
  /// up to this length there is no difference, and a longer context is refused.
  public var slidingWindow: Int?
  public var ropeTheta: Double = 10_000
  /// How sequences beyond the trained length are read.
  package var rotaryScaling = RotaryScaling.none
  public var rmsNormEpsilon: Float = 1e-5
  /// Whether the logits come from the embedding matrix.
  public var tiesEmbeddings = true
  /// Whether the output is one number for a text, its score, rather than logits: a reward model, which has an output matrix of
  /// its own with one row.
  public package(set) var scoresTexts = false
  /// Whether queries and keys pass an RMSNorm over each head before rotation (Qwen3).
  public var normalizesQueriesAndKeys = false
  /// Which of attention's products a learned vector is added to.
  public var attentionBias = AttentionBias.none
  /// Routed experts of each layer; 0 for a dense model.
  public var expertCount = 0
  /// The routed experts that a token passes.
  public var expertsPerToken = 0
  /// Experts that every token passes in addition: N of them are one feed-forward block N times as wide.
  public var sharedExpertCount = 0
  /// Whether the weights of a token's experts are divided by their sum, rather than being the router's probabilities.
  public var normalizesExpertWeights = true
  /// How much the load-balance loss of a mixture of experts counts in training.
  public var balanceLossWeight = 0.01
  /// How the model sees; nil for one of text alone.
  package var sight: SightConfiguration?
  public var beginTokenID: Int? = 1
  /// Tokens that end an answer.
  public var endTokenIDs: [Int] = [2]

  /// - Parameters:
  ///   - headSize: `hiddenSize / headCount` when nil.
  ///   - intermediateSize: ⅔·4·`hiddenSize`, rounded up to a multiple of 64, when nil.
  public init(
    hiddenSize: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int, headSize: Int? = nil,
    intermediateSize: Int? = nil, vocabularySize: Int = 6400
  ) {
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headSize = headSize ?? hiddenSize / max(headCount, 1)
    self.intermediateSize = intermediateSize ?? (hiddenSize * 8 / 3).roundedUp(to: 64)
    self.vocabularySize = vocabularySize
  }

  /// The queries of all heads side by side.
  public var querySize: Int { headCount * headSize }
  /// The keys (or the values) of all key/value heads side by side.
  public var keyValueSize: Int { keyValueHeadCount * headSize }

  /// Rows of the output matrix.
  package var outputSize: Int { scoresTexts ? 1 : vocabularySize }

  public var isMixture: Bool { expertCount > 0 }
  /// Width inside the feed-forward block that every token passes: a dense model's, or the shared experts' as one; 0 for
  /// a mixture without shared experts.
  public var sharedIntermediateSize: Int { isMixture ? sharedExpertCount * intermediateSize : intermediateSize }

  /// The number of learned values. A tied embedding counts once.
  public var parameterCount: Int {
    let embedding = vocabularySize * hiddenSize
    let attention =
      hiddenSize * (2 * querySize + 2 * keyValueSize) + (normalizesQueriesAndKeys ? 2 * headSize : 0)
      + (attentionBias.isOnInputs ? querySize + 2 * keyValueSize : 0) + (attentionBias.isOnOutput ? hiddenSize : 0)
    let feedForwards = 3 * hiddenSize * (sharedIntermediateSize + expertCount * intermediateSize)
    let router = expertCount * hiddenSize
    return embedding + (tiesEmbeddings ? 0 : outputSize * hiddenSize)
      + layerCount * (attention + feedForwards + router + 2 * hiddenSize) + hiddenSize + sightParameterCount
  }

  /// The learned values of projector and tower; 0 for a model that does not see.
  package var sightParameterCount: Int {
    sight?.weights(width: hiddenSize).reduce(0) { $0 + $1.shape.reduce(1, *) } ?? 0
  }

  /// The learned values that one token meets: all except those of the experts that it is not routed to.
  public var activeParameterCount: Int {
    parameterCount - 3 * layerCount * hiddenSize * intermediateSize * (isMixture ? expertCount - expertsPerToken : 0)
  }
}

/// Which of attention's products a learned vector is added to.
public enum AttentionBias: String, Sendable {
  case none
  /// Queries, keys and values (Qwen2).
  case inputs
  /// The output too (`attention_bias` of Llama and Qwen3).
  case inputsAndOutput

  package var isOnInputs: Bool { self != .none }
  package var isOnOutput: Bool { self == .inputsAndOutput }
}

extension ModelConfiguration {
  /// - Throws: `ConfigurationError` for a reward model, which has no logits.
  package func requireLogits(_ source: String) throws(ConfigurationError) {
    guard !scoresTexts else { throw .scoresTexts(source: source) }
  }

  /// The same model with a score in place of logits.
  package var scoring: ModelConfiguration {
    var scoring = self
    scoring.scoresTexts = true
    scoring.tiesEmbeddings = false
    return scoring
  }
}

// MARK: - Models by name

extension ModelConfiguration {
  /// The names that `named(_:)` knows, smallest model first.
  public static let names = ["tiny", "small", "minimind-3", "moe", "base", "minimind-3-moe"]

  /// The models of MiniMind by name, `minimind-3` and `minimind-3-moe` as its versions of 2026 have them, the others as v1
  /// had them; and `tiny` for demonstrations and tests.
  ///
  /// - Throws: `ConfigurationError.unknownName`, which suggests the nearest name.
  public static func named(_ name: String) throws(ConfigurationError) -> ModelConfiguration {
    switch name {
    case "tiny":
      return ModelConfiguration(hiddenSize: 256, layerCount: 5, headCount: 8, keyValueHeadCount: 4)
    case "small":
      return ModelConfiguration(hiddenSize: 512, layerCount: 8, headCount: 16, keyValueHeadCount: 8)
    case "base":
      return ModelConfiguration(hiddenSize: 768, layerCount: 16, headCount: 16, keyValueHeadCount: 8)
    case "minimind-3", "minimind-3-moe":
      // Its width inside is 64·⌈π·768/64⌉.
      var configuration = ModelConfiguration(
        hiddenSize: 768, layerCount: 8, headCount: 8, keyValueHeadCount: 4, intermediateSize: 2432)
      configuration.normalizesQueriesAndKeys = true
      configuration.rmsNormEpsilon = 1e-6
      configuration.ropeTheta = 1e6
      guard name == "minimind-3-moe" else { return configuration }
      configuration.expertCount = 4
      configuration.expertsPerToken = 1
      configuration.balanceLossWeight = 5e-4
      return configuration
    case "moe":
      var configuration = ModelConfiguration(hiddenSize: 512, layerCount: 8, headCount: 16, keyValueHeadCount: 8)
      configuration.expertCount = 4
      configuration.expertsPerToken = 2
      configuration.sharedExpertCount = 1
      return configuration
    default:
      throw ConfigurationError.unknownName(name, nearest: nearestName(to: name.lowercased(), among: names))
    }
  }
}

// MARK: - Checks

extension ModelConfiguration {
  /// Refuses shapes that no model can have, or that are too large to be meant.
  ///
  /// The bounds also keep every product of sizes inside 64 bits.
  ///
  /// - Parameter source: the file, or the model's name, that the message begins with.
  public func validate(source: String) throws(ConfigurationError) {
    let bounds: [(name: String, value: Int, limit: Int)] = [
      ("hidden_size", hiddenSize, 1 << 17), ("num_hidden_layers", layerCount, 1 << 10),
      ("num_attention_heads", headCount, 1 << 12), ("num_key_value_heads", keyValueHeadCount, 1 << 12),
      ("head_dim", headSize, 1 << 12), ("intermediate_size", intermediateSize, 1 << 20),
      ("vocab_size", vocabularySize, 1 << 24), ("max_position_embeddings", maximumSequenceLength, 1 << 24),
    ]
    for bound in bounds where bound.value < 1 || bound.value > bound.limit {
      throw .invalid(source: source, fault: "\(bound.name) is \(bound.value), expected 1 to \(bound.limit)")
    }
    guard headCount % keyValueHeadCount == 0 else {
      throw .invalid(
        source: source,
        fault: "num_attention_heads \(headCount) is not a multiple of num_key_value_heads \(keyValueHeadCount)")
    }
    guard headSize % 2 == 0 else {
      throw .invalid(source: source, fault: "head_dim is \(headSize), an even number is needed for rotary embedding")
    }
    guard ropeTheta.isFinite, ropeTheta > 0 else {
      throw .invalid(source: source, fault: "rope_theta is \(ropeTheta), a positive number is needed")
    }
    try validateRotaryScaling(source: source)
    guard rmsNormEpsilon.isFinite, rmsNormEpsilon > 0 else {
      throw .invalid(source: source, fault: "rms_norm_eps is \(rmsNormEpsilon), a positive number is needed")
    }
    for token in endTokenIDs + (beginTokenID.map { [$0] } ?? []) where token < 0 || token >= vocabularySize {
      throw .invalid(source: source, fault: "token \(token) is outside the vocabulary of \(vocabularySize)")
    }
    if let slidingWindow, slidingWindow < 1 {
      throw .invalid(source: source, fault: "sliding_window is \(slidingWindow), a positive number is needed")
    }
    guard !(normalizesQueriesAndKeys && attentionBias == .inputs) else {
      throw .invalid(
        source: source, fault: "norms of queries and keys with biases on them and not on the output are not supported")
    }
    guard slidingWindow == nil || !normalizesQueriesAndKeys && attentionBias == .none && !isMixture else {
      throw .invalid(source: source, fault: "a sliding window is supported in a plain Llama (Mistral) only")
    }
    try validateMixture(source: source)
    try sight?.validate(source: source, vocabularySize: vocabularySize)
  }

  /// Ernie 4.5's mixtures may have shared experts, Qwen3's norms, biases and weights that are not normalised. Others have
  /// no name.
  private func validateMixture(source: String) throws(ConfigurationError) {
    guard expertCount != 0 else { return }
    guard (1...1 << 8).contains(expertCount), (1...expertCount).contains(expertsPerToken) else {
      throw .invalid(
        source: source,
        fault: "\(expertsPerToken) of \(expertCount) experts for each token is not possible; expected 1 to 256 experts")
    }
    guard (0...1 << 8).contains(sharedExpertCount) else {
      throw .invalid(source: source, fault: "moe_num_shared_experts is \(sharedExpertCount), expected 0 to 256")
    }
    guard balanceLossWeight.isFinite, balanceLossWeight >= 0 else {
      throw .invalid(source: source, fault: "router_aux_loss_coef is \(balanceLossWeight), expected 0 or more")
    }
    guard normalizesQueriesAndKeys || attentionBias == .none && normalizesExpertWeights else {
      throw .invalid(
        source: source,
        fault: "a mixture of experts without norms of queries and keys has no biases, and weights of experts that are "
          + "divided by their sum")
    }
    guard !normalizesQueriesAndKeys || sharedExpertCount == 0 else {
      throw .invalid(
        source: source, fault: "a mixture of experts with norms of queries and keys has no shared experts")
    }
  }
}

/// What can be wrong with a model's configuration.
public enum ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
  case unknownName(String, nearest: String?)
  case invalid(source: String, fault: String)
  case beyondWindow(tokens: Int, window: Int)
  /// A reward model where one that writes is wanted.
  case scoresTexts(source: String)

  public var description: String {
    switch self {
    case .unknownName(let name, let nearest):
      "there is no model named '\(name)'\(nearest.map { "; did you mean '\($0)'?" } ?? ".") "
        + "Known: \(ModelConfiguration.names.joined(separator: ", ")), or a config.json file."
    case .invalid(let source, let fault): "\(source): \(fault). Correct the file, or choose another model."
    case .scoresTexts(let source):
      "\(source) is a reward model, which scores answers and writes none. Choose the model that it was made from, or "
        + "score by: minimind eval reward --model \(source)"
    case .beyondWindow(let tokens, let window):
      "a context of \(tokens) tokens goes beyond the model's sliding window, which is supported up to its length only. "
        + "Choose at most \(window)."
    }
  }
}
