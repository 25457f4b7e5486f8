/// What a weight of a tower is for.
package enum TowerPart: Hashable, Sendable, CaseIterable {
  /// [hidden] the row before the patches.
  case classToken
  /// [hidden, 3, patchSize, patchSize], [hidden] the product that makes rows of patches.
  case patch, patchBias
  /// [rows, hidden] what is added to the row at each place.
  case position
  /// [hidden] the norm of the rows before the first layer, and the one after the last.
  case firstNorm, firstNormBias, finalNorm, finalNormBias
  /// [hidden] of a layer.
  case attentionNorm, attentionNormBias, feedForwardNorm, feedForwardNormBias
  /// [hidden, hidden], [hidden]
  case query, key, value, attentionOutput, queryBias, keyBias, valueBias, attentionOutputBias
  /// [intermediate, hidden], [intermediate]
  case up, upBias
  /// [hidden, intermediate], [hidden]
  case down, downBias

  package var isNorm: Bool {
    switch self {
    case .firstNorm, .finalNorm, .attentionNorm, .feedForwardNorm: true
    default: false
    }
  }

  package var isBias: Bool {
    switch self {
    case .patchBias, .firstNormBias, .finalNormBias, .attentionNormBias, .feedForwardNormBias, .queryBias, .keyBias,
      .valueBias, .attentionOutputBias, .upBias, .downBias:
      true
    default: false
    }
  }
}

/// What a weight of a projector is for.
package enum ProjectorPart: Hashable, Sendable {
  /// [inputs] the norm of the tower's rows.
  case norm, normBias
  /// [width, inputs], [width]
  case first, firstBias
  /// [width, width], [width] after the activation.
  case second, secondBias
}

extension SightConfiguration {
  /// A weight of a projector or a tower, before it has a place.
  package struct Weight {
    package var key: String
    package var role: ParameterRole
    package var shape: [Int]
    /// Whether it follows the weight before it without a gap.
    package var isJoined = false
  }

  /// The weights in their order, the projector's first.
  ///
  /// - Parameter width: the language model's hiddenSize.
  package func weights(width: Int) -> [Weight] { projectorWeights(width: width) + tower.weights }

  private func projectorWeights(width: Int) -> [Weight] {
    let prefix = "multi_modal_projector."
    func pair(_ name: String, _ role: ProjectorPart, _ bias: ProjectorPart, _ shape: [Int]) -> [Weight] {
      [
        Weight(key: prefix + name + ".weight", role: .projector(role), shape: shape),
        Weight(key: prefix + name + ".bias", role: .projector(bias), shape: [shape[0]]),
      ]
    }
    let inputs = projectorInputSize
    return (projector.kind == .normalizedMLP ? pair("layer_norm", .norm, .normBias, [inputs]) : [])
      + pair("linear_1", .first, .firstBias, [width, inputs])
      + (projector.kind == .linear ? [] : pair("linear_2", .second, .secondBias, [width, width]))
  }
}

extension VisionTowerConfiguration {
  /// What the names of a tower's weights begin with in a whole model; alone they lack "vision_tower.".
  package static let prefix = "vision_tower.vision_model."

  /// The weights of the tower in their order.
  package var weights: [SightConfiguration.Weight] {
    var weights: [SightConfiguration.Weight] = []
    func add(_ name: String, _ part: TowerPart, _ shape: Int..., block: Int? = nil, isJoined: Bool = false) {
      weights.append(
        .init(key: Self.prefix + name, role: .tower(part, block: block), shape: shape, isJoined: isJoined))
    }
    func addNorm(_ name: String, _ weight: TowerPart, _ bias: TowerPart, block: Int? = nil) {
      add(name + ".weight", weight, hiddenSize, block: block)
      add(name + ".bias", bias, hiddenSize, block: block)
    }
    if hasClassToken { add("embeddings.class_embedding", .classToken, hiddenSize) }
    add("embeddings.patch_embedding.weight", .patch, hiddenSize, 3, patchSize, patchSize)
    if kind == .siglip { add("embeddings.patch_embedding.bias", .patchBias, hiddenSize) }
    add("embeddings.position_embedding.weight", .position, rowCount, hiddenSize)
    if kind == .clip { addNorm("pre_layrnorm", .firstNorm, .firstNormBias) }
    for layer in 0..<layerCount {
      let name = "encoder.layers.\(layer)."
      addNorm(name + "layer_norm1", .attentionNorm, .attentionNormBias, block: layer)
      let products: [(String, TowerPart, TowerPart)] = [
        ("q", .query, .queryBias), ("k", .key, .keyBias), ("v", .value, .valueBias),
      ]
      for (letter, part, _) in products {
        add(
          name + "self_attn.\(letter)_proj.weight", part, hiddenSize, hiddenSize, block: layer, isJoined: letter != "q")
      }
      for (letter, _, part) in products {
        add(name + "self_attn.\(letter)_proj.bias", part, hiddenSize, block: layer, isJoined: letter != "q")
      }
      add(name + "self_attn.out_proj.weight", .attentionOutput, hiddenSize, hiddenSize, block: layer)
      add(name + "self_attn.out_proj.bias", .attentionOutputBias, hiddenSize, block: layer)
      addNorm(name + "layer_norm2", .feedForwardNorm, .feedForwardNormBias, block: layer)
      add(name + "mlp.fc1.weight", .up, intermediateSize, hiddenSize, block: layer)
      add(name + "mlp.fc1.bias", .upBias, intermediateSize, block: layer)
      add(name + "mlp.fc2.weight", .down, hiddenSize, intermediateSize, block: layer)
      add(name + "mlp.fc2.bias", .downBias, hiddenSize, block: layer)
    }
    addNorm("post_layernorm", .finalNorm, .finalNormBias)
    return weights
  }
}
