import Model
import Programs

/// Training by programs: weights, gradients and moments live where the programs run, and each call of the engine runs one.
///
/// A program is made and loaded when a batch of its shape first comes. When the device has failed, all numbers are none
/// (NaN), and nothing changes: `ProgramEngineProvider.failure` says why.
package final class ProgramTrainingEngine<Runner: ProgramRunner>: TrainingEngine {
  package let configuration: ModelConfiguration
  package let table: ParameterTable
  package let trained: ParameterTable
  private let device: Device<Runner>
  private let programs: ModelPrograms
  private let optimizer: OptimizerKind?
  private let maximumTokens: Int
  /// Of dropout.
  private let seed: UInt64
  private var loaded: [Purpose: Runner.Loaded] = [:]

  /// In the order of `trained`, those of a base in that of `table`.
  private var weights: [Runner.Memory]
  private let frozen: [Runner.Memory]
  private var gradients: [Runner.Memory] = []
  private var firstMoments: [Runner.Memory] = []
  /// Of `withSecond`.
  private var secondMoments: [Runner.Memory] = []
  private let withSecond: [ParameterEntry]
  /// By their rows.
  private var angles: [Int: [Runner.Memory]] = [:]
  private var expertSums: MetricSums

  private enum Purpose: Hashable {
    case losses(PassShape, drops: Bool)
    case logits(PassShape, count: Int)
    case gradients(PassShape)
    case zeros, squares, step
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
    withSecond = settings.optimizer.map { ModelPrograms.withSecondMoment(model.trained, $0) } ?? []
    expertSums = Self.noExpertSums(model.shape)
    if optimizer != nil {
      gradients = try run(.zeros, [])
      firstMoments = try run(.zeros, [])
      secondMoments = try runner.run(try runner.load(programs.zeros(withSecond)), [])
    }
  }

  private var runner: Runner { device.runner }

  private func run(_ purpose: Purpose, _ inputs: [Runner.Memory]) throws -> [Runner.Memory] {
    if loaded[purpose] == nil {
      let program =
        switch purpose {
        case .losses(let pass, let drops): programs.losses(pass, drops: drops)
        case .logits(let pass, let count): programs.logits(pass, count: count)
        case .gradients(let pass): programs.gradients(pass)
        case .zeros: programs.zeros(trained.entries)
        case .squares: programs.gradientSquares()
        case .step: programs.step(optimizer!)
        }
      loaded[purpose] = try runner.load(program)
    }
    return try runner.run(loaded[purpose]!, inputs)
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
    let pass = PassShape(batch, maximumTokens: maximumTokens, lossWeights: lossWeights)
    let drops = tokensBefore != nil && dropout != nil
    let losses = try run(
      .losses(pass, drops: drops),
      inputs(batch, pass, lossWeights: lossWeights, mean: .tokens, tokensBefore: tokensBefore))
    return try tokenLosses(losses[0], batch, pass, lossWeights)
  }

  package func logits(_ batch: Batch, rows: [Int]) -> [Float] {
    guard !rows.isEmpty else { return [] }
    let pass = PassShape(batch, maximumTokens: maximumTokens, lossWeights: nil)
    var count = 1
    while count < rows.count { count *= 2 }
    let padded = rows.map(Int32.init) + [Int32](repeating: 0, count: count - rows.count)
    let logits = device.attempt {
      try runner.download(
        run(
          .logits(pass, count: count),
          inputs(batch, pass, lossWeights: batch.lossWeights, mean: .tokens, tokensBefore: nil)
            + [runner.upload(HostTensor(integers: padded, [count]))])[0])
    }
    let numbers = rows.count * configuration.vocabularySize
    return logits.map { Array($0.floats.prefix(numbers)) } ?? [Float](repeating: .nan, count: numbers)
  }

  package func zeroGradients() {
    // Gone before others take their place.
    gradients = []
    gradients = device.attempt { try run(.zeros, []) } ?? []
    expertSums = Self.noExpertSums(configuration)
  }

  package func forwardBackward(
    _ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int
  ) -> TokenLosses {
    let found = device.attempt {
      switch weights {
      case .known(let values): return try addGradients(batch, values, mean, tokensBefore)
      case .afterForward(let function):
        let losses = try self.losses(batch, batch.lossWeights, tokensBefore: tokensBefore)
        _ = try addGradients(batch, function(losses), mean, tokensBefore)
        return losses
      }
    }
    return found ?? Self.noLosses(batch)
  }

  private func addGradients(
    _ batch: Batch, _ lossWeights: [Float], _ mean: LossMean, _ tokensBefore: Int
  ) throws -> TokenLosses {
    let pass = PassShape(batch, maximumTokens: maximumTokens, lossWeights: lossWeights)
    var outputs = try run(
      .gradients(pass),
      inputs(batch, pass, lossWeights: lossWeights, mean: mean, tokensBefore: tokensBefore) + gradients)
    gradients = Array(outputs.prefix(trained.entries.count))
    outputs.removeFirst(trained.entries.count)
    if configuration.isMixture {
      addExpertSums(
        balance: try runner.download(outputs[1]).floats[0], choices: try runner.download(outputs[2]).floats,
        documentWeights(batch, lossWeights, mean))
    }
    return try tokenLosses(outputs[0], batch, pass, lossWeights)
  }

  private func tokenLosses(
    _ losses: Runner.Memory, _ batch: Batch, _ pass: PassShape, _ lossWeights: [Float]
  ) throws -> TokenLosses {
    var values = [Float](repeating: 0, count: batch.tokenCount)
    for (row, loss) in zip(pass.rowsWithLoss(lossWeights), try runner.download(losses).floats)
    where row < values.count { values[row] = loss }
    return TokenLosses(values)
  }

  private var dropout: AdapterDropout? { programs.model.dropout }

  /// What `TransformerPass` takes.
  ///
  /// - Parameter tokensBefore: as in `losses`.
  private func inputs(
    _ batch: Batch, _ pass: PassShape, lossWeights: [Float], mean: LossMean, tokensBefore: Int?
  ) throws -> [Runner.Memory] {
    let settings = configuration.rotarySettings()
    let documents = (0..<batch.documentCount).map(batch.rows(ofDocument:))
    let rotaryRows: [Int32]
    let tables: [Runner.Memory]
    if documents.contains(where: { settings.dependsOnLength($0.count) }) {
      rotaryRows = (0..<batch.tokenCount).map(Int32.init)
      tables = try upload(RotaryAngles(settings, batch, rows: pass.rows))
    } else {
      rotaryRows = documents.flatMap { (0..<$0.count).map(Int32.init) }
      if angles[pass.rows] == nil { angles[pass.rows] = try upload(RotaryAngles(settings, positions: pass.rows)) }
      tables = angles[pass.rows]!
    }
    let values = PassBatch(
      batch, pass, lossWeights: lossWeights, documentWeights: documentWeights(batch, lossWeights, mean),
      rotaryRows: rotaryRows, configuration)
    var keys: [Runner.Memory] = []
    if let tokensBefore, let dropout {
      keys = [try runner.upload(dropout.values(rows: pass.rows, firstRow: tokensBefore, seed: seed))]
    }
    return try keys + weights + frozen + values.tensors.map(runner.upload) + tables
  }

  private func upload(_ angles: RotaryAngles) throws -> [Runner.Memory] {
    [try runner.upload(angles.cosines), try runner.upload(angles.sines)]
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
    let squares = device.attempt { try runner.download(run(.squares, gradients)[0]) }
    return squares.map { $0.floats.reduce(0) { $0 + Double($1) }.squareRoot() } ?? .nan
  }

  package func step(_ step: OptimizerStep) {
    precondition(optimizer != nil, "an engine that only computes losses")
    let outputs = device.attempt {
      try run(
        .step, weights + firstMoments + secondMoments + gradients + [runner.upload(StepNumbers.values(step))])
    }
    guard let outputs else { return }
    let count = trained.entries.count
    weights = Array(outputs[..<count])
    firstMoments = Array(outputs[count..<2 * count])
    secondMoments = Array(outputs[(2 * count)...])
  }

  package var momentBytes: Int {
    guard optimizer != nil else { return 0 }
    return 4 * (trained.entries + withSecond).reduce(0) { $0 + $1.count }
  }

  // MARK: - Values

  package func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool {
    switch values {
    case .weights: true
    case .gradients, .firstMoment: optimizer != nil
    case .secondMoment: withSecond.contains(entry)
    }
  }

  package func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float] {
    let place = place(values, entry)
    return numbers(entry) {
      switch values {
      case .weights: weights[place]
      case .gradients: gradients[place]
      case .firstMoment: firstMoments[place]
      case .secondMoment: secondMoments[place]
      }
    }
  }

  private func numbers(_ entry: ParameterEntry, of memory: () -> Runner.Memory) -> [Float] {
    device.attempt { try runner.download(memory()).floats } ?? [Float](repeating: .nan, count: entry.count)
  }

  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    guard let memory = device.attempt({ try runner.upload(HostTensor(numbers, entry.shape)) }) else { return }
    let place = place(values, entry)
    switch values {
    case .weights: weights[place] = memory
    case .gradients: gradients[place] = memory
    case .firstMoment: firstMoments[place] = memory
    case .secondMoment: secondMoments[place] = memory
    }
  }

  private func place(_ values: EngineValues, _ entry: ParameterEntry) -> Int {
    guard let place = (values == .secondMoment ? withSecond : trained.entries).firstIndex(of: entry) else {
      preconditionFailure("no \(values) of \(entry.key) are kept")
    }
    return place
  }

  package func modelWeight(_ entry: ParameterEntry) -> [Float] {
    guard let adapter = programs.model.adapter else { return read(.weights, of: entry) }
    var values = numbers(entry) { frozen[table.entries.firstIndex(of: entry)!] }
    guard let a = trained.entry(LoRAKey.a(entry.key)), let b = trained.entry(LoRAKey.b(entry.key)) else {
      return values
    }
    addLowRankProduct(
      read(.weights, of: b), read(.weights, of: a), outputs: b.shape[0], rank: a.shape[0], inputs: a.shape[1],
      scale: adapter.scale, to: &values)
    return values
  }
}
