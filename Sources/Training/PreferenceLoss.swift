import Foundation
import Model

/// How much a model that prefers the chosen answer to the rejected one is rewarded.
///
/// With the log-probabilities π of the model in training and ρ of the reference, and the reward of an answer
/// β·(π - ρ), the loss of a pair follows from h = (π - ρ)[chosen] - (π - ρ)[rejected]:
///
///     sigmoid   -log σ(β·h)         derivative -β·σ(-β·h)           Rafailov et al. 2023, arXiv 2305.18290, equation 7
///     ipo       (h - 1/(2β))²       derivative 2·(h - 1/(2β))       Azar et al. 2023, arXiv 2310.12036, equation 17
///
/// A log-probability is the sum over the answer's tokens or, normalised by length, their mean. trl calls the normalised
/// forms `sigmoid_norm` and `ipo`; the authors of IPO have told them that theirs is the normalised one.
package struct PreferenceLoss: Sendable, Equatable {
  package enum Shape: String, Codable, CaseIterable, Sendable { case sigmoid, ipo }

  package var shape: Shape
  package var beta: Double
  package var isLengthNormalized: Bool

  package init(shape: Shape, beta: Double, isLengthNormalized: Bool) {
    self.shape = shape
    self.beta = beta
    self.isLengthNormalized = isLengthNormalized
  }

  /// The loss of a pair and its derivative with respect to h.
  package func callAsFunction(_ h: Double) -> (loss: Double, derivative: Double) {
    switch shape {
    case .sigmoid:
      let x = beta * h
      // -log σ(x) = log(1 + e^-x), so written that no exponential overflows.
      return (max(0, -x) + log1p(exp(-abs(x))), -beta / (1 + exp(x)))
    case .ipo:
      let distance = h - 1 / (2 * beta)
      return (distance * distance, 2 * distance)
    }
  }

  /// The summed loss of pairs, and its derivative with respect to the summed cross-entropy of each document: what the loss
  /// of each of the document's tokens is multiplied by.
  ///
  /// A document's cross-entropy is -π, or -π times its tokens where the loss is normalised by length.
  ///
  /// - Parameters:
  ///   - documents: [documents] Σ cross-entropy and trained tokens of each, the chosen and the rejected one of a pair in
  ///     turn.
  ///   - reference: [documents] Σ log-probability of each under the reference.
  ///   - sums: get `metricNames`. Log-probabilities are those of whole answers, and rewards β·(π - ρ), also where the loss
  ///     is normalised by length.
  /// - Returns: the sum over pairs, in the loss's own unit, and [documents] its derivative.
  package func compare(
    _ documents: [LossSum], reference: [Double], addingTo sums: inout MetricSums
  ) -> (loss: Double, derivatives: [Float]) {
    precondition(documents.count % 2 == 0 && documents.count == reference.count, "\(documents.count) documents")
    var loss = 0.0
    var derivatives: [Float] = []
    var metrics = [Double](repeating: 0, count: Self.metricNames.count)
    for chosen in stride(from: 0, to: documents.count, by: 2) {
      let sides = [chosen, chosen + 1]
      let scales = sides.map { isLengthNormalized ? 1 / max(1, documents[$0].weight) : 1 }
      let gains = sides.map { -documents[$0].loss - reference[$0] }
      let pair = self(gains[0] * scales[0] - gains[1] * scales[1])
      loss += pair.loss
      derivatives += [Float(-pair.derivative * scales[0]), Float(pair.derivative * scales[1])]
      let rewards = gains.map { beta * $0 }
      let ofPair = [
        rewards[0], rewards[1], rewards[0] - rewards[1], rewards[0] > rewards[1] ? 1 : 0, -documents[chosen].loss,
        -documents[chosen + 1].loss,
      ]
      for index in metrics.indices { metrics[index] += ofPair[index] }
    }
    for (name, sum) in zip(Self.metricNames, metrics) { sums.add(name, sum, weight: Double(documents.count / 2)) }
    return (loss, derivatives)
  }

  /// Means over pairs, under the names that trl gives them.
  package static let metricNames = metrics.map(\.name)
  package static let metrics = [
    Metric(
      "rewards/chosen", [.train, .eval], chart: "chosen", "DPO: β·(π - ρ) of the chosen answers, mean over pairs"),
    Metric("rewards/rejected", [.train, .eval], chart: "rejected", "DPO: the same of the rejected ones"),
    Metric(
      "rewards/margins", [.train, .eval], label: "margin", format: .decimals(3), chart: "margin",
      smallerIsBetter: false,
      summary: .last, isInProgressLine: true, isInWatchText: true, "DPO: how much larger the chosen answer's reward is"),
    Metric(
      "rewards/accuracies", [.train, .eval], unit: "share", label: "accuracy", format: .decimals(2), chart: "accuracy",
      smallerIsBetter: false, summary: .last, isInProgressLine: true,
      "DPO: the share of pairs in which it is larger"),
    Metric("logps/chosen", [.train, .eval], unit: "nats", "DPO: π of the chosen answers, mean over pairs"),
    Metric("logps/rejected", [.train, .eval], unit: "nats", "DPO: the same of the rejected ones"),
  ]
}

extension SettingList {
  package var beta: Setting<Double> {
    Setting(
      "beta", default: 0.1, in: 1e-6...1000,
      help: "Strength of the pull towards the starting model (the KL coefficient).")
  }
  package var loss: Setting<PreferenceLoss.Shape> {
    Setting(
      "loss", default: .sigmoid,
      help: "Of a pair: sigmoid is DPO's, which wants ever larger margins; ipo stops at a margin of 1/(2 beta).")
  }
  package var lengthNormalized: Setting<Bool> {
    Setting(
      "length-normalized", default: false,
      help: "Divides an answer's log-probability by its tokens, so that length does not count.")
  }

  /// The options of a stage that compares pairs.
  var preferenceSettings: [SettingDescription] { [beta.description, loss.description, lengthNormalized.description] }
}

extension PreferenceLoss.Shape: SettingChoice {}

extension PreferenceLoss {
  init(_ settings: ResolvedSettings) {
    self.init(shape: settings.loss, beta: settings.beta, isLengthNormalized: settings.lengthNormalized)
  }
}
