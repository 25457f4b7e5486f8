import Model

/// Small models for tests of inference.
public enum InferenceShapes {
  /// Shapes with odd sizes, shared and unshared heads, q/k normalisation, biases, and a separate output matrix.
  public static let all: [ModelConfiguration] = {
    var plain = ModelConfiguration(
      hiddenSize: 48, layerCount: 3, headCount: 4, keyValueHeadCount: 2, intermediateSize: 80, vocabularySize: 130)
    plain.maximumSequenceLength = 96
    var qwen = ModelConfiguration(
      hiddenSize: 40, layerCount: 2, headCount: 3, keyValueHeadCount: 1, headSize: 20, intermediateSize: 56,
      vocabularySize: 97)
    qwen.normalizesQueriesAndKeys = true
    qwen.tiesEmbeddings = false
    qwen.maximumSequenceLength = 96
    var mixture = plain
    (mixture.expertCount, mixture.expertsPerToken, mixture.sharedExpertCount) = (4, 2, 2)
    var withoutShared = qwen
    withoutShared.normalizesQueriesAndKeys = false
    (withoutShared.expertCount, withoutShared.expertsPerToken) = (5, 3)
    var biased = plain
    biased.attentionBias = .inputs
    var normalizedMixture = qwen
    (normalizedMixture.expertCount, normalizedMixture.expertsPerToken) = (4, 2)
    (normalizedMixture.normalizesExpertWeights, normalizedMixture.attentionBias) = (false, .inputsAndOutput)
    return [plain, qwen, mixture, withoutShared, biased, normalizedMixture]
  }()

  public static func parameters(_ shape: ModelConfiguration, seed: UInt64 = 7) throws -> Parameters {
    let parameters = try Parameters(configuration: shape, seed: seed)
    // Weights larger than a new model's, so that every part matters.
    for entry in parameters.table.entries {
      for index in entry.range {
        parameters.values[index] *= entry.role.isDecayed ? 6 : 1 + 0.01 * Float(index % 17)
        if entry.role.isBias { parameters.values[index] = 0.02 * Float(index % 17) - 0.15 }
      }
    }
    return parameters
  }

  public static func tokens(_ count: Int, _ shape: ModelConfiguration, seed: UInt64 = 3) -> [Int32] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Int32.random(in: 0..<Int32(shape.vocabularySize), using: &generator) }
  }
}

/// The largest |left - right|; infinity where the counts differ.
public func largestDifference(_ left: some Collection<Float>, _ right: some Collection<Float>) -> Float {
  zip(left, right).reduce(left.count == right.count ? 0 : .infinity) { max($0, abs($1.0 - $1.1)) }
}
