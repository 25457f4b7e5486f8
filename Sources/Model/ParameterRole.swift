/// What a weight is for. Rules about weights are switches over it, which the compiler checks for completeness; a
/// weight's key is only its name.
package enum ParameterRole: Hashable, Sendable {
  /// [vocabulary, hidden]
  case embedding
  /// [vocabulary, hidden] the output matrix of a model that has one of its own, [1, hidden] of a reward model.
  case output
  /// [hidden]
  case attentionNorm, feedForwardNorm, finalNorm
  /// [headSize]
  case queryNorm, keyNorm
  /// [heads · headSize], [keyValueHeads · headSize] what is added to queries, and to keys and values.
  case queryBias, keyBias, valueBias
  /// [hidden] what is added to attention's output.
  case attentionOutputBias
  /// [heads · headSize, hidden]
  case query
  /// [keyValueHeads · headSize, hidden]
  case key, value
  /// [hidden, heads · headSize]
  case attentionOutput
  /// [experts, hidden] whose products with a token say which experts it takes.
  case router
  /// [intermediate, hidden]
  case gate(FeedForwardBlock)
  case up(FeedForwardBlock)
  /// [hidden, intermediate]
  case down(FeedForwardBlock)
  /// A [rank, inputs] and B [outputs, rank] of an adapter on a linear layer.
  case loraA(LoRATarget, of: FeedForwardBlock = .dense)
  case loraB(LoRATarget, of: FeedForwardBlock = .dense)
  /// Of what lies between a tower and the model.
  case projector(ProjectorPart)
  /// Of a tower that sees; of one of its layers, from 0, or outside of them.
  case tower(TowerPart, block: Int? = nil)

  package var isTower: Bool { if case .tower = self { true } else { false } }
}

/// How a weight begins.
package enum InitialValues: Equatable, Sendable {
  case all(Float)
  /// Around 0.
  case normal(deviation: Double)
}

/// Which SwiGLU block of a layer.
package enum FeedForwardBlock: Hashable, Sendable {
  /// The only one of a dense model.
  case dense
  /// The shared experts of a mixture, as one.
  case shared
  /// A routed expert, from 0.
  case expert(Int)
}

extension ParameterRole {
  package var isNorm: Bool {
    switch self {
    case .attentionNorm, .feedForwardNorm, .finalNorm, .queryNorm, .keyNorm: true
    case .projector(let part): part == .norm
    case .tower(let part, _): part.isNorm
    case .queryBias, .keyBias, .valueBias, .attentionOutputBias, .embedding, .output, .query, .key, .value,
      .attentionOutput, .router, .gate, .up, .down, .loraA, .loraB:
      false
    }
  }

  package var isBias: Bool {
    switch self {
    case .queryBias, .keyBias, .valueBias, .attentionOutputBias: true
    case .projector(let part): part == .normBias || part == .firstBias || part == .secondBias
    case .tower(let part, _): part.isBias
    case .attentionNorm, .feedForwardNorm, .finalNorm, .queryNorm, .keyNorm, .embedding, .output, .query, .key, .value,
      .attentionOutput, .router, .gate, .up, .down, .loraA, .loraB:
      false
    }
  }

  /// Whether the optimizer's weight decay applies: to every matrix, and to no norm or bias.
  package var isDecayed: Bool { !isNorm && !isBias }

  /// Whether an engine keeps the weight in fp32 whatever the precision of the others: norms and biases are small, a router's
  /// rounding would send tokens to other experts, and a tower's class token and positions enter no product.
  package var keptInFloat32: Bool {
    isNorm || isBias || self == .router || self == .tower(.classToken) || self == .tower(.position)
  }

  /// What a new weight is.
  ///
  /// MiniMind scales `attentionOutput` and `up` (its wo and w3) down by √(2·layers), which keeps the variance of the
  /// residual stream from growing with depth. GPT-2 scales `down` in place of `up`; the effect is the same, since the
  /// block's output is linear in `up`.
  ///
  /// What sees begins as large as it is for the next matrix to be as large (LeCun et al. 1998, "Efficient BackProp"), as
  /// SigLIP's tower does: a picture's rows get nothing from an embedding table that would grow with the first steps.
  ///
  /// - Parameter columns: of the weight.
  /// - Precondition: a weight of a model; an adapter's begin in another way.
  package func initialValues(columns: Int, layerCount: Int) -> InitialValues {
    switch self {
    case .attentionNorm, .feedForwardNorm, .finalNorm, .queryNorm, .keyNorm: .all(1)
    case .queryBias, .keyBias, .valueBias, .attentionOutputBias: .all(0)
    case .attentionOutput, .up: .normal(deviation: 0.02 / (2 * Double(layerCount)).squareRoot())
    case .embedding, .output, .query, .key, .value, .router, .gate, .down: .normal(deviation: 0.02)
    // As strong as what a patch shows. At 1/√columns a tower takes twice as many steps to tell where something is.
    case .tower(.position, _): .normal(deviation: 1)
    case .projector, .tower:
      isNorm ? .all(1) : isBias ? .all(0) : .normal(deviation: 1 / Double(columns).squareRoot())
    case .loraA, .loraB: preconditionFailure("an adapter's weights have no normal deviation")
    }
  }

  /// Whether rotary embedding turns the outputs of the matrix, or what is added to them, so that the order of its rows
  /// differs between formats.
  package var isRotated: Bool {
    switch self {
    case .query, .key, .queryBias, .keyBias, .loraB(.query, _), .loraB(.key, _): true
    case .valueBias, .attentionOutputBias, .embedding, .output, .attentionNorm, .feedForwardNorm, .finalNorm,
      .queryNorm, .keyNorm, .value,
      .attentionOutput, .router, .gate, .up, .down, .loraA, .loraB, .projector, .tower:
      false
    }
  }
}
