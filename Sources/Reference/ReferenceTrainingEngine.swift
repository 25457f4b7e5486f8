import Model

/// Training by the model on one page. Everything is computed in Double, one token after another; what a step leaves, weights
/// and moments, is rounded to fp32, as checkpoints keep it, so that a run resumes with the same bits.
///
/// An adapter is trained by the chain rule through the merged weight W + s·B·A, which the model reads.
package final class ReferenceTrainingEngine: DistillingEngine {
  package let configuration: ModelConfiguration
  package let table: ParameterTable
  package let trained: ParameterTable
  private let optimizer: OptimizerKind?
  /// All weights as the model reads them, and their gradients.
  var model: ReferenceModel
  /// [trained.totalCount] what training changes, and what it keeps of each.
  private var weights: [Double]
  private var gradients: [Double]
  private var firstMoments: [Double]
  private var secondMoments: [Double]
  private let adapter: Adapter?
  private var expertSums: MetricSums

  private struct Adapter {
    /// alpha/rank
    var scale: Double
    /// [table.totalCount] the weights of the base.
    var base: [Double]
    /// A and B, and the weight of the base that they are on.
    var pairs: [(a: ParameterEntry, b: ParameterEntry, weight: ParameterEntry)]
  }

  /// - Parameters:
  ///   - optimizer: nil for an engine that only computes losses.
  ///   - rotaryScaling: the model's own when nil.
  /// - Throws: `ReferenceEngineError` for an adapter with dropout; what reading the base throws.
  package init(_ trainable: TrainableModel, optimizer: OptimizerKind?, rotaryScaling: RotaryScaling? = nil) throws {
    var configuration = trainable.configuration
    if let rotaryScaling { configuration.rotaryScaling = rotaryScaling }
    self.configuration = configuration
    trained = trainable.trained.table
    self.optimizer = optimizer
    weights = (0..<trained.totalCount).map { Double(trainable.trained.values[$0]) }
    switch trainable {
    case .whole(let parameters):
      table = parameters.table
      model = ReferenceModel(configuration, table, weights: weights)
      adapter = nil
    case .adapter(let lora, let baseTable, let read):
      guard lora.configuration.dropout == 0 else { throw ReferenceEngineError.dropout }
      table = baseTable
      var base = [Float](repeating: 0, count: table.totalCount)
      try base.withUnsafeMutableBufferPointer { values in
        for entry in baseTable.entries { try read(entry, values.baseAddress! + entry.offset) }
      }
      adapter = Adapter(
        scale: Double(lora.configuration.scale), base: base.map(Double.init),
        pairs: baseTable.entries.compactMap { entry in
          guard let a = lora.table.entry(LoRAKey.a(entry.key)), let b = lora.table.entry(LoRAKey.b(entry.key)) else {
            return nil
          }
          return (a, b, entry)
        })
      model = ReferenceModel(configuration, baseTable, weights: base.map(Double.init))
    }
    gradients = [Double](repeating: 0, count: weights.count)
    (firstMoments, secondMoments) = (gradients, gradients)
    expertSums = Self.noExpertSums(configuration)
    mergeWeights()
  }

  // MARK: - Losses and gradients

  package func forward(_ batch: Batch, lossWeights: [Float]?) -> TokenLosses {
    let lossWeights = lossWeights ?? batch.lossWeights
    return losses(model.forward(batch), batch, lossWeights).losses
  }

  package func logits(_ batch: Batch, rows: [Int]) -> [Float] {
    let all = model.forward(batch).logits
    let width = configuration.vocabularySize
    return rows.flatMap { all[$0 * width..<($0 + 1) * width].map(Float.init) }
  }

  package func zeroGradients() {
    gradients = [Double](repeating: 0, count: weights.count)
    expertSums = Self.noExpertSums(configuration)
  }

  package func forwardBackward(
    _ batch: Batch, _ weights: TokenWeights, mean: LossMean, tokensBefore: Int
  ) -> TokenLosses {
    let activations = model.forward(batch)
    let known: [Float] = if case .known(let values) = weights { values } else { batch.lossWeights }
    var (losses, dLogits) = losses(activations, batch, known)
    if case .afterForward(let function) = weights {
      dLogits = self.losses(activations, batch, function(losses)).dLogits
    }
    addGradients(activations, dLogits: dLogits, batch, known, mean)
    return losses
  }

  /// - Parameters:
  ///   - lossWeights: [tokens], by which documents count in the balance of experts, unless that is 1 each.
  ///   - dFinal: what else reads the normalised output has found.
  func addGradients(
    _ activations: ReferenceModel.Activations, dLogits: [Double], dFinal: [Double]? = nil, _ batch: Batch,
    _ lossWeights: [Float], _ mean: LossMean
  ) {
    let documents = (0..<batch.documentCount).map(batch.rows(ofDocument:))
    let documentWeights =
      switch mean {
      case .tokens: documents.map { lossWeights[$0].reduce(0) { $0 + Double($1) } }
      case .documents: documents.map { _ in 1.0 }
      }
    addGradients(activations, dLogits: dLogits, dFinal: dFinal, documents, documentWeights: documentWeights)
  }

  package func forwardBackward(
    _ batch: Batch, lossWeights: [Float], _ distillation: Distillation, teacher: (any TrainingEngine)?,
    tokensBefore: Int
  ) -> (losses: TokenLosses, crossEntropies: TokenLosses) {
    guard let teacher = teacher as? ReferenceTrainingEngine else { preconditionFailure("a teacher of another engine") }
    let activations = model.forward(batch)
    let found = Reference.distillation(
      distillation, logits: activations.logits, teacher: teacher.model.forward(batch).logits,
      targets: batch.targets.map(Int.init), lossWeights: lossWeights.map(Double.init),
      vocabulary: configuration.vocabularySize)
    addGradients(activations, dLogits: found.dLogits, batch, lossWeights, .tokens)
    return (TokenLosses(found.losses.map(Float.init)), TokenLosses(found.crossEntropies.map(Float.init)))
  }

  /// Goes back through the model, and adds what it finds to the gradients and to the use of the experts.
  ///
  /// - Parameter dFinal: what else reads the normalised output has found.
  private func addGradients(
    _ activations: ReferenceModel.Activations, dLogits: [Double], dFinal: [Double]? = nil, _ documents: [Range<Int>],
    documentWeights: [Double]
  ) {
    model.gradients = [Double](repeating: 0, count: model.weights.count)
    model.backward(activations, dLogits: dLogits, dFinal: dFinal, documentWeights: documentWeights)
    addGradients()
    addExpertSums(activations, documents, documentWeights)
  }

  /// The loss of each token, 0 where its weight is 0, and the gradient of Σ weight · loss with respect to the logits.
  func losses(
    _ activations: ReferenceModel.Activations, _ batch: Batch, _ weights: [Float]
  ) -> (losses: TokenLosses, dLogits: [Double]) {
    let (losses, dLogits) = Reference.softmaxCrossEntropy(
      logits: activations.logits, targets: batch.targets.map(Int.init), lossWeights: weights.map(Double.init),
      gradientScale: 1, vocabulary: configuration.vocabularySize)
    return (TokenLosses(losses.map(Float.init)), dLogits)
  }

  package func gradientNorm() -> Double { gradients.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  // MARK: - Adapters

  /// W = base + s·B·A wherever an adapter is.
  private func mergeWeights() {
    guard let adapter else {
      model.weights = weights
      return
    }
    model.weights = adapter.base
    for (a, b, weight) in adapter.pairs {
      let product = Reference.multiply(
        Array(weights[b.range]), Array(weights[a.range]), rows: b.shape[0], inner: a.shape[0], columns: a.shape[1])
      for (index, value) in zip(weight.range, product) { model.weights[index] += adapter.scale * value }
    }
  }

  /// Of the whole model as they are; B̄ = s·W̄·Aᵀ and Ā = s·Bᵀ·W̄ of an adapter.
  private func addGradients() {
    guard let adapter else {
      for index in gradients.indices { gradients[index] += model.gradients[index] }
      return
    }
    for (a, b, weight) in adapter.pairs {
      let dW = model.gradients[weight.range].map { $0 * adapter.scale }
      let (outputs, rank, inputs) = (b.shape[0], a.shape[0], a.shape[1])
      let dB = Reference.multiply(
        dW, Array(weights[a.range]), bTransposed: true, rows: outputs, inner: inputs, columns: rank)
      let dA = Reference.multiply(
        Array(weights[b.range]), aTransposed: true, dW, rows: rank, inner: outputs, columns: inputs)
      for (index, value) in zip(b.range, dB) { gradients[index] += value }
      for (index, value) in zip(a.range, dA) { gradients[index] += value }
    }
  }

  // MARK: - Use of experts

  package var sums: MetricSums { expertSums }

  private static func noExpertSums(_ shape: ModelConfiguration) -> MetricSums {
    guard shape.isMixture else { return MetricSums() }
    return MetricSums(
      [ExpertSums.balance]
        + (0..<shape.layerCount).flatMap { layer in
          (0..<shape.expertCount).map { "\(ExpertSums.sharePrefix)\(layer)/\($0)" }
        })
  }

  private func addExpertSums(
    _ activations: ReferenceModel.Activations, _ documents: [Range<Int>], _ documentWeights: [Double]
  ) {
    guard configuration.isMixture else { return }
    var balance = 0.0
    for (layer, routing) in activations.layers.compactMap(\.routing).enumerated() {
      for (document, weight) in zip(documents, documentWeights) {
        balance +=
          weight * Reference.expertBalance(routing, tokens: document, expertCount: configuration.expertCount)
      }
      let choices = routing.experts.joined()
      for expert in 0..<configuration.expertCount {
        expertSums.add(
          "\(ExpertSums.sharePrefix)\(layer)/\(expert)", Double(choices.filter { $0 == expert }.count),
          weight: Double(choices.count))
      }
    }
    expertSums.add(
      ExpertSums.balance, configuration.balanceLossWeight * balance, weight: documentWeights.reduce(0, +))
  }

  // MARK: - Optimizer

  package func step(_ step: OptimizerStep) {
    guard let optimizer else { preconditionFailure("this engine has no optimizer") }
    for entry in trained.entries {
      var (w, m, v) = (
        Array(weights[entry.range]), Array(firstMoments[entry.range]), Array(secondMoments[entry.range])
      )
      let g = gradients[entry.range].map { $0 * step.gradientScale }
      if entry.isMovedByMuon(optimizer) {
        Reference.muonStep(
          parameters: &w, gradients: g, momentum: &m, rows: entry.shape[0], columns: entry.shape[1],
          learningRate: step.muon.learningRate, momentumShare: 0.95, weightDecay: step.muon.weightDecay)
      } else {
        Reference.adamWStep(
          parameters: &w, gradients: g, firstMoment: &m, secondMoment: &v, learningRate: step.adamW.learningRate,
          beta1: step.adamW.beta1, beta2: step.adamW.beta2, epsilon: step.adamW.epsilon,
          weightDecay: entry.role.isDecayed ? step.adamW.weightDecay : 0, step: step.number)
      }
      func store(_ values: [Double], in block: inout [Double]) {
        block.replaceSubrange(entry.range, with: values.map { Double(Float($0)) })
      }
      store(w, in: &weights)
      store(m, in: &firstMoments)
      store(v, in: &secondMoments)
    }
    mergeWeights()
  }

  // MARK: - Values

  package func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool {
    switch values {
    case .weights: true
    case .gradients, .firstMoment: optimizer != nil
    case .secondMoment: optimizer.map { !entry.isMovedByMuon($0) } ?? false
    }
  }

  package func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float] {
    let block =
      switch values {
      case .weights: weights
      case .gradients: gradients
      case .firstMoment: firstMoments
      case .secondMoment: secondMoments
      }
    return block[entry.range].map(Float.init)
  }

  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    precondition(numbers.count == entry.count, "\(numbers.count) numbers for \(entry.key)")
    let numbers = numbers.map(Double.init)
    switch values {
    case .weights:
      weights.replaceSubrange(entry.range, with: numbers)
      mergeWeights()
    case .gradients: gradients.replaceSubrange(entry.range, with: numbers)
    case .firstMoment: firstMoments.replaceSubrange(entry.range, with: numbers)
    case .secondMoment: secondMoments.replaceSubrange(entry.range, with: numbers)
    }
  }

  package func modelWeight(_ entry: ParameterEntry) -> [Float] { model.weights[entry.range].map(Float.init) }

  package var momentBytes: Int { optimizer == nil ? 0 : 16 * trained.totalCount }
}

