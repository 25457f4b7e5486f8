import Model
import Programs

/// Losses and gradients.
extension ProgramTrainingEngine {
  package func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses {
    device.attempt { try losses(batch, lossWeights ?? batch.lossWeights, tokensBefore: nil) } ?? Self.noLosses(batch)
  }

  static func noLosses(_ batch: Batch) -> TokenLosses {
    TokenLosses([Float](repeating: .nan, count: batch.tokenCount))
  }

  /// - Parameter tokensBefore: where dropout leaves out what it does there; nil for without.
  private func losses(_ batch: Batch, _ lossWeights: [Float], tokensBefore: Int?) throws -> TokenLosses {
    let (parts, pass) = divide(batch, lossWeights)
    let drops = tokensBefore != nil && dropout != nil
    let losses = try run(
      .losses(pass, drops: drops),
      inputs(parts, pass, lossWeights: lossWeights, mean: .tokens, tokensBefore: tokensBefore))
    return TokenLosses(try tokenNumbers(losses[0], parts, pass, lossWeights))
  }

  func divide(_ batch: Batch, _ lossWeights: [Float]) -> (BatchParts, PassShape) {
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
        _ = try addGradients(batch, batch.lossWeights, derivatives: function(losses), mean, tokensBefore)
        return losses
      }
    }
    return found ?? Self.noLosses(batch)
  }

  package func forwardBackward(
    _ batch: Batch, lossWeights: [Float], _ distillation: Distillation, teacher: (any TrainingEngine)?,
    tokensBefore: Int
  ) -> (losses: TokenLosses, crossEntropies: TokenLosses) {
    guard let teacher = teacher as? Self, teacher.device === device else {
      preconditionFailure("a teacher of another device, or none")
    }
    precondition(distillation.top == nil, "a teacher's likeliest tokens alone, which programs do not compute")
    let found = device.attempt {
      try addGradients(batch, lossWeights, .tokens, tokensBefore, .teacher(teacher, distillation))
    }
    return found.map { ($0.losses, $0.crossEntropies!) } ?? (Self.noLosses(batch), Self.noLosses(batch))
  }

  /// What a loss comes from in addition to the logits and the targets.
  enum LossSource {
    case targets
    case teacher(ProgramTrainingEngine, Distillation)
    /// [hiddenSize] the value head, and [tokens] how much the value of each row counts.
    case values(head: [Float], weights: [Float])

    var kind: ModelPrograms.LossKind {
      switch self {
      case .targets: .targets
      case .teacher(let engine, let distillation):
        .teacher(ModelPrograms.TeacherShape(Teaching(distillation, engine.configuration)))
      case .values: .values
      }
    }
  }

  /// - Parameters:
  ///   - lossWeights: [tokens] 0 where no loss is asked for; by which documents count in the balance of experts.
  ///   - derivatives: [tokens] how much each loss counts; nil for `lossWeights`.
  /// - Returns: with a teacher the cross-entropies, too; with values [hiddenSize] the gradient of the head.
  func addGradients(
    _ batch: Batch, _ lossWeights: [Float], derivatives: [Float]? = nil, _ mean: LossMean, _ tokensBefore: Int,
    _ source: LossSource = .targets
  ) throws -> (losses: TokenLosses, crossEntropies: TokenLosses?, dHead: [Float]?) {
    let (parts, pass) = divide(batch, lossWeights)
    gradientsChanged()
    var extra: [Runner.Memory] = []
    switch source {
    case .targets: break
    case .teacher(let teacher, _): extra = try teacher.answers(parts, pass, lossWeights)
    case .values(let head, let weights):
      extra = [try upload(head: head), try upload(weights, asked: lossWeights, parts, pass)]
    }
    var outputs = try run(
      .gradients(pass, source.kind),
      inputs(parts, pass, lossWeights: lossWeights, derivatives: derivatives, mean: mean, tokensBefore: tokensBefore)
        + extra + gradients)
    gradients = Array(outputs.prefix(trained.entries.count))
    outputs.removeFirst(trained.entries.count)
    let losses = try tokenNumbers(outputs.removeFirst(), parts, pass, lossWeights)
    var (crossEntropies, dHead): (TokenLosses?, [Float]?)
    switch source {
    case .targets: break
    case .teacher: crossEntropies = TokenLosses(try tokenNumbers(outputs.removeFirst(), parts, pass, lossWeights))
    case .values(let head, _):
      let none = [Float](repeating: 0, count: head.count)
      dHead = try downloadAll(outputs.removeFirst()).reduce(none) { zip($0, $1).map(+) }
    }
    if configuration.isMixture {
      let (balances, choices) = (try downloadAll(outputs[0]), try downloadAll(outputs[1]))
      for (replica, part) in parts.parts.enumerated() where part.documentCount > 0 {
        addExpertSums(
          balance: balances[replica][0], choices: choices[replica],
          documentWeights(part, parts.own(lossWeights, replica), mean))
      }
    }
    return (TokenLosses(losses), crossEntropies, dHead)
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

  /// [tokens] what a program has found for the rows whose losses are asked for, 0 elsewhere.
  func tokenNumbers(
    _ numbers: Runner.Memory, _ parts: BatchParts, _ pass: PassShape, _ lossWeights: [Float]
  ) throws -> [Float] {
    var values = [Float](repeating: 0, count: lossWeights.count)
    for (replica, numbers) in try downloadAll(numbers).enumerated() {
      let rows = parts.rows[replica]
      for (row, number) in zip(pass.rowsWithLoss(parts.own(lossWeights, replica)), numbers)
      where row < rows.count && lossWeights[rows.lowerBound + row] != 0 {
        values[rows.lowerBound + row] = number
      }
    }
    return values
  }

  private var dropout: AdapterDropout? { programs.model.dropout }

  /// What `TransformerPass` takes.
  ///
  /// - Parameters:
  ///   - derivatives: as in `addGradients`.
  ///   - tokensBefore: as in `losses`.
  func inputs(
    _ parts: BatchParts, _ pass: PassShape, lossWeights: [Float], derivatives: [Float]? = nil, mean: LossMean,
    tokensBefore: Int?
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
        part, pass, lossWeights: ownWeights, derivatives: derivatives.map { parts.own($0, replica) },
        documentWeights: documentWeights(part, ownWeights, mean),
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
}
