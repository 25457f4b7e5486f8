import Foundation
import Transformer

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

  /// The losses of pairs, and the weight that the gradient of each document's summed cross-entropy gets.
  ///
  /// A document's cross-entropy is -π, or -π times its tokens where the loss is normalised by length.
  ///
  /// - Parameters:
  ///   - documents: chosen and rejected in turn: Σ cross-entropy and trained tokens of each.
  ///   - reference: Σ log-probability of each under the reference.
  package func compare(
    _ documents: [LossSum], reference: [Double]
  ) -> (loss: Double, metrics: PreferenceMetrics, weights: [Float]) {
    precondition(documents.count % 2 == 0 && documents.count == reference.count, "\(documents.count) documents")
    var loss = 0.0
    var metrics = PreferenceMetrics()
    var weights: [Float] = []
    for chosen in stride(from: 0, to: documents.count, by: 2) {
      let sides = [chosen, chosen + 1]
      let scales = sides.map { isLengthNormalized ? 1 / max(1, documents[$0].weight) : 1 }
      let gains = sides.map { -documents[$0].loss - reference[$0] }
      let pair = self(gains[0] * scales[0] - gains[1] * scales[1])
      loss += pair.loss
      metrics.add(rewards: gains.map { beta * $0 }, logProbabilities: sides.map { -documents[$0].loss })
      weights += [Float(-pair.derivative * scales[0]), Float(pair.derivative * scales[1])]
    }
    return (loss, metrics, weights)
  }
}

/// What a step or an evaluation says of its pairs: sums, of which `means` gives the means. Log-probabilities are those of
/// whole answers, and rewards β·(π - ρ), also where the loss is normalised by length.
package struct PreferenceMetrics: Codable, Equatable, Sendable {
  package private(set) var pairs = 0
  /// Pairs whose chosen answer has the larger reward.
  private var correct = 0
  /// Chosen, rejected.
  private var rewards = [0.0, 0.0]
  private var logProbabilities = [0.0, 0.0]

  package init() {}

  /// The sums as numbers, to be added to those of other processes.
  init(sums: [Double]) {
    (pairs, correct) = (Int(sums[0]), Int(sums[1]))
    (rewards, logProbabilities) = (Array(sums[2..<4]), Array(sums[4..<6]))
  }

  var sums: [Double] { [Double(pairs), Double(correct)] + rewards + logProbabilities }

  fileprivate mutating func add(rewards: [Double], logProbabilities: [Double]) {
    pairs += 1
    correct += rewards[0] > rewards[1] ? 1 : 0
    for side in 0..<2 {
      self.rewards[side] += rewards[side]
      self.logProbabilities[side] += logProbabilities[side]
    }
  }

  package static func += (left: inout PreferenceMetrics, right: PreferenceMetrics) {
    left.pairs += right.pairs
    left.correct += right.correct
    for side in 0..<2 {
      left.rewards[side] += right.rewards[side]
      left.logProbabilities[side] += right.logProbabilities[side]
    }
  }

  /// The share of pairs whose chosen answer has the larger reward.
  package var accuracy: Double { Double(correct) / Double(max(1, pairs)) }
  /// The mean of how much larger it is.
  package var margin: Double { (rewards[0] - rewards[1]) / Double(max(1, pairs)) }

  /// Means over the pairs, under the names that trl gives them.
  package var means: [(name: String, value: Double)] {
    let count = Double(max(1, pairs))
    return [
      ("rewards/chosen", rewards[0] / count), ("rewards/rejected", rewards[1] / count), ("rewards/margins", margin),
      ("rewards/accuracies", accuracy), ("logps/chosen", logProbabilities[0] / count),
      ("logps/rejected", logProbabilities[1] / count),
    ]
  }
}