/// What the reference engine does not do.
package enum ReferenceEngineError: Error, Equatable, CustomStringConvertible {
  case dropout
  case precision(ElementType)
  case ranks(Int)

  package var description: String {
    switch self {
    case .dropout: "the reference engine trains adapters without dropout only. Set the dropout to 0."
    case .precision(let type):
      "the reference engine computes in Double, not in \(type.rawValue). Choose the precision fp32."
    case .ranks(let count): "the reference engine trains in one process, not in \(count)."
    }
  }
}

/// Makes reference engines.
package struct ReferenceTrainingProvider: TrainingEngineProvider {
  package init() {}

  /// The one that it takes.
  package static var fastestPrecision: ElementType { .float32 }

  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    guard settings.precision == .float32 else { throw ReferenceEngineError.precision(settings.precision) }
    guard settings.ranks == 1 else { throw ReferenceEngineError.ranks(settings.ranks) }
    return try ReferenceTrainingEngine(
      model, optimizer: settings.optimizer, rotaryScaling: settings.rotaryScaling)
  }

  /// The arrays of weights, gradients and moments. A layer's activations add a few kilobytes for each token of a model
  /// that this engine is meant for.
  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    let trained = lora?.parameterCount(configuration) ?? configuration.parameterCount
    let teacher = try settings.teaching.map {
      try memoryBytes($0.configuration, lora: nil, settings.withoutTraining)
    }
    return (teacher ?? 0) + 8 * (3 * configuration.parameterCount + (settings.optimizer == nil ? 1 : 4) * trained)
  }
}
