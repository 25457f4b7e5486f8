import Model
import Programs

/// Training by programs: weights, gradients and moments live where the programs run, and each call of the engine runs one.
///
/// A program is made and loaded when a batch of its shape first comes.
package final class ProgramTrainingEngine<Runner: ProgramRunner>: TrainingEngine {
  package let configuration: ModelConfiguration
  package let table: ParameterTable
  package let trained: ParameterTable
  private let device: Device<Runner>
  private let programs: ModelPrograms
  private let optimizer: OptimizerKind?
  private let maximumTokens: Int
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
    case losses(PassShape)
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
    maximumTokens = settings.maximumTokens
    weights = model.trained.entries.map { entry in
      device.upload(
        HostTensor(entry.range.map { trainable.trained.values[$0] }, entry.shape))
    }
    if case .adapter(_, _, let read) = trainable {
      frozen = try model.frozen.map { entry in
        let values = try [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
          try read(entry, buffer.baseAddress!)
          count = entry.count
        }
        return device.upload(HostTensor(values, entry.shape, model.type(ofFrozen: entry).element))
      }
    } else {
      frozen = []
    }
    withSecond = settings.optimizer.map { ModelPrograms.withSecondMoment(model.trained, $0) } ?? []
    expertSums = Self.noExpertSums(model.shape)
    if optimizer != nil {
      zeroGradients()
      firstMoments = run(.zeros, [])
      secondMoments = device.run(device.load(programs.zeros(withSecond)), [])
    }
  }

  private func run(_ purpose: Purpose, _ inputs: [Runner.Memory]) -> [Runner.Memory] {
    if loaded[purpose] == nil {
      let program =
        switch purpose {
        case .losses(let pass): programs.losses(pass)
        case .logits(let pass, let count): programs.logits(pass, count: count)
        case .gradients(let pass): programs.gradients(pass)
        case .zeros: programs.zeros(trained.entries)
        case .squares: programs.gradientSquares()
        case .step: programs.step(optimizer!)
        }
      loaded[purpose] = device.load(program)
    }
    return device.run(loaded[purpose]!, inputs)
  }

  // MARK: - Losses and gradients

  package func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses {
    let pass = PassShape(batch, maximumTokens: maximumTokens)
    let losses = run(
      .losses(pass), inputs(batch, pass, lossWeights: lossWeights ?? batch.lossWeights, mean: .tokens))
    return tokenLosses(losses[0], batch)
  }

  package func logits(_ batch: Batch, rows: [Int]) -> [Float] {
    guard !rows.isEmpty else { return [] }
    let pass = PassShape(batch, maximumTokens: maximumTokens)
    var count = 1
    while count < rows.count { count *= 2 }
    let padded = rows.map(Int32.init) + [Int32](repeating: 0, count: count - rows.count)
    let logits = run(
      .logits(pass, count: count),
      inputs(batch, pass, lossWeights: batch.lossWeights, mean: .tokens)
        + [device.upload(HostTensor(integers: padded, [count]))])
    return Array(device.download(logits[0]).floats.prefix(rows.count * configuration.vocabularySize))
  }

  package func zeroGradients() {
    gradients = run(.zeros, [])
    expertSums = Self.noExpertSums(configuration)
  }

  package func forwardBackward(
    _ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int
  ) -> TokenLosses {
    let pass = PassShape(batch, maximumTokens: maximumTokens)
    let (known, found): ([Float], TokenLosses?) =
      switch weights {
      case .known(let values): (values, nil)
      case .afterForward(let function):
        {
          let losses = forward(batch, lossWeights: nil)
          return (function(losses), losses)
        }()
      }
    var outputs = run(.gradients(pass), inputs(batch, pass, lossWeights: known, mean: mean) + gradients)
    gradients = Array(outputs.prefix(trained.entries.count))
    outputs.removeFirst(trained.entries.count)
    if configuration.isMixture {
      addExpertSums(
        balance: device.download(outputs[1]).floats[0], choices: device.download(outputs[2]).floats,
        documentWeights(batch, known, mean))
    }
    return found ?? tokenLosses(outputs[0], batch)
  }

  private func tokenLosses(_ losses: Runner.Memory, _ batch: Batch) -> TokenLosses {
    TokenLosses(Array(device.download(losses).floats.prefix(batch.tokenCount)))
  }

  /// What `TransformerPass` takes.
  private func inputs(
    _ batch: Batch, _ pass: PassShape, lossWeights: [Float], mean: LossMean
  ) -> [Runner.Memory] {
    let settings = configuration.rotarySettings()
    let documents = (0..<batch.documentCount).map(batch.rows(ofDocument:))
    let rotaryRows: [Int32]
    let tables: [Runner.Memory]
    if documents.contains(where: { settings.dependsOnLength($0.count) }) {
      rotaryRows = (0..<batch.tokenCount).map(Int32.init)
      tables = upload(RotaryAngles(settings, batch, rows: pass.rows))
    } else {
      rotaryRows = documents.flatMap { (0..<$0.count).map(Int32.init) }
      if angles[pass.rows] == nil { angles[pass.rows] = upload(RotaryAngles(settings, positions: pass.rows)) }
      tables = angles[pass.rows]!
    }
    let values = PassBatch(
      batch, pass, lossWeights: lossWeights, documentWeights: documentWeights(batch, lossWeights, mean),
      rotaryRows: rotaryRows, configuration)
    return weights + frozen + values.tensors.map(device.upload) + tables
  }

  private func upload(_ angles: RotaryAngles) -> [Runner.Memory] {
    [device.upload(angles.cosines), device.upload(angles.sines)]
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
    device.download(run(.squares, gradients)[0]).floats.reduce(0) { $0 + Double($1) }.squareRoot()
  }

  package func step(_ step: OptimizerStep) {
    precondition(optimizer != nil, "an engine that only computes losses")
    let outputs = run(
      .step, weights + firstMoments + secondMoments + gradients + [device.upload(StepNumbers.values(step))])
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
    let memory =
      switch values {
      case .weights: weights[place]
      case .gradients: gradients[place]
      case .firstMoment: firstMoments[place]
      case .secondMoment: secondMoments[place]
      }
    return device.download(memory).floats
  }

  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    let memory = device.upload(HostTensor(numbers, entry.shape))
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
    var values = device.download(frozen[table.entries.firstIndex(of: entry)!]).floats
    guard let a = trained.entry(LoRAKey.a(entry.key)), let b = trained.entry(LoRAKey.b(entry.key)) else {
      return values
    }
    addLowRankProduct(
      read(.weights, of: b), read(.weights, of: a), outputs: b.shape[0], rank: a.shape[0], inputs: a.shape[1],
      scale: adapter.scale, to: &values)
    return values
  }
}
