import Model
import Storage

extension ModelConfiguration {
  /// The value of `rope_scaling` in `config.json`, which `transformers` 4 and 5 read; null without scaling.
  var huggingFaceRopeScaling: JSON {
    func object(_ type: String, _ factor: Double, _ others: [(String, JSON)] = []) -> JSON {
      .object(([("rope_type", .string(type)), ("factor", .number(factor))] + others).map { JSON.Member($0.0, $0.1) })
    }
    switch rotaryScaling {
    case .none: return .null
    case .linear(let factor): return object("linear", factor)
    case .dynamic(let factor): return object("dynamic", factor)
    case .yarn(let yarn):
      return object(
        "yarn", yarn.factor,
        [
          ("original_max_position_embeddings", .integer(yarn.originalLength)),
          ("attention_factor", .number(yarn.attentionFactor)), ("beta_fast", .number(yarn.fastTurns)),
          ("beta_slow", .number(yarn.slowTurns)), ("truncate", .bool(yarn.roundsBounds)),
        ])
    case .llama3(let llama3):
      return object(
        "llama3", llama3.factor,
        [
          ("original_max_position_embeddings", .integer(llama3.originalLength)),
          ("low_freq_factor", .number(llama3.slowTurns)), ("high_freq_factor", .number(llama3.fastTurns)),
        ])
    }
  }
}

extension HuggingFaceConfig {
  /// The rotary settings in their own object: `rope_parameters` since transformers 5, `rope_scaling` before, which wins.
  private func ropeSettings() throws(ModelFileError) -> HuggingFaceConfig? {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let settings = value(key) else { continue }
      guard case .object(let members) = settings else {
        throw .unsupported(
          path: path, feature: "the rotary settings \(settings.compactText.prefix(60)) are not an object")
      }
      if !members.isEmpty { return HuggingFaceConfig(path: path, members: settings) }
    }
    return nil
  }

  func ropeTheta(default fallback: Double = 10_000) throws -> Double {
    let outside = try number("rope_theta", default: fallback)
    return try ropeSettings()?.number("rope_theta", default: outside) ?? outside
  }

  /// The kind of rotary scaling with its settings, absent ones as `transformers` has them; a kind that is not supported
  /// is refused by its name.
  func rotaryScaling(trainedLength: Int) throws -> RotaryScaling {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    let settings = try ropeSettings()
    for place in [self, settings].compactMap({ $0 }) {
      if let factor = place.value("partial_rotary_factor"), factor.doubleValue != 1 {
        throw refuse("partial_rotary_factor \(factor.compactText.prefix(60)) is not supported; whole heads are rotated")
      }
    }
    guard let settings, let type = settings.value("rope_type") ?? settings.value("type") else { return .none }
    func needed(_ key: String) throws -> Double {
      guard settings.value(key) != nil else { throw invalid("the rotary scaling has no \(key)") }
      return try settings.number(key, default: 1)
    }
    func factor() throws -> Double { try needed("factor") }
    func originalLength() throws -> Int {
      // transformers prefers the place outside.
      let place = value("original_max_position_embeddings") == nil ? settings : self
      return try place.integer("original_max_position_embeddings", default: trainedLength)
    }
    switch type.stringValue {
    case "default": return .none
    case "linear": return .linear(factor: try factor())
    case "dynamic": return .dynamic(factor: try factor())
    case "yarn":
      let originalLength = try originalLength()
      let isGiven = settings.value("factor") != nil
      var yarn = YaRN(
        factor: isGiven ? try factor() : Double(trainedLength) / Double(max(1, originalLength)),
        originalLength: originalLength)
      yarn.fastTurns = try settings.number("beta_fast", default: yarn.fastTurns)
      yarn.slowTurns = try settings.number("beta_slow", default: yarn.slowTurns)
      yarn.roundsBounds = try settings.boolean("truncate", default: yarn.roundsBounds)
      let scale = try settings.number("mscale", default: 0)
      let scaleOfAll = try settings.number("mscale_all_dim", default: 0)
      if scale != 0, scaleOfAll != 0 {
        yarn.attentionFactor =
          YaRN.attentionFactor(yarn.factor, scale: scale) / YaRN.attentionFactor(yarn.factor, scale: scaleOfAll)
      }
      yarn.attentionFactor = try settings.number("attention_factor", default: yarn.attentionFactor)
      return .yarn(yarn)
    case "llama3":
      return .llama3(
        Llama3Scaling(
          factor: try factor(), originalLength: try originalLength(), slowTurns: try needed("low_freq_factor"),
          fastTurns: try needed("high_freq_factor")))
    default:
      throw refuse(
        "rope scaling of type \(type.compactText.prefix(60)) is not supported; default, linear, dynamic, yarn and llama3 "
          + "are")
    }
  }
}
