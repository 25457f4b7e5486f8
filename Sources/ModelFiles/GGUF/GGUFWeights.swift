import Model

extension ParameterTable {
  /// The tensors of a GGUF file of this model, named and arranged as llama.cpp's conversion/llama.py, qwen.py and
  /// ernie.py do. The experts of a layer are one tensor.
  func ggufWeights(of configuration: ModelConfiguration, _ architecture: GGUFArchitecture) -> [ForeignWeight] {
    func weight(_ role: ParameterRole, _ layer: Int? = nil) -> ForeignWeight? {
      entry(role, layer: layer).map { entry in
        let prefix = layer.map { "blk.\($0)." } ?? ""
        return ForeignWeight(
          prefix + role.ggufName + (role.isBias ? ".bias" : ".weight"), entry,
          adjacentPairs: architecture.rotatesAdjacentPairs)
      }
    }
    var weights = [weight(.embedding)]
    for layer in 0..<configuration.layerCount {
      let others: [ParameterRole] = [
        .query, .key, .value, .attentionOutput, .queryBias, .keyBias, .valueBias, .attentionOutputBias, .attentionNorm,
        .feedForwardNorm, .queryNorm, .keyNorm, .router,
      ]
      weights += others.map { weight($0, layer) }
      for role in [ParameterRole.gate, ParameterRole.down, ParameterRole.up] {
        weights += [weight(role(.dense), layer), weight(role(.shared), layer)]
        let experts = (0..<configuration.expertCount).compactMap { entry(role(.expert($0)), layer: layer) }
        guard let first = experts.first else { continue }
        weights.append(
          ForeignWeight(
            name: "blk.\(layer).\(first.role.ggufName).weight", shape: [experts.count] + first.shape, entries: experts))
      }
    }
    weights += [weight(.finalNorm), weight(.output)]
    return weights.compactMap { $0 }
  }
}

extension ParameterRole {
  /// The name of a tensor in a GGUF file, without its layer.
  fileprivate var ggufName: String {
    switch self {
    case .embedding: "token_embd"
    case .output: "output"
    case .attentionNorm: "attn_norm"
    case .feedForwardNorm: "ffn_norm"
    case .finalNorm: "output_norm"
    case .queryNorm: "attn_q_norm"
    case .keyNorm: "attn_k_norm"
    case .query, .queryBias: "attn_q"
    case .key, .keyBias: "attn_k"
    case .value, .valueBias: "attn_v"
    case .attentionOutput, .attentionOutputBias: "attn_output"
    case .router: "ffn_gate_inp"
    case .gate(let block): "ffn_gate" + block.ggufSuffix
    case .up(let block): "ffn_up" + block.ggufSuffix
    case .down(let block): "ffn_down" + block.ggufSuffix
    case .loraA, .loraB: preconditionFailure("an adapter is merged before it is written as GGUF")
    case .projector, .tower: preconditionFailure("a GGUF file of a language model has no \(self)")
    }
  }
}

extension FeedForwardBlock {
  fileprivate var ggufSuffix: String {
    switch self {
    case .dense: ""
    case .shared: "_shexp"
    case .expert: "_exps"
    }
  }
}
