import Compute
import Machine
import Model

/// The engine of this machine's processor: a `TrainingPass` and an `Optimizer` over the same block of weights, by one team
/// of threads. Its weights are those of the model that it was made from, in place.
package final class CPUTrainingEngine: SharedTrainingEngine, DistillingEngine {
  package let pass: TrainingPass
  private let model: TrainedModel
  /// Nil for an engine that only computes losses.
  private let optimizer: Optimizer?
  let team: WorkerTeam
  /// What of the trained block the optimizer changes: all, except in a model that sees.
  private let learned: ParameterTable

  init(_ model: TrainedModel, _ settings: EngineSettings, team: WorkerTeam) throws {
    self.model = model
    self.team = team
    pass = try TrainingPass(
      model, precision: settings.precision, maximumTokens: settings.maximumTokens, team: team,
      trains: settings.optimizer != nil, recomputes: settings.recomputesActivations,
      rotaryScaling: settings.rotaryScaling, seed: settings.seed, learning: settings.learning)
    var isWhole = true
    if case .adapter = model { isWhole = false }
    learned = model.trained.table.learned(model.configuration, settings.learning)
    optimizer = try settings.optimizer.map { [learned] in
      try Optimizer(
        learned, $0, precision: settings.precision, workers: team.count, rank: settings.rank,
        ranks: settings.ranks, byLayer: isWhole)
    }
  }

  package var configuration: ModelConfiguration { model.configuration }
  package var table: ParameterTable { model.table }
  package var trained: ParameterTable { model.trained.table }

  // MARK: - Passes

  package func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses {
    _ = pass.forward(batch, lossWeights: lossWeights)
    return pass.losses
  }

  package func logits(_ batch: Batch, rows: [Int]) -> [Float] { pass.logits(batch, rows: rows) }

  package func zeroGradients() { pass.zeroGradients() }

  package func forwardBackward(
    _ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int
  ) -> TokenLosses {
    switch weights {
    case .known(let lossWeights):
      _ = pass.forwardBackward(batch, lossWeights: lossWeights, tokensBefore: tokensBefore, mean: mean)
    case .afterForward(let find):
      _ = pass.forwardBackward(batch, tokensBefore: tokensBefore, mean: mean, weightsAfter: find)
    }
    return pass.losses
  }

  package func forwardBackward(
    _ batch: Batch, lossWeights: [Float], _ distillation: Distillation, teacher: (any TrainingEngine)?,
    tokensBefore: Int
  ) -> (losses: TokenLosses, crossEntropies: TokenLosses) {
    precondition(teacher == nil || teacher is CPUTrainingEngine, "a teacher of another engine")
    let other = (teacher as? CPUTrainingEngine)?.pass
    _ = pass.forwardBackward(
      batch, lossWeights: lossWeights, tokensBefore: tokensBefore,
      teacher: Teacher(pass: other, distillation: distillation))
    return (pass.losses, pass.batch.tokenCrossEntropies)
  }

  package var sums: MetricSums { pass.expertUse?.sums ?? MetricSums() }

  // MARK: - Optimizer

  package func gradientNorm() -> Double { trainedOptimizer.norm(of: gradients, team: team) }

  package func step(_ step: OptimizerStep) { trainedOptimizer.step(pass, step, team: team) }

  package var momentBytes: Int { optimizer?.momentBytes ?? 0 }

  private var trainedOptimizer: Optimizer {
    guard let optimizer else { preconditionFailure("an engine that only computes losses") }
    return optimizer
  }

  // MARK: - Values

  package func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool {
    switch values {
    case .weights: true
    case .gradients: pass.gradients != nil
    case .firstMoment, .secondMoment: learned.entry(entry.key) != nil && optimizer?.keeps(values, of: entry) ?? false
    }
  }

  package func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float] {
    switch values {
    case .weights: Array(UnsafeBufferPointer(start: weights + entry.offset, count: entry.count))
    case .gradients: Array(UnsafeBufferPointer(start: gradients + entry.offset, count: entry.count))
    case .firstMoment, .secondMoment: trainedOptimizer.read(values, of: entry)
    }
  }

  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    func copy(to block: UnsafeMutablePointer<Float>) {
      precondition(numbers.count == entry.count, "\(numbers.count) numbers for \(entry.key)")
      numbers.withUnsafeBufferPointer {
        (block + entry.offset).update(from: $0.baseAddress!, count: entry.count)
      }
    }
    switch values {
    case .weights:
      copy(to: weights)
      weightsChanged()
    case .gradients: copy(to: gradients)
    case .firstMoment, .secondMoment: trainedOptimizer.write(values, of: entry, numbers)
    }
  }

  private var weights: UnsafeMutablePointer<Float> { model.trained.values }

  private var gradients: UnsafeMutablePointer<Float> {
    guard let gradients = pass.gradients else { preconditionFailure("an engine that only computes losses") }
    return gradients
  }

  package func copyWeights(to block: ParameterBlock) {
    // The block that the engine was made from is the one that it trains.
    guard block !== model.trained else { return }
    precondition(block.table == trained, "a block of another table")
    block.values.update(from: weights, count: trained.totalCount)
  }

  package func modelWeight(_ entry: ParameterEntry) -> [Float] {
    [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
      model.copy(entry, to: buffer.baseAddress!)
      count = entry.count
    }
  }

  // MARK: - Several processes

  package var units: [[[Range<Int>]]] { trainedOptimizer.units }
  package var parts: [[Range<Int>]] { trainedOptimizer.parts }

  package var onUnitComplete: (() -> Void)? {
    get { pass.onLayerComplete }
    set { pass.onLayerComplete = newValue }
  }

  package var gradientBuffer: AlignedBuffer {
    guard let buffer = pass.gradientBuffer else { preconditionFailure("an engine that only computes losses") }
    return buffer
  }

  package var weightBuffer: AlignedBuffer { model.trained.buffer }

  package func weightsChanged() { pass.refreshWorkingWeights() }

  package func gradientSquares() -> [Double] { trainedOptimizer.squares(ofParts: gradients, team: team) }

  package func owners(of entry: ParameterEntry) -> [(rank: Int, count: Int)] { trainedOptimizer.owners(of: entry) }
}
