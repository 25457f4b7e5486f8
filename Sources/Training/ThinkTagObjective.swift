import Model
import Tokenization

/// The mean cross-entropy of the tokens that are trained on, of which `<think>` and `</think>` count more than the others:
/// Σ w·loss / Σ w, as PyTorch's `cross_entropy` has it with a weight for each class.
///
/// A few tokens decide whether there is reasoning and where it ends, among hundreds that say what is thought.
package struct ThinkTagObjective: Objective {
  private let tags: ThinkTags

  package init(_ tags: ThinkTags) { self.tags = tags }

  package var metricNames: [String] { [Metric.loss.name] }
  package var mean: LossMean { .tokens }
  package var lossUnit: String { "nats a token" }
  package var isCrossEntropy: Bool { false }

  package func weightsBeforehand(_ batch: Batch) -> [Float]? {
    zip(batch.lossWeights, batch.targets).map { weight, target in
      tags.tokens.contains(target) ? weight * tags.weight : weight
    }
  }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    let weights = weightsBeforehand(batch) ?? batch.lossWeights
    let loss = zip(losses.values, weights).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    sums.add(Metric.loss.name, loss, weight: weights.reduce(0) { $0 + Double($1) })
    return weights
  }
}

/// The tokens of `<think>` and `</think>`, and how much each counts, where another token counts 1.
package struct ThinkTags: Sendable, Equatable {
  package let tokens: Set<Int32>
  package let weight: Float

  /// - Throws: `TrainingError` when the tags are no tokens of the tokenizer's own: pieces of them are in other words, too.
  package init(weight: Double, _ tokenizer: Tokenizer) throws {
    let encoded = try ["<think>", "</think>"].map { try tokenizer.encode($0) }
    guard encoded.allSatisfy({ $0.count == 1 }) else {
      throw TrainingError(
        "--think-weight is for tokenizers in which <think> and </think> are a token each, as in those of "
          + "tokenizer train --template minimind-3. Leave it out.")
    }
    tokens = Set(encoded.joined())
    self.weight = Float(weight)
  }
}

extension SettingList {
  package var thinkWeight: Setting<Double> {
    Setting(
      "think-weight", kind: .number(0...1000), inOlderRuns: 1,
      help: "How much <think> and </think> count in the loss, each as much as this many other tokens."
    ) { _ in 1 }
  }
}
