import Foundation
import Model

/// How much a model is rewarded that makes wanted answers more likely than the reference does, and others less.
///
/// Of an answer, g = π - ρ is by how much its log-probability exceeds the reference's, and z ≥ 0 estimates how far the whole
/// model has moved from it (Ethayarajh et al. 2024, arXiv 2402.01306, equation 8):
///
///     desirable      λᴰ·(1 - σ(β·(g - z)))
///     undesirable    λᵁ·(1 - σ(β·(z - g)))
///
/// z is the mean of π - ρ over prompts with answers to other prompts, not below 0, and counts as a constant. As in trl
/// (`KTOTrainer`), the answer is that of the document before.
package struct KTOLoss: Sendable, Equatable {
  package var beta: Double
  package var desirableWeight = 1.0
  package var undesirableWeight = 1.0

  package init(beta: Double) { self.beta = beta }

  /// The loss of an answer and its derivative with respect to g.
  package func callAsFunction(_ g: Double, isDesirable: Bool, divergence z: Double) -> (
    loss: Double, derivative: Double
  ) {
    let value = sigmoid(beta * (isDesirable ? g - z : z - g))
    let slope = beta * value * (1 - value)
    return isDesirable
      ? (desirableWeight * (1 - value), -desirableWeight * slope)
      : (undesirableWeight * (1 - value), undesirableWeight * slope)
  }

  package static let metrics = [
    Metric(
      "kl", [.train, .eval], unit: "nats", label: "KL", chart: "kl", isInProgressLine: true,
      "KTO: how far the model has moved from the reference, by answers to other prompts; not below 0; GRPO and PPO, with "
        + "--beta: by its own answers, a token")
  ]
}

extension SettingList {
  package var desirableWeight: Setting<Double> {
    Setting("desirable-weight", default: 1, in: 0...1000, help: "How much an answer with the label true counts.")
  }
  package var undesirableWeight: Setting<Double> {
    Setting(
      "undesirable-weight", default: 1, in: 0...1000,
      help: "How much one with the label false counts; raise the weight of the rarer kind.")
  }
}

extension KTOLoss {
  init(_ settings: ResolvedSettings) {
    self.init(beta: settings.beta)
    (desirableWeight, undesirableWeight) = (settings.desirableWeight, settings.undesirableWeight)
  }
}
