/// Low-rank adapters of linear layers: Hu et al. 2021, "LoRA" (arXiv 2106.09685).
///
///     y = x·Wᵀ + (alpha/rank)·dropout(x)·Aᵀ·Bᵀ        A [rank, inputs], B [outputs, rank], W frozen
package struct LoRAConfiguration: Sendable, Equatable {
  /// Directions of x that A projects onto; 1 or more.
  package var rank: Int
  package var alpha: Double
  /// The share of x that each step leaves out, in 0..<1; none outside of training.
  package var dropout: Double
  /// Without repetition, in the order of `LoRATarget.allCases`.
  package let targets: [LoRATarget]

  package init(rank: Int, alpha: Double, dropout: Double, targets: [LoRATarget] = LoRATarget.allCases) {
    self.rank = rank
    self.alpha = alpha
    self.dropout = dropout
    self.targets = LoRATarget.allCases.filter(targets.contains)
  }

  /// Hu et al. and v1: twice the usual rank.
  package static let usualAlpha = 16.0
  package static let usualDropout = 0.1

  /// What the product of A and B is multiplied by.
  package var scale: Float { Float(alpha / Double(rank)) }

  /// The number of values that are trained on such a model.
  package func parameterCount(_ model: ModelConfiguration) -> Int {
    targets.reduce(0) { $0 + rank * ($1.inputCount(model) + $1.outputCount(model)) } * model.layerCount
  }
}

/// The linear layers that can have an adapter, by their names in a checkpoint. In a mixture of experts those of attention
/// alone: to PEFT, gate, up and down there mean the routed experts, which are no linear layers in `transformers`.
package enum LoRATarget: String, CaseIterable, Codable, Sendable {
  case query = "q_proj"
  case key = "k_proj"
  case value = "v_proj"
  case attentionOutput = "o_proj"
  case gate = "gate_proj"
  case up = "up_proj"
  case down = "down_proj"

  /// The key of the weight in a layer.
  package func weightKey(_ layer: Int, _ shape: ModelConfiguration) -> String {
    let keys = ParameterKey.Layer(layer)
    let feedForward = keys.feedForward(shape)
    return switch self {
    case .query: keys.query
    case .key: keys.key
    case .value: keys.value
    case .attentionOutput: keys.attentionOutput
    case .gate: feedForward.gate
    case .up: feedForward.up
    case .down: feedForward.down
    }
  }

  package func inputCount(_ shape: ModelConfiguration) -> Int { site.inputCount(shape) }

  package func outputCount(_ shape: ModelConfiguration) -> Int {
    switch self {
    case .query: shape.querySize
    case .key, .value: shape.keyValueSize
    case .attentionOutput, .down: shape.hiddenSize
    case .gate, .up: shape.intermediateSize
    }
  }

  /// Whether this layer of such a model can have an adapter.
  package func exists(in shape: ModelConfiguration) -> Bool {
    !shape.isMixture || site == .attentionInput || site == .attentionOutput
  }

  package var site: LoRASite { LoRASite.allCases.first { $0.targets.contains(self) }! }
}

/// The places in a layer where linear layers read the same input: their base weights are one product, and their
/// adapters share one dropout and one product with all A.
package enum LoRASite: Int, CaseIterable {
  case attentionInput, attentionOutput, feedForwardInput, feedForwardOutput

  /// In the order of the columns of the base product.
  package var targets: [LoRATarget] {
    switch self {
    case .attentionInput: [.query, .key, .value]
    case .attentionOutput: [.attentionOutput]
    case .feedForwardInput: [.gate, .up]
    case .feedForwardOutput: [.down]
    }
  }

  package func inputCount(_ shape: ModelConfiguration) -> Int {
    switch self {
    case .attentionInput, .feedForwardInput: shape.hiddenSize
    case .attentionOutput: shape.querySize
    case .feedForwardOutput: shape.intermediateSize
    }
  }
}
