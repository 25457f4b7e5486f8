import Corpus
import Model

/// Everything about a run that changes from step to step, weights and moments aside.
///
/// There is no state of a random generator: the order of an epoch follows from the seed and the epoch's number, and
/// nothing else is drawn after the first weights.
package struct TrainingState: Codable, Equatable, Sendable {
  /// Optimizer steps that are complete.
  package var step = 0
  /// Where the next micro-batch begins.
  package var position = BatchPosition()
  /// Tokens that the model has read in training.
  package var tokens = 0
  package var smoothedLoss = SmoothedLoss()
  /// Time spent in training, evaluation and saving, over all sessions.
  package var seconds = 0.0
  package var lastEvaluation: Evaluation?
  /// The evaluation with the lowest loss among those of checkpoints.
  package var best: Evaluation?

  package init() {}
}

/// A mean that forgets: each step counts 0.95 times as much as the one after it.
package struct SmoothedLoss: Codable, Equatable, Sendable {
  private var sum = 0.0
  private var weight = 0.0

  package init(_ losses: [Double] = []) { for loss in losses { add(loss) } }

  package mutating func add(_ loss: Double) {
    sum = 0.95 * sum + loss
    weight = 0.95 * weight + 1
  }

  /// Nil before the first step.
  package var value: Double? { weight > 0 ? sum / weight : nil }
}

/// The result of a held-out evaluation, by the stage's own loss.
package struct Evaluation: Codable, Equatable, Sendable {
  /// Optimizer steps that the weights have had.
  package var step: Int
  /// Nats for a trained token, or the loss of a pair.
  package var loss: Double
  /// Bits for a byte of the text that those tokens stand for: comparable between vocabularies. Nil for pairs.
  package var bitsPerByte: Double?
  /// Trained tokens, or documents of pairs, that the loss is the mean of.
  package var tokens: Int
  /// All that the stage's objective reports, the loss included.
  package var sums: MetricSums
}

extension Evaluation {
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    step = try values.decode(Int.self, forKey: .step)
    loss = try values.decode(Double.self, forKey: .loss)
    bitsPerByte = try values.decodeIfPresent(Double.self, forKey: .bitsPerByte)
    tokens = try values.decode(Int.self, forKey: .tokens)
    sums = try values.decodeIfPresent(MetricSums.self, forKey: .sums) ?? Self.earlierSums(decoder)
  }

  /// Those of a checkpoint of the first versions, which had sums for pairs alone and in a form of their own.
  private static func earlierSums(_ decoder: any Decoder) throws -> MetricSums {
    struct Earlier: Decodable {
      struct Pairs: Decodable {
        var pairs: Double
        var correct: Double
        var rewards: [Double]
        var logProbabilities: [Double]
      }
      var preference: Pairs?
    }
    guard let pairs = try Earlier(from: decoder).preference, pairs.rewards.count == 2, pairs.logProbabilities.count == 2
    else { return MetricSums() }
    var sums = MetricSums(PreferenceLoss.metricNames)
    let rewards = pairs.rewards
    sums.numbers = [
      rewards[0], rewards[1], rewards[0] - rewards[1], pairs.correct, pairs.logProbabilities[0],
      pairs.logProbabilities[1],
    ]
    .flatMap { [$0, pairs.pairs] }
    return sums
  }
}
