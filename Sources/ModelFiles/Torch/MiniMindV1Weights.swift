import Model

extension ParameterTable {
  /// The weights of a MiniMind v1 checkpoint of this model, in its order. The embedding is also `output.weight` there.
  func miniMindV1Weights(of configuration: ModelConfiguration) -> [ForeignWeight] {
    func weight(_ role: ParameterRole, _ layer: Int? = nil) -> ForeignWeight? {
      entry(role, layer: layer).map { entry in
        let prefix = layer.map { "layers.\($0)." } ?? ""
        return ForeignWeight(prefix + role.miniMindV1Name + ".weight", entry, adjacentPairs: true)
      }
    }
    func block(_ block: FeedForwardBlock, _ layer: Int) -> [ForeignWeight?] {
      [weight(.gate(block), layer), weight(.down(block), layer), weight(.up(block), layer)]
    }
    var weights = [weight(.embedding)]
    for layer in 0..<configuration.layerCount {
      let attention: [ParameterRole] = [
        .query, .key, .value, .attentionOutput, .attentionNorm, .feedForwardNorm,
      ]
      weights += attention.map { weight($0, layer) }
      weights += block(.dense, layer)
      for expert in 0..<configuration.expertCount { weights += block(.expert(expert), layer) }
      weights.append(weight(.router, layer))
      weights += block(.shared, layer)
    }
    weights.append(weight(.finalNorm))
    return weights.compactMap { $0 }
  }
}

/// Names of whole weights in MiniMind v1's checkpoints.
enum MiniMindV1Name {
  static let embedding = "tok_embeddings.weight"
  static let output = "output.weight"
}

extension ParameterRole {
  /// The name of a weight in MiniMind v1's model, without its layer.
  fileprivate var miniMindV1Name: String {
    switch self {
    case .embedding: "tok_embeddings"
    case .attentionNorm: "attention_norm"
    case .feedForwardNorm: "ffn_norm"
    case .finalNorm: "norm"
    case .query: "attention.wq"
    case .key: "attention.wk"
    case .value: "attention.wv"
    case .attentionOutput: "attention.wo"
    case .router: "feed_forward.gate"
    case .gate(let block): block.miniMindV1Name + ".w1"
    case .down(let block): block.miniMindV1Name + ".w2"
    case .up(let block): block.miniMindV1Name + ".w3"
    case .output, .queryNorm, .keyNorm, .loraA, .loraB: preconditionFailure("MiniMind v1 has no \(self)")
    }
  }
}

extension FeedForwardBlock {
  fileprivate var miniMindV1Name: String {
    switch self {
    case .dense: "feed_forward"
    case .shared: "feed_forward.shared_experts"
    case .expert(let expert): "feed_forward.experts.\(expert)"
    }
  }
}
