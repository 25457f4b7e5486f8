import Model

/// The rotary scaling of a GGUF file: settings, or a tensor of factors, one for each pair of dimensions.
enum GGUFRotaryScaling {
  /// What the pairs' frequencies are divided by, in Llama 3.1 and later.
  static let factorsName = "rope_freqs.weight"

  /// - Throws: `ModelFileError` for a kind that is not supported.
  static func read(
    _ file: GGUFFile, _ architecture: GGUFArchitecture, _ configuration: ModelConfiguration
  ) throws -> RotaryScaling {
    let metadata = file.metadata
    func key(_ name: String) -> String { "\(architecture.rawValue).rope.\(name)" }
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: file.path, feature: text) }
    let stored = try settings(metadata, key, trainedLength: configuration.maximumSequenceLength)
    guard let tensor = file.tensor(factorsName) else { return stored }
    guard stored == .none else { throw refuse("'\(factorsName)' beside \(key("scaling.type")) is not supported") }
    guard tensor.shape == [configuration.headSize / 2] else {
      throw ModelFileError.contradiction(
        "\(file.path): '\(factorsName)' is \(tensor.shape), and heads of \(configuration.headSize) need "
          + "[\(configuration.headSize / 2)].")
    }
    var factors = [Float](repeating: 0, count: tensor.count)
    file.copy(tensor, to: &factors)
    let original = try metadata.integer(key("scaling.original_context_length"), default: 8192)
    guard let scaling = llama3(factors, configuration, likelyLength: original) else {
      throw refuse("the factors in '\(factorsName)' are not those of Llama 3, and others are not supported")
    }
    return scaling
  }

  private static func settings(
    _ metadata: GGUFMetadata, _ key: (String) -> String, trainedLength: Int
  ) throws(ModelFileError) -> RotaryScaling {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: metadata.path, feature: text) }
    // The older of the two keys is that of the first files.
    let factor = try metadata.number(
      key("scaling.factor"), default: try metadata.number(key("scale_linear"), default: 0))
    let attention = try metadata.number(key("scaling.attn_factor"), default: 1)
    let type = try metadata.text(key("scaling.type")) ?? "linear"
    if type != "yarn" && attention != 1 {
      throw refuse("\(key("scaling.attn_factor")) \(attention) without yarn is not supported")
    }
    switch type {
    case "none": return .none
    // llama.cpp takes no factor, or 0, for 1.
    case "linear": return factor == 0 || factor == 1 ? .none : .linear(factor: factor)
    case "yarn":
      var yarn = YaRN(
        factor: factor == 0 ? 1 : factor,
        originalLength: try metadata.integer(key("scaling.original_context_length"), default: trainedLength))
      yarn.fastTurns = try metadata.number(key("scaling.yarn_beta_fast"), default: yarn.fastTurns)
      yarn.slowTurns = try metadata.number(key("scaling.yarn_beta_slow"), default: yarn.slowTurns)
      yarn.attentionFactor *= attention * (try metadata.number(key("scaling.yarn_attn_factor"), default: 1))
      for (name, neutral) in [("scaling.yarn_log_multiplier", 0.0), ("scaling.yarn_ext_factor", 1)] {
        let value = try metadata.number(key(name), default: neutral)
        if value != neutral && value != -1 { throw refuse("\(key(name)) \(value) is not supported") }
      }
      return .yarn(yarn)
    default:
      throw refuse("rope scaling of type '\(type.prefix(60))' is not supported; none, linear and yarn are")
    }
  }

  /// The settings of Llama 3 that give these factors; nil where none do.
  ///
  /// Of the turns t of a pair within the original length L, the share that stays fast is s = (t - slow) / (fast - slow)
  /// within 0...1, and its factor is 1 / ((1 - s) / F + s). Since t is L·f/2π, two pairs with 0 < s < 1 give L / (fast - slow)
  /// and slow / (fast - slow); that slow is 1, as it always is, gives the rest.
  ///
  /// - Parameter likelyLength: L where fewer than two pairs tell.
  static func llama3(
    _ factors: [Float], _ configuration: ModelConfiguration, likelyLength: Int
  ) -> RotaryScaling? {
    guard let factor = factors.max(), factor.isFinite, factors.allSatisfy({ $0 >= 1 }) else { return nil }
    if factor == 1 { return RotaryScaling.none }
    let largest = Double(factor)
    var settings = configuration.rotarySettings()
    settings.scaling = .none
    let frequencies = settings.frequencies(length: 1)
    func matches(_ scaling: Llama3Scaling) -> Bool {
      zip(frequencies, factors).allSatisfy { frequency, factor in
        let expected = 1 / scaling.share(ofFrequency: frequency)
        return abs(expected - Double(factor)) <= 2e-5 * expected
      }
    }
    var candidates = [Llama3Scaling(factor: largest, originalLength: max(1, likelyLength))]
    let shares = zip(frequencies, factors).map { frequency, factor in
      (frequency: frequency, share: (1 / Double(factor) - 1 / largest) / (1 - 1 / largest))
    }.filter { $0.share > 1e-4 && $0.share < 1 - 1e-4 }
    if let first = shares.first, let last = shares.last, first.frequency > last.frequency {
      let slope = (first.share - last.share) / (first.frequency - last.frequency)
      let offset = slope * last.frequency - last.share
      if slope > 0, offset > 0 {
        let fastTurns = 1 + 1 / offset
        let length = slope * (fastTurns - 1) * 2 * .pi
        if length.isFinite, length >= 1, length < 1e9 {
          // Most are whole numbers, which fp32 has blurred.
          candidates.append(
            Llama3Scaling(
              factor: largest, originalLength: Int(length.rounded()), slowTurns: 1, fastTurns: fastTurns.rounded()))
          candidates.append(
            Llama3Scaling(factor: largest, originalLength: Int(length.rounded()), slowTurns: 1, fastTurns: fastTurns))
        }
      }
    }
    return candidates.first { $0.fastTurns > $0.slowTurns && matches($0) }.map(RotaryScaling.llama3)
  }
}
