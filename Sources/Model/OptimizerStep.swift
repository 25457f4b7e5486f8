/// Which rule moves the weights.
package enum OptimizerKind: String, Codable, CaseIterable, Sendable {
  /// AdamW for all of them.
  case adamW = "adamw"
  /// Muon for the matrices inside the layers; AdamW for embedding, output, norms and biases, whose gradients are not those of a
  /// map from vectors to vectors.
  case muon
}

/// One step of the optimizer: AdamW's numbers, and Muon's for the matrices that it moves.
package struct OptimizerStep: Sendable {
  /// Loshchilov & Hutter 2019, arXiv 1711.05101. The decay is decoupled, for matrices only.
  package struct AdamW: Sendable {
    package var learningRate, beta1, beta2, epsilon, weightDecay: Double

    package init(learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double) {
      self.learningRate = learningRate
      self.beta1 = beta1
      self.beta2 = beta2
      self.epsilon = epsilon
      self.weightDecay = weightDecay
    }
  }

  /// Jordan et al. 2024, with the scale of Liu et al. 2025, arXiv 2502.16982.
  package struct Muon: Sendable {
    package var learningRate, weightDecay: Double

    package init(learningRate: Double, weightDecay: Double) {
      self.learningRate = learningRate
      self.weightDecay = weightDecay
    }
  }

  /// From 1: corrects the bias of AdamW's moments.
  package var number: Int
  /// What the gradients are multiplied by first: makes a mean of a sum, and clips.
  package var gradientScale: Double
  package var adamW: AdamW
  package var muon: Muon

  package init(number: Int, gradientScale: Double, adamW: AdamW, muon: Muon) {
    self.number = number
    self.gradientScale = gradientScale
    self.adamW = adamW
    self.muon = muon
  }
}

extension ParameterEntry {
  /// Whether Muon moves this matrix: one that turns one vector inside a layer into another, attention's and
  /// feed-forward's projections. A router's is not, since its outputs are compared with each other.
  /// A's and B's product is such a matrix, but neither of them is; embedding and output are tables by token. What sees is
  /// left to AdamW.
  package func isMovedByMuon(_ kind: OptimizerKind) -> Bool {
    guard kind == .muon else { return false }
    return switch role {
    case .query, .key, .value, .attentionOutput, .gate, .up, .down: true
    case .embedding, .output, .attentionNorm, .feedForwardNorm, .finalNorm, .queryNorm, .keyNorm, .queryBias, .keyBias,
      .valueBias, .attentionOutputBias, .router, .loraA, .loraB,
      .projector, .tower:
      false
    }
  }
}
