import Foundation
import Model

/// How much a model that prefers the chosen answer to the rejected one is rewarded.
///
/// Of an answer, π is its log-probability by the model in training and ρ that by the reference; g = π - ρ, or π where the
/// loss needs no reference. With h = g[chosen] - g[rejected] the loss of a pair is
///
///     sigmoid   -log σ(β·h)                                         Rafailov et al. 2023, arXiv 2305.18290, equation 7
///     hinge     max(0, 1 - β·h)                                     Zhao et al. 2023, arXiv 2305.10425, equation 4
///     robust    (-(1-ε)·log σ(β·h) + ε·log σ(-β·h)) / (1 - 2ε)      Chowdhury et al. 2024, arXiv 2403.00409, equation 12
///     ipo       (h - 1/(2β))²                                       Azar et al. 2023, arXiv 2310.12036, equation 17
///     simpo     -log σ(β·h - γ), without reference                  Meng et al. 2024, arXiv 2405.14734, equation 6
///     orpo      -g[chosen] - β·log σ(o[chosen] - o[rejected]),      Hong et al. 2024, arXiv 2403.07691, equations 6 and 7
///               o = log(p/(1-p)) of p = e^g, without reference
///
/// A log-probability is the sum over the answer's tokens or, normalised by length, their mean, as it always is in `simpo` and
/// `orpo`. trl calls the normalised forms of the first and the fourth `sigmoid_norm` and `ipo`; the authors of IPO have told
/// them that theirs is the normalised one.
package struct PreferenceLoss: Sendable, Equatable {
  package enum Shape: String, Codable, CaseIterable, Sendable {
    case sigmoid, hinge, robust, ipo, simpo, orpo

    /// Whether answers are compared with what a reference thinks of them.
    package var needsReference: Bool { self != .simpo && self != .orpo }
  }

  package var shape: Shape
  package var beta: Double
  package var isLengthNormalized: Bool
  /// ε of `robust`, the share of pairs whose answers are supposed to be swapped: 0 ..< 0.5.
  package var labelSmoothing = 0.0
  /// γ of `simpo`: how much larger the chosen answer's reward should be.
  package var simpoGamma = 0.5

  package init(shape: Shape, beta: Double, isLengthNormalized: Bool) {
    self.shape = shape
    self.beta = beta
    self.isLengthNormalized = isLengthNormalized || !shape.needsReference
  }

  /// The loss of a pair and its derivatives with respect to the two answers' g.
  package func callAsFunction(chosen: Double, rejected: Double) -> (loss: Double, dChosen: Double, dRejected: Double) {
    let h = chosen - rejected
    switch shape {
    case .sigmoid: return margin(softplus(-beta * h), -beta * sigmoid(-beta * h))
    case .hinge: return beta * h < 1 ? margin(1 - beta * h, -beta) : margin(0, 0)
    case .robust:
      let epsilon = labelSmoothing
      let loss = (1 - epsilon) * softplus(-beta * h) - epsilon * softplus(beta * h)
      let derivative = -(1 - epsilon) * sigmoid(-beta * h) - epsilon * sigmoid(beta * h)
      return margin(loss / (1 - 2 * epsilon), beta * derivative / (1 - 2 * epsilon))
    case .ipo:
      let distance = h - 1 / (2 * beta)
      return margin(distance * distance, 2 * distance)
    case .simpo:
      let x = beta * h - simpoGamma
      return margin(softplus(-x), -beta * sigmoid(-x))
    case .orpo:
      let odds = logOdds(chosen) - logOdds(rejected)
      let slope = -beta * sigmoid(-odds)
      return (
        beta * softplus(-odds) - chosen, slope * oddsSlope(chosen) - 1, -slope * oddsSlope(rejected)
      )
    }
  }

  /// A loss of the difference h alone.
  private func margin(_ loss: Double, _ derivative: Double) -> (loss: Double, dChosen: Double, dRejected: Double) {
    (loss, derivative, -derivative)
  }

  /// The summed loss of pairs, and its derivative with respect to the summed cross-entropy of each document: what the loss
  /// of each of the document's tokens is multiplied by.
  ///
  /// A document's cross-entropy is -π, or -π times its tokens where the loss is normalised by length.
  ///
  /// - Parameters:
  ///   - documents: [documents] Σ cross-entropy and trained tokens of each, the chosen and the rejected one of a pair in
  ///     turn.
  ///   - reference: [documents] Σ log-probability of each under the reference; 0 where the loss needs none.
  ///   - sums: get `metricNames`. Log-probabilities are those of whole answers, and rewards β·(π - ρ), also where the loss
  ///     is normalised by length; without a reference both are of a mean token, as in trl.
  /// - Returns: the sum over pairs, in the loss's own unit, and [documents] its derivative.
  package func compare(
    _ documents: [LossSum], reference: [Double], addingTo sums: inout MetricSums
  ) -> (loss: Double, derivatives: [Float]) {
    precondition(documents.count % 2 == 0 && documents.count == reference.count, "\(documents.count) documents")
    var loss = 0.0
    var derivatives: [Float] = []
    let names = metricNames
    var metrics = [Double](repeating: 0, count: names.count)
    for first in stride(from: 0, to: documents.count, by: 2) {
      let sides = [first, first + 1]
      let scales = sides.map { isLengthNormalized ? 1 / max(1, documents[$0].weight) : 1 }
      let gains = sides.map { -documents[$0].loss - reference[$0] }
      let (chosen, rejected) = (gains[0] * scales[0], gains[1] * scales[1])
      let pair = self(chosen: chosen, rejected: rejected)
      loss += pair.loss
      derivatives += [Float(-pair.dChosen * scales[0]), Float(-pair.dRejected * scales[1])]
      let shown = shape.needsReference ? gains : [chosen, rejected]
      let rewards = shown.map { beta * $0 }
      let logProbabilities = shape.needsReference ? sides.map { -documents[$0].loss } : shown
      var ofPair =
        [rewards[0], rewards[1], rewards[0] - rewards[1], rewards[0] > rewards[1] ? 1 : 0] + logProbabilities
      if shape == .orpo {
        let odds = logOdds(chosen) - logOdds(rejected)
        ofPair += [-chosen, odds, -softplus(-odds)]
      }
      for index in metrics.indices { metrics[index] += ofPair[index] }
    }
    for (name, sum) in zip(names, metrics) { sums.add(name, sum, weight: Double(documents.count / 2)) }
    return (loss, derivatives)
  }

  /// What is reported: means over pairs, under the names that trl gives them.
  package var metricNames: [String] { Self.metricNames + (shape == .orpo ? Self.oddsMetrics.map(\.name) : []) }
  /// Those of every loss.
  package static let metricNames = pairMetrics.map(\.name)
  package static let metrics = pairMetrics + oddsMetrics

  private static let pairMetrics = [
    Metric(
      "rewards/chosen", [.train, .eval], chart: "chosen",
      "DPO, KTO: β·(π - ρ) of the chosen answers, mean over pairs; SimPO, ORPO: β·π of a mean token"),
    Metric("rewards/rejected", [.train, .eval], chart: "rejected", "the same of the rejected ones"),
    Metric(
      "rewards/margins", [.train, .eval], label: "margin", format: .decimals(3), chart: "margin",
      smallerIsBetter: false,
      summary: .last, isInProgressLine: true, isInWatchText: true, "how much larger the chosen answer's reward is"),
    Metric(
      "rewards/accuracies", [.train, .eval], unit: "share", label: "accuracy", format: .decimals(2), chart: "accuracy",
      smallerIsBetter: false, summary: .last, isInProgressLine: true,
      "DPO: the share of pairs in which it is larger"),
    Metric(
      "logps/chosen", [.train, .eval], unit: "nats",
      "π of the chosen answers, mean over pairs; SimPO, ORPO: of a mean token"),
    Metric("logps/rejected", [.train, .eval], unit: "nats", "the same of the rejected ones"),
  ]
  private static let oddsMetrics = [
    Metric("nll_loss", [.train, .eval], unit: "nats/token", "ORPO: the cross-entropy of the chosen answers"),
    Metric("log_odds_chosen", [.train, .eval], "ORPO: by how much the chosen answer's log odds are larger"),
    Metric("log_odds_ratio", [.train, .eval], "ORPO: log σ of that"),
  ]
}

/// log(1 + e^x), so written that no exponential overflows: -log σ(-x).
func softplus(_ x: Double) -> Double { max(0, x) + log1p(exp(-abs(x))) }

func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

/// log(p / (1 - p)) of p = e^g, for g up to the largest value at which single precision tells p from 1.
private func logOdds(_ g: Double) -> Double {
  let g = min(g, -1e-7)
  return g - log(-expm1(g))
}

/// Its derivative, 1 / (1 - p).
private func oddsSlope(_ g: Double) -> Double { -1 / expm1(min(g, -1e-7)) }
