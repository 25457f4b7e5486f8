import Machine

/// A model with gradients and an optimizer, wherever its numbers are: one batch in, losses out; one step of the optimizer.
///
/// Training knows nothing else of the machine that computes. An engine is made by a `TrainingEngineProvider`.
///
/// What is exact to the bit, in one engine with the same settings (threads included): everything. The same calls give the
/// same losses, gradients and weights; `write` of what `read` gave, and of the moments, lets another engine of the kind go
/// on with the same bits, which is how a run resumes. Between kinds of engines only the mathematics is the same.
package protocol TrainingEngine: AnyObject {
  /// The shape of the model.
  var configuration: ModelConfiguration { get }
  /// The model's weights, those that training does not change included.
  var table: ParameterTable { get }
  /// What training changes: the weights of the model, or those of an adapter.
  var trained: ParameterTable { get }

  /// The loss of each token of a batch, without gradients.
  ///
  /// - Parameter lossWeights: [tokens] in place of the batch's own; tokens of weight 0 skip the output layer.
  func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses

  /// The logits of some tokens of a batch: [rows, vocabularySize], fp32.
  ///
  /// - Parameter rows: in rising order, each below the number of tokens; the others skip the output layer.
  func logits(_ batch: Batch, rows: [Int]) -> [Float]

  /// Makes gradients and `sums` zero.
  func zeroGradients()

  /// The loss of each token of a batch; adds the gradient of Σ weight · loss to the gradients, and in a mixture of experts
  /// that of their balance, which the losses do not contain.
  ///
  /// - Parameters:
  ///   - mean: how much a document counts in the balance of experts.
  ///   - tokensBefore: tokens that the run has read before these: dropout numbers its rows by them.
  func forwardBackward(_ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int) -> TokenLosses

  /// What the engine itself reports since `zeroGradients`: `ExpertSums` for a mixture, else nothing. The names are the same
  /// before any batch.
  var sums: MetricSums { get }

  /// The Euclidean norm of all gradients, summed in Double; the same for any number of threads.
  func gradientNorm() -> Double

  /// Changes weights and moments by the gradients, which it may overwrite.
  func step(_ step: OptimizerStep)

  /// Whether such values of a trained weight exist: Muon keeps no second moment.
  func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool

  /// [entry.count] values of a trained weight, in fp32 and in the order of its shape. With `SharedTrainingEngine`, moments
  /// of other ranks are 0.
  ///
  /// - Precondition: `entry` is of `trained`, and such values are kept.
  func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float]

  /// Sets what `read` gives; of moments, those of this rank.
  ///
  /// - Parameter numbers: [entry.count].
  func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float])

  /// Makes a block of the same table as `trained` what the trained weights are now: for publishing.
  func copyWeights(to block: ParameterBlock)

  /// [entry.count] a weight of the model as it is now, in fp32, an adapter merged into it: for sampling.
  ///
  /// - Precondition: `entry` is of `table`.
  func modelWeight(_ entry: ParameterEntry) -> [Float]

  /// Bytes of the optimizer's moments that this process keeps.
  var momentBytes: Int { get }
}

/// How much the loss of each token counts in what is differentiated: [tokens].
package enum TokenWeights {
  case known([Float])
  /// Follows from the losses, which are found first for the tokens whose weight in the batch is not 0. Costs one more
  /// product with the output matrix. The function is called once, on any thread, while the caller waits.
  case afterForward((TokenLosses) -> [Float])
}

/// The numbers that an engine keeps of each trained weight.
package enum EngineValues: Sendable { case weights, gradients, firstMoment, secondMoment }

/// An engine that several processes can share the work of: its gradients and weights are in the memory of the host, each
/// weight belongs to one rank, which alone keeps its moments and moves it, and the others get it from there (ZeRO stage 1,
/// Rajbhandari et al. 2020, arXiv 1910.02054). An engine without this trains in one process.
package protocol SharedTrainingEngine: TrainingEngine {
  /// For each unit in which gradients become complete, and for each rank, the elements of `trained` that the rank sums and
  /// moves.
  var units: [[[Range<Int>]]] { get }
  /// The same of all units together.
  var parts: [[Range<Int>]] { get }
  /// Called during a backward pass as soon as the gradients of the next unit hold all of the batch, for all units but those
  /// that are complete only at the end.
  var onUnitComplete: (() -> Void)? { get set }
  /// [trained.totalCount] fp32 gradients and weights, of which the exchange between processes reads and writes parts.
  var gradientBuffer: AlignedBuffer { get }
  var weightBuffer: AlignedBuffer { get }
  /// Must be called when the exchange has changed weights.
  func weightsChanged()
  /// Σ square of the gradients by pieces that do not depend on the number of ranks, 0 for those of other ranks: their sum
  /// over ranks and pieces is the square of the norm, with the same bits for any number of ranks.
  func gradientSquares() -> [Double]
  /// Which rank has which moments of a weight: consecutive elements in the order of its shape.
  func owners(of entry: ParameterEntry) -> [(rank: Int, count: Int)]
}

extension TrainingEngine {
  package func copyWeights(to block: ParameterBlock) {
    for entry in trained.entries {
      read(.weights, of: entry).withUnsafeBufferPointer {
        (block.values + entry.offset).update(from: $0.baseAddress!, count: entry.count)
      }
    }
  }
}
