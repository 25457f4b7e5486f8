import Model

/// Shapes that exercise each switch of the configuration; all small enough for the plain model.
public enum ModelVariant: String, CaseIterable, Sendable {
  case tied, untied, normalizedHeads, wideHeads, oneGroup, mixture, mixtureOfOne, mixtureWithoutShared
  case biases, normalizedHeadsWithBiases, normalizedMixture, normalizedMixtureOfOne

  public var configuration: ModelConfiguration {
    var shape = ModelConfiguration(
      hiddenSize: 24, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headSize: 6, intermediateSize: 40,
      vocabularySize: 53)
    switch self {
    case .tied: break
    case .untied: shape.tiesEmbeddings = false
    case .normalizedHeads: shape.normalizesQueriesAndKeys = true
    case .wideHeads: shape.headSize = 16
    case .oneGroup: shape.keyValueHeadCount = 1
    case .mixture: (shape.expertCount, shape.expertsPerToken, shape.sharedExpertCount) = (4, 2, 2)
    case .mixtureOfOne: (shape.expertCount, shape.expertsPerToken, shape.sharedExpertCount) = (1, 1, 1)
    case .mixtureWithoutShared: (shape.expertCount, shape.expertsPerToken) = (5, 3)
    case .biases: shape.attentionBias = .inputs
    case .normalizedHeadsWithBiases: (shape.normalizesQueriesAndKeys, shape.attentionBias) = (true, .inputsAndOutput)
    case .normalizedMixture:
      (shape.normalizesQueriesAndKeys, shape.attentionBias) = (true, .inputsAndOutput)
      (shape.expertCount, shape.expertsPerToken, shape.normalizesExpertWeights) = (4, 2, false)
    case .normalizedMixtureOfOne:
      (shape.normalizesQueriesAndKeys, shape.expertCount, shape.expertsPerToken) = (true, 4, 1)
    }
    // Enough for its gradient to be seen.
    shape.balanceLossWeight = 0.7
    return shape
  }

  /// Weights large enough that every part of the model matters to the loss.
  public func parameters() throws -> Parameters {
    let parameters = try Parameters(configuration: configuration, seed: 7)
    var generator = SeededGenerator(seed: 8)
    for entry in parameters.table.entries {
      for index in entry.range {
        parameters.values[index] =
          entry.role.isDecayed
          ? parameters.values[index] * 10
          : (entry.role.isNorm ? 1 : 0) + Float.random(in: -0.3...0.3, using: &generator)
      }
    }
    return parameters
  }
}
