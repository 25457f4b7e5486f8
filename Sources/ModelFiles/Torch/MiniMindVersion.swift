import Model

/// The versions of MiniMind, as the keys of a checkpoint show them, with what each has where the file is silent.
enum MiniMindVersion: String, CaseIterable {
  /// Of 2024, with names of its own.
  case v1 = "MiniMind v1"
  /// Of 2025: the names of Hugging Face's Llama.
  case v2 = "MiniMind2"
  /// Of 2026: those of Qwen3, with norms of queries and keys.
  case v3 = "MiniMind 3"

  /// - Parameter weights: by their names, without prefixes.
  init(weights: [String: TorchCheckpoint.Tensor]) {
    let hasNorms = weights[ParameterKey.Layer(0).queryNorm] != nil
    self = weights[ParameterKey.embedding] == nil ? .v1 : hasNorms ? .v3 : .v2
  }

  /// The one that may express a model; `check` says whether it does.
  init(of configuration: ModelConfiguration) {
    self = configuration.normalizesQueriesAndKeys ? .v3 : configuration.ropeTheta == Self.v2.ropeTheta ? .v2 : .v1
  }

  /// Query heads; those of MiniMind 3 follow from its norms.
  var headCount: Int { self == .v1 ? 16 : 8 }
  /// Key/value heads of a model with `headCount` heads.
  var keyValueHeadCount: Int { [.v1: 8, .v2: 2, .v3: 4][self]! }
  var expertsPerToken: Int { self == .v3 ? 1 : 2 }
  var ropeTheta: Double { self == .v1 ? 10_000 : 1_000_000 }
  var rmsNormEpsilon: Float { self == .v3 ? 1e-6 : 1e-5 }
  /// The longest context: of v1 as it trains, later as its configuration says.
  var contextLength: Int { self == .v1 ? 512 : 32_768 }
  var balanceLossWeight: Double { self == .v3 ? 5e-4 : 0.01 }

  var embedding: String { self == .v1 ? "tok_embeddings.weight" : ParameterKey.embedding }
  var output: String { self == .v1 ? "output.weight" : ParameterKey.output }

  /// The name of a weight, which is none of a tower's.
  func name(of entry: ParameterEntry) -> String {
    if case .projector(let part) = entry.role { return sight.name(of: part) }
    if self == .v1 { return (entry.layer.map { "layers.\($0)." } ?? "") + entry.role.miniMindV1Name + ".weight" }
    // Its shared experts are a list, of one.
    guard entry.role.isShared else { return entry.key }
    return entry.key.split(separator: ".", omittingEmptySubsequences: false)
      .map { $0 == "shared_experts" ? "shared_experts.0" : $0 }.joined(separator: ".")
  }

  /// Refuses a model that a checkpoint of this version cannot express: these settings are fixed in its code, or the file
  /// does not say them.
  ///
  /// - Parameter path: the file that would be written, for the message.
  func check(_ configuration: ModelConfiguration, path: String) throws(ModelFileError) {
    try configuration.refuseScores(path: path)
    let headSize = configuration.headSize
    let differences: [(isOther: Bool, text: String)] = [
      (!configuration.tiesEmbeddings, "an output matrix of its own"),
      (configuration.attentionBias != .none, "biases"), (configuration.slidingWindow != nil, "a sliding window"),
      (
        self != .v3 && configuration.querySize != configuration.hiddenSize,
        "heads of \(headSize) that do not add up to its width of \(configuration.hiddenSize)"
      ),
      (configuration.ropeTheta != ropeTheta, "the rotary base \(configuration.ropeTheta)"),
      (configuration.rmsNormEpsilon != rmsNormEpsilon, "the epsilon \(configuration.rmsNormEpsilon)"),
      (configuration.rotaryScaling != .none, "rotary scaling"),
      (
        configuration.isMixture && configuration.sharedExpertCount > 1,
        "\(configuration.sharedExpertCount) shared experts"
      ),
      (!configuration.normalizesExpertWeights, "weights of experts that are not divided by their sum"),
    ]
    if let difference = differences.first(where: \.isOther) {
      throw .unsupported(
        path: path, feature: "\(rawValue) has no model with \(difference.text); choose --format hf or gguf")
    }
    if let sight = configuration.sight { try self.sight.check(sight, self, path: path) }
  }
}

extension ParameterRole {
  fileprivate var isShared: Bool {
    switch self {
    case .gate(.shared), .up(.shared), .down(.shared): true
    default: false
    }
  }
}
