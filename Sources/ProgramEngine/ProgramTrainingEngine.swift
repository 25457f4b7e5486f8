import Model
import Programs

/// Training by programs: weights, gradients and moments live where the programs run, and each call of the engine runs one.
///
/// A program is made and loaded when a batch of its shape first comes. Where the runner has several devices, each computes the
/// gradients of a part of every batch, and moves its share of the weights (`OptimizerShare`). When a device has failed, all numbers are none
/// (NaN), and nothing changes: `ProgramEngineProvider.failure` says why.
package final class ProgramTrainingEngine<Runner: ProgramRunner>: SharedTrainingEngine, DistillingEngine {
  package let configuration: ModelConfiguration
  package let table: ParameterTable
  package let trained: ParameterTable
  let device: Device<Runner>
  let programs: ModelPrograms
  let optimizer: OptimizerKind?
  let maximumTokens: Int
  /// Of dropout.
  let seed: UInt64
  private var loaded: [Purpose: Runner.Loaded] = [:]

  /// In the order of `trained`, those of a base in that of `table`.
  var weights: [Runner.Memory]
  let frozen: [Runner.Memory]
  /// Of each replica's part of the batches.
  var gradients: [Runner.Memory] = []
  /// Of all of them: each replica's shares; nil where gradients have come since.
  var summedGradients: [Runner.Memory]?
  /// What several processes exchange, in the host's memory; nil for one process.
  let exchanged: Exchanged?
  package var onUnitComplete: (() -> Void)?
  /// Of `ProgramModel.moved`.
  var firstMoments: [Runner.Memory] = []
  /// Of `withSecond`.
  var secondMoments: [Runner.Memory] = []
  let withSecond: [ParameterEntry]
  /// By their rows.
  var angles: [Int: [Runner.Memory]] = [:]
  var expertSums: MetricSums

  enum Purpose: Hashable {
    case losses(PassShape, drops: Bool, withValues: Bool = false)
    case lossRows(PassShape)
    case logits(PassShape, count: Int)
    case gradients(PassShape, ModelPrograms.LossKind)
    case zeros, moments, secondMoments, sums, step
  }

  init(
    _ trainable: TrainableModel, _ model: ProgramModel, _ settings: EngineSettings, _ device: Device<Runner>
  ) throws {
    self.device = device
    (configuration, table, trained) = (model.shape, model.table, model.trained)
    programs = ModelPrograms(model: model)
    optimizer = settings.optimizer
    (maximumTokens, seed) = (settings.maximumTokens, settings.seed)
    let runner = device.runner
    weights = try model.trained.entries.map { entry in
      try runner.upload(HostTensor(entry.range.map { trainable.trained.values[$0] }, entry.shape))
    }
    if case .adapter(_, _, let read) = trainable {
      frozen = try model.frozen.map { entry in
        let values = try [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
          try read(entry, buffer.baseAddress!)
          count = entry.count
        }
        return try runner.upload(HostTensor(values, entry.shape, model.type(ofFrozen: entry).element))
      }
    } else {
      frozen = []
    }
    withSecond = settings.optimizer.map { ModelPrograms.withSecondMoment(model.moved, $0) } ?? []
    exchanged = settings.ranks > 1 ? try Exchanged(model.trained) : nil
    expertSums = Self.noExpertSums(model.shape)
    if optimizer != nil {
      gradients = try run(.zeros, [])
      // Of many processes one may have no such weights.
      firstMoments = moved.isEmpty ? [] : try run(.moments, [])
      secondMoments = withSecond.isEmpty ? [] : try run(.secondMoments, [])
    }
  }

  var runner: Runner { device.runner }
  var moved: [ParameterEntry] { programs.model.moved }

  func run(_ purpose: Purpose, _ inputs: [Runner.Memory]) throws -> [Runner.Memory] {
    if loaded[purpose] == nil {
      let program =
        switch purpose {
        case .losses(let pass, let drops, let withValues):
          programs.losses(pass, drops: drops, withValues: withValues)
        case .logits(let pass, let count): programs.logits(pass, count: count)
        case .lossRows(let pass): programs.lossRows(pass)
        case .gradients(let pass, let kind): programs.gradients(pass, kind)
        case .zeros: programs.zeros(trained.entries.map(\.shape))
        case .moments: programs.zeros(moved.map { share($0).shape })
        case .secondMoments: programs.zeros(withSecond.map { share($0).shape })
        case .sums: programs.gradientSums(optimizer!)
        case .step: programs.step(optimizer!)
        }
      loaded[purpose] = try runner.load(program)
    }
    return try runner.run(loaded[purpose]!, inputs)
  }

  func share(_ entry: ParameterEntry) -> OptimizerShare {
    OptimizerShare(entry, optimizer!, replicas: runner.replicas)
  }

  /// What each replica has of a tensor.
  func downloadAll(_ memory: Runner.Memory) throws -> [[Float]] {
    try (0..<runner.replicas).map { try runner.download(memory, replica: $0).floats }
  }

  // MARK: - Use of experts

  package var sums: MetricSums { expertSums }

  private static func shareName(_ layer: Int, _ expert: Int) -> String {
    "\(ExpertSums.sharePrefix)\(layer)/\(expert)"
  }

  static func noExpertSums(_ shape: ModelConfiguration) -> MetricSums {
    guard shape.isMixture else { return MetricSums() }
    return MetricSums(
      [ExpertSums.balance]
        + (0..<shape.layerCount).flatMap { layer in (0..<shape.expertCount).map { shareName(layer, $0) } })
  }

  func addExpertSums(balance: Float, choices: [Float], _ documentWeights: [Double]) {
    expertSums.add(
      ExpertSums.balance, configuration.balanceLossWeight * Double(balance), weight: documentWeights.reduce(0, +))
    let experts = configuration.expertCount
    for layer in 0..<configuration.layerCount {
      let counts = choices[layer * experts..<(layer + 1) * experts].map(Double.init)
      for (expert, count) in counts.enumerated() {
        expertSums.add(Self.shareName(layer, expert), count, weight: counts.reduce(0, +))
      }
    }
  }

  // MARK: - Optimizer

  package func gradientNorm() -> Double {
    let squares = device.attempt { try runner.download(sumGradients()) }
    return squares.map { $0.floats.reduce(0) { $0 + Double($1) }.squareRoot() } ?? .nan
  }

  /// Gives each replica its shares of all replicas' gradients.
  ///
  /// - Returns: the sums of squares.
  @discardableResult
  func sumGradients() throws -> Runner.Memory {
    var outputs = try run(.sums, gradients)
    let squares = outputs.removeLast()
    summedGradients = runner.replicas > 1 ? outputs : gradients
    return squares
  }

  func gradientsChanged() {
    summedGradients = nil
    exchanged?.hasGradients = false
  }

  package func step(_ step: OptimizerStep) {
    precondition(optimizer != nil, "an engine that only computes losses")
    let places = moved.map { place(.weights, $0) }
    let outputs = device.attempt {
      let gradients = try movedGradients()
      return moved.isEmpty
        ? []
        : try run(
          .step,
          places.map { weights[$0] } + firstMoments + secondMoments + gradients + [
            runner.upload(StepNumbers.values(step))
          ])
    }
    if let outputs {
      for (place, weight) in zip(places, outputs) { weights[place] = weight }
      firstMoments = Array(outputs[moved.count..<2 * moved.count])
      secondMoments = Array(outputs[(2 * moved.count)...])
    }
    offerWeights()
  }

  /// The sums over all replicas and processes of the gradients that this one moves weights by.
  private func movedGradients() throws -> [Runner.Memory] {
    if let exchanged {
      summedGradients = nil
      return try moved.map { try runner.upload(share($0).shares(of: exchanged.gradients.read($0))) }
    }
    if summedGradients == nil { try sumGradients() }
    return summedGradients!
  }

  package var momentBytes: Int {
    guard optimizer != nil else { return 0 }
    return 4 * runner.replicas * (moved + withSecond).reduce(0) { $0 + share($1).count }
  }
}
