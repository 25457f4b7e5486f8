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
    model.loraPlaces.reduce(0) { sum, place in
      place.site.targets.filter(targets.contains).reduce(sum) {
        $0 + rank * (place.inputCount(model) + $1.outputCount(model, place.block))
      }
    } * model.layerCount
  }
}

/// The linear layers that can have an adapter, by their names in a checkpoint. In a mixture of experts gate, up and down
/// are those of every expert, routed and shared.
package enum LoRATarget: String, CaseIterable, Codable, Sendable {
  case query = "q_proj"
  case key = "k_proj"
  case value = "v_proj"
  case attentionOutput = "o_proj"
  case gate = "gate_proj"
  case up = "up_proj"
  case down = "down_proj"

  /// Those that are adapted where nothing else is asked for: all, and attention's alone in a mixture of experts, as `peft`
  /// has it there.
  package static func usual(in shape: ModelConfiguration) -> [LoRATarget] {
    allCases.filter { !shape.isMixture || !$0.site.isFeedForward }
  }

  /// The key of the weight in a layer.
  ///
  /// - Parameter block: which of the layer's blocks; no matter for attention.
  package func weightKey(_ layer: Int, _ shape: ModelConfiguration, _ block: FeedForwardBlock) -> String {
    let keys = ParameterKey.Layer(layer)
    let feedForward = if case .expert(let expert) = block { keys.expert(expert) } else { keys.feedForward(shape) }
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

  package func outputCount(_ shape: ModelConfiguration, _ block: FeedForwardBlock) -> Int {
    switch self {
    case .query: shape.querySize
    case .key, .value: shape.keyValueSize
    case .attentionOutput, .down: shape.hiddenSize
    case .gate, .up: shape.width(of: block)
    }
  }

  package var site: LoRASite { LoRASite.allCases.first { $0.targets.contains(self) }! }
}

/// The places in a block where linear layers read the same input: their base weights are one product, and their
/// adapters share one dropout and one product with all A.
package enum LoRASite: Int, CaseIterable, Sendable {
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

  package var isFeedForward: Bool { self == .feedForwardInput || self == .feedForwardOutput }
}

/// A site of a layer, in which of its blocks.
package struct LoRAPlace: Hashable, Sendable {
  package var site: LoRASite
  /// `.dense` for attention.
  package var block: FeedForwardBlock

  package init(site: LoRASite, block: FeedForwardBlock) {
    self.site = site
    self.block = block
  }

  package func inputCount(_ shape: ModelConfiguration) -> Int {
    switch site {
    case .attentionInput, .feedForwardInput: shape.hiddenSize
    case .attentionOutput: shape.querySize
    case .feedForwardOutput: shape.width(of: block)
    }
  }
}

extension ModelConfiguration {
  /// The sites of every layer, in the order of an adapter's weights.
  package var loraPlaces: [LoRAPlace] {
    var blocks: [FeedForwardBlock] = isMixture ? (0..<expertCount).map { .expert($0) } : [.dense]
    if isMixture && sharedExpertCount > 0 { blocks.insert(.shared, at: 0) }
    return [.attentionInput, .attentionOutput].map { LoRAPlace(site: $0, block: .dense) }
      + blocks.flatMap { block in
        [.feedForwardInput, .feedForwardOutput].map { LoRAPlace(site: $0, block: block) }
      }
  }

  /// The width inside a block.
  func width(of block: FeedForwardBlock) -> Int { block == .shared ? sharedIntermediateSize : intermediateSize }
}
