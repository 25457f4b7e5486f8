import Compute
import Transformer

/// Options that change the rotary embedding of a model that is used, not of its files.
enum RotaryOptions {
  enum Mode: String, CaseIterable, Sendable { case model, none, linear, dynamic, yarn }

  static let mode = Option.choice(
    "rope", default: Mode.model,
    help: "How positions beyond the trained length are read: as the model's config.json says, unchanged, or by linear, "
      + "dynamic NTK or YaRN scaling.")
  static let factor = Option.number(
    "rope-factor", default: 4, in: 1...1024, help: "How many times longer than the trained length --rope reaches.")

  /// What `--rope` asks for; nil for the model's own.
  ///
  /// - Throws: `UsageError` for a factor without a scaling.
  static func scaling(_ invocation: Invocation, _ configuration: ModelConfiguration) throws -> RotaryScaling? {
    let mode = invocation[mode]
    guard mode != .model, mode != .none else {
      guard !invocation.isGiven(factor) else {
        throw UsageError("--rope-factor needs --rope linear, dynamic or yarn.")
      }
      return mode == .none ? RotaryScaling.none : nil
    }
    return scaling(mode, factor: invocation[factor], configuration)
  }

  static func scaling(_ mode: Mode, factor: Double, _ configuration: ModelConfiguration) -> RotaryScaling {
    switch mode {
    case .model: return configuration.rotaryScaling
    case .none: return .none
    case .linear: return .linear(factor: factor)
    case .dynamic: return .dynamic(factor: factor)
    case .yarn:
      // A model that was adapted by YaRN says what its length was before.
      if case .yarn(let yarn) = configuration.rotaryScaling {
        return .yarn(YaRN(factor: factor, originalLength: yarn.originalLength))
      }
      return .yarn(YaRN(factor: factor, originalLength: configuration.maximumSequenceLength))
    }
  }
}
