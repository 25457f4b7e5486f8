import Model

extension ParameterTable {
  /// The weights of a checkpoint of this model, in v1's order, or in that of this table, those of a projector last. The embedding
  /// has a second name there, that of the output. A tower has files of its own.
  func miniMindWeights(of configuration: ModelConfiguration, _ version: MiniMindVersion) -> [ForeignWeight] {
    guard version == .v1 else {
      return entries.filter { !$0.role.isTower }
        .map { ForeignWeight(version.name(of: $0), $0, adjacentPairs: false) }
    }
    func weight(_ role: ParameterRole, _ layer: Int? = nil) -> ForeignWeight? {
      entry(role, layer: layer).map { ForeignWeight(version.name(of: $0), $0, adjacentPairs: true) }
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
    weights += [weight(.projector(.first)), weight(.projector(.firstBias))]
    return weights.compactMap { $0 }
  }
}

extension ParameterRole {
  /// The name of a weight in MiniMind v1's model, without its layer.
  var miniMindV1Name: String {
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
    case .output, .queryNorm, .keyNorm, .queryBias, .keyBias, .valueBias, .attentionOutputBias, .loraA, .loraB,
      .projector, .tower:
      preconditionFailure("MiniMind v1 has no \(self)")
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
