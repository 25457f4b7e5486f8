import Corpus
import Model
import Processes

/// What a stage minimises: a function of the losses of a batch's tokens.
///
/// The engine computes the loss of each token and its gradient. The objective says how much each of these counts: the
/// derivative of the objective with respect to the token's loss. Cross-entropy knows that before the forward pass; what
/// depends on the losses themselves (DPO, or GRPO with its ratio, clipping and KL, all functions of the log-probability
/// of a token, those before the step being in the batch) says it after, which costs one more product with the output
/// matrix.
///
/// What needs more of the distribution than the target's probability is not a function of these losses. Distillation from a
/// teacher's logits (`DistillationObjective`) has a method of the engine's own, in which `distillationLoss` takes the place of
/// `softmaxCrossEntropy` for a chunk of logits: those of all tokens are never in memory at once.
package protocol Objective {
  /// The names of all sums that it adds, first `Metric.loss`, the loss itself.
  var metricNames: [String] { get }
  /// What the loss is the mean over.
  var mean: LossMean { get }
  /// What the loss counts, for an axis: "nats a token".
  var lossUnit: String { get }
  /// Whether the loss is the tokens' cross-entropy, from which perplexity and bits a byte follow.
  var isCrossEntropy: Bool { get }

  /// [tokens] how much each token's loss counts, where that is known before the forward pass: tokens of weight 0 then skip
  /// the output layer. Nil where it follows from the losses; then those of `batch.lossWeights` 0 skip it.
  func weightsBeforehand(_ batch: Batch) -> [Float]?

  /// [tokens] how much each token's loss counts: the derivative of the summed loss. Adds the loss, with the weight that
  /// makes it a mean, and all else that is reported, to `sums`.
  func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float]

  /// The loss of a batch; adds its gradient to the engine's. `addGradients`, except where something else is to be measured or
  /// computed first.
  ///
  /// - Parameters:
  ///   - sums: get what the objective reports.
  ///   - tokensBefore: tokens that the run has read before these.
  func forwardBackward(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums)

  /// The loss of a batch, without gradients: `addLosses`, except as above.
  func forward(_ engine: any TrainingEngine, _ batch: Batch, addingTo sums: inout MetricSums)
}

extension Objective {
  package func weightsBeforehand(_ batch: Batch) -> [Float]? { nil }

  /// The sums of no batch.
  package var noSums: MetricSums { MetricSums(metricNames) }

  package func forwardBackward(_ engine: any TrainingEngine, _ batch: Batch, addingTo sums: inout MetricSums) {
    forwardBackward(engine, batch, tokensBefore: 0, addingTo: &sums)
  }

  package func forwardBackward(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums
  ) {
    addGradients(engine, batch, tokensBefore: tokensBefore, addingTo: &sums)
  }

  package func forward(_ engine: any TrainingEngine, _ batch: Batch, addingTo sums: inout MetricSums) {
    addLosses(engine, batch, addingTo: &sums)
  }

  /// The loss of a batch by the weights of its tokens, and its gradient.
  func addGradients(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums
  ) {
    if let weights = weightsBeforehand(batch) {
      let losses = engine.forwardBackward(batch, .known(weights), mean: mean, tokensBefore: tokensBefore)
      _ = self.weights(losses, of: batch, addingTo: &sums)
    } else {
      var found = noSums
      _ = engine.forwardBackward(
        batch, .afterForward { weights($0, of: batch, addingTo: &found) }, mean: mean, tokensBefore: tokensBefore)
      sums += found
    }
  }

  /// The loss of a batch, without gradients.
  func addLosses(_ engine: any TrainingEngine, _ batch: Batch, addingTo sums: inout MetricSums) {
    let losses = engine.forward(batch, lossWeights: weightsBeforehand(batch))
    _ = weights(losses, of: batch, addingTo: &sums)
  }
}

/// The mean cross-entropy of the tokens that are trained on: by the data's loss weights, 1 everywhere for pretraining, on
/// the assistant's tokens for fine-tuning.
package struct CrossEntropyObjective: Objective {
  package init() {}

  package var metricNames: [String] { [Metric.loss.name] }
  package var mean: LossMean { .tokens }
  package var lossUnit: String { "nats a token" }
  package var isCrossEntropy: Bool { true }

  package func weightsBeforehand(_ batch: Batch) -> [Float]? { batch.lossWeights }

  package func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    let sum = losses.sum(batch)
    sums.add(Metric.loss.name, sum.loss, weight: sum.weight)
    return batch.lossWeights
  }
}

extension MetricSums {
  /// The sums over all ranks, which have the same names.
  func summed(over exchange: ProcessExchange) -> MetricSums {
    guard !exchange.isAlone else { return self }
    var all = self
    all.numbers = exchange.sum(numbers)
    return all
  }
}
