import Model

/// Options that change the rotary embedding of a model that is used, not of its files.
enum RotaryOptions {
  enum Mode: String, CaseIterable, Sendable { case none, linear, dynamic, yarn }

  static let mode = Option<Mode?>.optionalChoice(
    "rope", defaultText: "as config.json says",
    help: "How positions beyond the trained length are read: unchanged, or by linear, dynamic NTK or YaRN scaling.")
  static let factor = Option.number(
    "rope-factor", default: 4, in: 1...1024, help: "How many times longer than the trained length --rope reaches.")

  /// What `--rope` asks for; nil for the model's own.
  ///
  /// - Throws: `UsageError` for a factor without a scaling.
  static func scaling(_ invocation: Invocation, _ configuration: ModelConfiguration) throws -> RotaryScaling? {
    let mode = invocation[mode]
    if invocation.isGiven(factor), mode == nil || mode == Mode.none {
      throw UsageError("--rope-factor needs --rope linear, dynamic or yarn.")
    }
    return mode.map { scaling($0, factor: invocation[factor], configuration) }
  }

  static func scaling(_ mode: Mode, factor: Double, _ configuration: ModelConfiguration) -> RotaryScaling {
    switch mode {
    case .none: return .none
    case .linear: return .linear(factor: factor)
    case .dynamic: return .dynamic(factor: factor)
    case .yarn:
      // A model that was adapted already says what its length was before.
      if case .yarn(let yarn) = configuration.rotaryScaling {
        return .yarn(YaRN(factor: factor, originalLength: yarn.originalLength))
      }
      if case .llama3(let llama3) = configuration.rotaryScaling {
        return .yarn(YaRN(factor: factor, originalLength: llama3.originalLength))
      }
      return .yarn(YaRN(factor: factor, originalLength: configuration.maximumSequenceLength))
    }
  }
}
