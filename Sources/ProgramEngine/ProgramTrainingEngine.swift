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
  private let maximumTokens: Int
  /// Of dropout.
  private let seed: UInt64
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
  private var angles: [Int: [Runner.Memory]] = [:]
  private var expertSums: MetricSums

  private enum Purpose: Hashable {
    case losses(PassShape, drops: Bool)
    case lossRows(PassShape)
    case logits(PassShape, count: Int)
    case gradients(PassShape, ModelPrograms.TeacherShape? = nil)
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

  private func run(_ purpose: Purpose, _ inputs: [Runner.Memory]) throws -> [Runner.Memory] {
    if loaded[purpose] == nil {
      let program =
        switch purpose {
        case .losses(let pass, let drops): programs.losses(pass, drops: drops)
        case .logits(let pass, let count): programs.logits(pass, count: count)
        case .lossRows(let pass): programs.lossRows(pass)
        case .gradients(let pass, let teacher): programs.gradients(pass, teacher)
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

  // MARK: - Losses and gradients

  package func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses {
    device.attempt { try losses(batch, lossWeights ?? batch.lossWeights, tokensBefore: nil) } ?? Self.noLosses(batch)
  }

  private static func noLosses(_ batch: Batch) -> TokenLosses {
    TokenLosses([Float](repeating: .nan, count: batch.tokenCount))
  }

  /// - Parameter tokensBefore: where dropout leaves out what it does there; nil for without.
  private func losses(_ batch: Batch, _ lossWeights: [Float], tokensBefore: Int?) throws -> TokenLosses {
    let (parts, pass) = divide(batch, lossWeights)
    let drops = tokensBefore != nil && dropout != nil
    let losses = try run(
      .losses(pass, drops: drops),
      inputs(parts, pass, lossWeights: lossWeights, mean: .tokens, tokensBefore: tokensBefore))
    return try tokenLosses(losses[0], parts, pass, lossWeights)
  }

  private func divide(_ batch: Batch, _ lossWeights: [Float]) -> (BatchParts, PassShape) {
    let parts = BatchParts(batch, replicas: runner.replicas)
    let longest = (0..<batch.documentCount).map { batch.rows(ofDocument: $0).count }.max() ?? 1
    let most = PassShape.mostTokens(of: maximumTokens, longestDocument: longest, replicas: runner.replicas)
    return (parts, PassShape(parts, maximumTokens: most, lossWeights: lossWeights))
  }

  /// Every replica computes them: they are asked for a few rows at a time.
  package func logits(_ batch: Batch, rows: [Int]) -> [Float] {
    guard !rows.isEmpty else { return [] }
    let parts = BatchParts(copies: runner.replicas, of: batch)
    let pass = PassShape(parts, maximumTokens: maximumTokens, lossWeights: nil)
    var count = 1
    while count < rows.count { count *= 2 }
    let padded = rows.map(Int32.init) + [Int32](repeating: 0, count: count - rows.count)
    let logits = device.attempt {
      try runner.download(
        run(
          .logits(pass, count: count),
          inputs(parts, pass, lossWeights: batch.lossWeights, mean: .tokens, tokensBefore: nil)
            + [runner.upload(HostTensor(integers: padded, [count]))])[0])
    }
    let numbers = rows.count * configuration.outputSize
    return logits.map { Array($0.floats.prefix(numbers)) } ?? [Float](repeating: .nan, count: numbers)
  }

  package func zeroGradients() {
    // Gone before others take their place.
    gradients = []
    gradientsChanged()
    gradients = device.attempt { try run(.zeros, []) } ?? []
    expertSums = Self.noExpertSums(configuration)
  }

  package func forwardBackward(
    _ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int
  ) -> TokenLosses {
    let found = device.attempt {
      switch weights {
      case .known(let values): return try addGradients(batch, values, mean, tokensBefore).losses
      case .afterForward(let function):
        let losses = try self.losses(batch, batch.lossWeights, tokensBefore: tokensBefore)
        _ = try addGradients(batch, function(losses), mean, tokensBefore)
        return losses
      }
    }
    return found ?? Self.noLosses(batch)
  }

  package func forwardBackward(
    _ batch: Batch, lossWeights: [Float], _ distillation: Distillation, teacher: any TrainingEngine, tokensBefore: Int
  ) -> (losses: TokenLosses, crossEntropies: TokenLosses) {
    guard let teacher = teacher as? Self, teacher.device === device else {
      preconditionFailure("a teacher of another device")
    }
    let found = device.attempt { try addGradients(batch, lossWeights, .tokens, tokensBefore, (teacher, distillation)) }
    return found.map { ($0.losses, $0.crossEntropies!) } ?? (Self.noLosses(batch), Self.noLosses(batch))
  }

  private func addGradients(
    _ batch: Batch, _ lossWeights: [Float], _ mean: LossMean, _ tokensBefore: Int,
    _ teaching: (teacher: ProgramTrainingEngine, distillation: Distillation)? = nil
  ) throws -> (losses: TokenLosses, crossEntropies: TokenLosses?) {
    let (parts, pass) = divide(batch, lossWeights)
    gradientsChanged()
    let shape = teaching.map {
      ModelPrograms.TeacherShape(Teaching($0.distillation, $0.teacher.configuration))
    }
    var outputs = try run(
      .gradients(pass, shape),
      inputs(parts, pass, lossWeights: lossWeights, mean: mean, tokensBefore: tokensBefore)
        + (teaching?.teacher.answers(parts, pass, lossWeights) ?? []) + gradients)
    gradients = Array(outputs.prefix(trained.entries.count))
    outputs.removeFirst(trained.entries.count)
    let losses = try tokenLosses(outputs.removeFirst(), parts, pass, lossWeights)
    let crossEntropies = try teaching.map { _ in try tokenLosses(outputs.removeFirst(), parts, pass, lossWeights) }
    if configuration.isMixture {
      let (balances, choices) = (try downloadAll(outputs[0]), try downloadAll(outputs[1]))
      for (replica, part) in parts.parts.enumerated() where part.documentCount > 0 {
        addExpertSums(
          balance: balances[replica][0], choices: choices[replica],
          documentWeights(part, parts.own(lossWeights, replica), mean))
      }
    }
    return (losses, crossEntropies)
  }

  /// What a model that learns from this one takes of it: the rows of which a loss is asked for as its output layer reads them,
  /// and that layer's matrix.
  private func answers(_ parts: BatchParts, _ pass: PassShape, _ lossWeights: [Float]) throws -> [Runner.Memory] {
    precondition(programs.model.adapter == nil, "a teacher with an adapter that is not merged")
    let rows = try run(
      .lossRows(pass), inputs(parts, pass, lossWeights: lossWeights, mean: .tokens, tokensBefore: nil))
    let role: ParameterRole = configuration.tiesEmbeddings ? .embedding : .output
    return rows + [weights[trained.entries.firstIndex { $0.role == role }!]]
  }

  private func tokenLosses(
    _ losses: Runner.Memory, _ parts: BatchParts, _ pass: PassShape, _ lossWeights: [Float]
  ) throws -> TokenLosses {
    var values = [Float](repeating: 0, count: lossWeights.count)
    for (replica, losses) in try downloadAll(losses).enumerated() {
      let rows = parts.rows[replica]
      for (row, loss) in zip(pass.rowsWithLoss(parts.own(lossWeights, replica)), losses) where row < rows.count {
        values[rows.lowerBound + row] = loss
      }
    }
    return TokenLosses(values)
  }

  private var dropout: AdapterDropout? { programs.model.dropout }

  /// What `TransformerPass` takes.
  ///
  /// - Parameter tokensBefore: as in `losses`.
  private func inputs(
    _ parts: BatchParts, _ pass: PassShape, lossWeights: [Float], mean: LossMean, tokensBefore: Int?
  ) throws -> [Runner.Memory] {
    let settings = configuration.rotarySettings()
    let documents = parts.parts.map { part in (0..<part.documentCount).map { part.rows(ofDocument: $0) } }
    let ownTables = documents.joined().contains { settings.dependsOnLength($0.count) }
    if !ownTables && angles[pass.rows] == nil {
      let table = RotaryAngles(settings, positions: pass.rows)
      angles[pass.rows] = [try runner.upload(table.cosines), try runner.upload(table.sines)]
    }
    // [replicas] what each has of its own.
    var (keys, values): ([HostTensor], [[HostTensor]]) = ([], [])
    for (replica, part) in parts.parts.enumerated() {
      let (ownWeights, rows) = (parts.own(lossWeights, replica), parts.rows[replica])
      let numbers = PassBatch(
        part, pass, lossWeights: ownWeights, documentWeights: documentWeights(part, ownWeights, mean),
        rotaryRows: ownTables
          ? (0..<part.tokenCount).map(Int32.init) : documents[replica].flatMap { (0..<$0.count).map(Int32.init) },
        configuration)
      let table = ownTables ? RotaryAngles(settings, part, rows: pass.rows) : nil
      values.append(numbers.tensors + (table.map { [$0.cosines, $0.sines] } ?? []))
      if let tokensBefore, let dropout {
        keys.append(dropout.values(rows: pass.rows, firstRow: tokensBefore + rows.lowerBound, seed: seed))
      }
    }
    let uploaded = try values[0].indices.map { place in try runner.upload(values.map { $0[place] }) }
    return try (keys.isEmpty ? [] : [runner.upload(keys)]) + weights + frozen + uploaded
      + (ownTables ? [] : angles[pass.rows]!)
  }

  /// [documents] how much each counts in the balance of experts.
  private func documentWeights(_ batch: Batch, _ lossWeights: [Float], _ mean: LossMean) -> [Double] {
    (0..<batch.documentCount).map { document in
      switch mean {
      case .tokens: batch.rows(ofDocument: document).reduce(0) { $0 + Double(lossWeights[$1]) }
      case .documents: 1
      }
    }
  }

  // MARK: - Use of experts

  package var sums: MetricSums { expertSums }

  private static func shareName(_ layer: Int, _ expert: Int) -> String {
    "\(ExpertSums.sharePrefix)\(layer)/\(expert)"
  }

  private static func noExpertSums(_ shape: ModelConfiguration) -> MetricSums {
    guard shape.isMixture else { return MetricSums() }
    return MetricSums(
      [ExpertSums.balance]
        + (0..<shape.layerCount).flatMap { layer in (0..<shape.expertCount).map { shareName(layer, $0) } })
  }

  private func addExpertSums(balance: Float, choices: [Float], _ documentWeights: [Double]) {
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
