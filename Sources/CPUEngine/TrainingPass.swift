import Compute
import Machine
import Model

/// The forward and backward pass of a model over packed documents: weights and a batch in, loss and gradients out.
///
/// Every worker owns a block of rows (tokens) and takes them through a layer alone. Two points in a layer need the
/// others: attention, where documents and heads are divided among workers, and the gradients of weights, where each worker sums
/// its own rows of a matrix over all tokens. (A mixture of experts has a third: where an expert's rows begin.) So no
/// gradient exists twice, and a sum has the same order in every run with the same number of workers. Nothing is
/// allocated after `init` once each shape of product has occurred.
package final class TrainingPass {
  /// What is trained: the weights of the whole model, or those of an adapter.
  package let parameters: ParameterBlock
  package let precision: ElementType
  /// The gradient of Σ weight · loss since `zeroGradients`, laid out as the parameters are. Nil without training.
  package let gradients: UnsafeMutablePointer<Float>?
  /// The parameters rounded to bfloat16, laid out as they are; nil in fp32, where they serve themselves.
  package let workingWeights: UnsafeMutablePointer<BFloat16>?

  /// What became of the experts since `zeroGradients`; nil for a dense model.
  package let expertUse: ExpertUse?
  /// Where the time goes; nil where it is not measured.
  package var times: PassTimes?
  /// Called during a backward pass as soon as the gradients of a layer's weights hold all of the batch, from the last
  /// layer to the first; never for an adapter, whose gradients are complete at the end only.
  package var onLayerComplete: (() -> Void)?

  let team: WorkerTeam
  /// Whether a layer's activations are found again on the way back, from its input, rather than kept.
  let recomputes: Bool
  let shape: ModelConfiguration
  let plan: ActivationPlan
  let batch: PassBatch
  let weights: WeightViews
  let vectors: VectorOffsets
  /// Nil without training, and where the weights are frozen.
  let weightGradients: WeightViews?
  /// [experts, n] of each layer, always fp32; none for a dense model.
  let routers: [MatrixView]
  let routerGradients: [MatrixView]
  /// The adapter, if that is what is trained.
  let lora: LoRAPass?
  /// What learns, in a model that sees; everything in others.
  let learning: SightTraining
  /// Only of a model that sees.
  private let sight: SightPass?
  /// [pictures · rowsPerPicture, n] what the current batch's pictures became, until the next.
  private(set) var pictureRows: MatrixView?
  /// What of the gradients is summed up: that of the weights that learn.
  private let learnedRanges: [Range<Int>]
  let rotaryTable: RotaryTable
  let attentionShape: AttentionShape
  let attentionScratch: [AttentionScratch]
  /// Each worker's own sums for the gradients of norms and biases; nil without training.
  let vectorGradients: VectorGradients?
  /// Where the offsets of norms and biases count from.
  private let vectorBase: UnsafePointer<Float>
  private let model: TrainedModel
  let arena: AlignedBuffer
  /// The memory of `gradients`.
  let gradientBuffer: AlignedBuffer?
  private let workingBuffer: AlignedBuffer?

  /// A pass of a whole model.
  ///
  /// - Parameters:
  ///   - maximumTokens: the most tokens of a batch, and of a document.
  ///   - trains: false for a pass that only finds losses and logits, which needs a fraction of the memory.
  ///   - recomputes: keep of every layer its input alone, and go forward through it once more on the way back: less
  ///     memory for more time, and the same bits (Chen et al. 2016, arXiv 1604.06174).
  ///   - rotaryScaling: the model's own when nil.
  package convenience init(
    _ parameters: Parameters, precision: ElementType, maximumTokens: Int, team: WorkerTeam, trains: Bool = true,
    recomputes: Bool = false, rotaryScaling: RotaryScaling? = nil
  ) throws(OutOfMemoryError) {
    try self.init(
      .whole(parameters), precision: precision, maximumTokens: maximumTokens, team: team, trains: trains,
      recomputes: recomputes, rotaryScaling: rotaryScaling)
  }

  /// - Parameters:
  ///   - model: frozen weights are of the type `precision`.
  ///   - seed: of an adapter's dropout.
  ///   - learning: what has gradients, in a model that sees.
  package init(
    _ model: TrainedModel, precision: ElementType, maximumTokens: Int, team: WorkerTeam, trains: Bool = true,
    recomputes: Bool = false, rotaryScaling: RotaryScaling? = nil, seed: UInt64 = 0,
    learning: SightTraining = .everything
  ) throws(OutOfMemoryError) {
    self.model = model
    self.learning = model.configuration.sight == nil ? .everything : learning
    parameters = model.trained
    self.precision = precision
    self.team = team
    self.recomputes = recomputes
    shape = model.configuration
    let table = parameters.table
    batch = PassBatch(maximumTokens: maximumTokens, workers: team.count)
    plan = ActivationPlan(
      shape, rows: batch.capacity, precision: precision, workers: team.count, trains: trains, recomputes: recomputes)
    arena = try AlignedBuffer(byteCount: plan.byteCount)
    expertUse = shape.isMixture ? ExpertUse(shape, workers: team.count) : nil
    var trained = UnsafeMutableRawPointer(parameters.values)
    if precision == .bfloat16 {
      let buffer = try AlignedBuffer(byteCount: table.totalCount * 2)
      trained = buffer.base
      workingBuffer = buffer
      workingWeights = buffer.base.bindMemory(to: BFloat16.self, capacity: table.totalCount)
    } else {
      workingBuffer = nil
      workingWeights = nil
    }
    gradientBuffer = trains ? try AlignedBuffer(byteCount: table.totalCount * 4) : nil
    gradients = gradientBuffer?.base.bindMemory(to: Float.self, capacity: table.totalCount)
    vectorGradients = trains ? try VectorGradients(shape, workers: team.count) : nil
    switch model {
    case .whole(let parameters):
      weights = WeightViews(trained, precision, table, shape)
      vectors = VectorOffsets(table, shape)
      routers = WeightViews.routers(parameters.values, table, shape)
      vectorBase = UnsafePointer(parameters.values)
      weightGradients = gradientBuffer.map { [shape] in WeightViews($0.base, .float32, table, shape) }
      routerGradients = gradients.map { [shape] in WeightViews.routers($0, table, shape) } ?? []
      lora = nil
    case .adapter(let adapter, let base):
      precondition(base.type == precision, "frozen weights of \(base.type) in a pass of \(precision)")
      weights = base.views
      vectors = VectorOffsets(base.exactTable, shape)
      routers = base.routers
      vectorBase = base.exactValues
      weightGradients = nil
      routerGradients = []
      lora = try LoRAPass(
        adapter, weights: trained, precision: precision, rows: batch.capacity, workers: team.count, seed: seed)
    }
    rotaryTable = try RotaryTable(shape.rotarySettings(scaling: rotaryScaling), positions: batch.capacity)
    let attentionShape = AttentionShape(
      headCount: shape.headCount, keyValueHeadCount: shape.keyValueHeadCount, headSize: shape.headSize)
    self.attentionShape = attentionShape
    var scratch: [AttentionScratch] = []
    for _ in 0..<team.count {
      scratch.append(try AttentionScratch(shape: attentionShape, maximumSequenceLength: batch.capacity))
    }
    attentionScratch = scratch
    learnedRanges = parameters.table.learnedRanges(model.configuration, learning)
    sight = try Self.sight(
      model, precision: precision, weights: trained, gradients: gradients, trainsTower: self.learning.trainsTower,
      maximumTokens: batch.capacity, team: team)
    refreshWorkingWeights()
  }

  /// What encodes pictures for a model; nil for one that does not see. Below an adapter it learns nothing.
  private static func sight(
    _ model: TrainedModel, precision: ElementType, weights: UnsafeMutableRawPointer,
    gradients: UnsafeMutablePointer<Float>?, trainsTower: Bool, maximumTokens: Int, team: WorkerTeam
  ) throws(OutOfMemoryError) -> SightPass? {
    guard let sight = model.configuration.sight else { return nil }
    let width = model.configuration.hiddenSize
    let pictures = max(1, maximumTokens / sight.rowsPerPicture)
    switch model {
    case .whole(let parameters):
      return try SightPass(
        sight, width: width, precision: precision, weights: weights, table: parameters.table,
        exact: SightVectors(base: parameters.values, table: parameters.table), gradients: gradients,
        trainsTower: gradients != nil && trainsTower, pictures: pictures, team: team)
    case .adapter(_, let base):
      return try SightPass(
        sight, width: width, precision: precision, weights: base.values.base, table: base.table,
        exact: SightVectors(base: base.values.exactValues, table: base.exactTable), gradients: nil, trainsTower: false,
        pictures: pictures, team: team)
    }
  }

  /// Bytes that a pass holds in addition to the parameters: activations, gradients, the parameters' working copy, and frozen
  /// weights.
  ///
  /// - Parameters:
  ///   - lora: the adapter that is trained; nil for the whole model.
  ///   - learning: what has gradients, in a model that sees.
  package static func memoryBytes(
    _ configuration: ModelConfiguration, precision: ElementType, maximumTokens: Int, workers: Int, trains: Bool = true,
    recomputes: Bool = false, lora: LoRAConfiguration? = nil, learning: SightTraining = .everything
  ) -> Int {
    let rows = PassBatch.padded(maximumTokens, workers)
    let plan = ActivationPlan(
      configuration, rows: rows, precision: precision, workers: workers, trains: trains, recomputes: recomputes)
    let perParameter = (trains ? 4 : 0) + (precision == .bfloat16 ? 2 : 0)
    let trainsSight = trains && lora == nil
    let sightBytes =
      configuration.sight.map {
        SightPass.memoryBytes(
          $0, width: configuration.hiddenSize, precision: precision, pictures: max(1, rows / $0.rowsPerPicture),
          workers: workers, trains: trainsSight, trainsTower: trainsSight && learning.trainsTower)
      } ?? 0
    guard let lora else {
      let unlearned = (try? ParameterTable(configuration)).map { table in
        table.entries.reduce(0) { $0 + $1.count }
          - table.learned(configuration, learning).entries.reduce(0) { $0 + $1.count }
      }
      return plan.byteCount + sightBytes + configuration.parameterCount * perParameter
        - (trains ? 4 * (unlearned ?? 0) : 0)
    }
    return plan.byteCount + sightBytes + lora.parameterCount(configuration) * perParameter
      + configuration.parameterCount * precision.byteCount
      + LoRAPass.memoryBytes(lora, configuration, precision: precision, rows: rows, workers: workers)
  }

  /// Rounds the parameters into the working weights; to be called whenever anybody but the optimizer changed them.
  package func refreshWorkingWeights() {
    guard let workingWeights else { return }
    team.run { worker in
      let range = team.share(of: parameters.table.totalCount, worker: worker, multiple: 16)
      convert(
        MatrixView(parameters.values + range.lowerBound, rows: 1, columns: range.count),
        to: MatrixView(
          UnsafeMutableRawPointer(workingWeights + range.lowerBound), rows: 1, columns: range.count, type: .bfloat16))
    }
  }

  package func zeroGradients() {
    guard let gradients else { preconditionFailure("this pass has no gradients") }
    expertUse?.reset()
    team.run { worker in
      for learned in learnedRanges {
        let range = team.share(of: learned.count, worker: worker, multiple: 16)
        (gradients + learned.lowerBound + range.lowerBound).update(repeating: 0, count: range.count)
      }
    }
  }

  /// The loss of a batch; adds the gradient of Σ weight · loss to `gradients`, and in a mixture of experts that of their
  /// balance (`ExpertUse`), which the loss does not contain.
  ///
  /// - Parameters:
  ///   - lossWeights: [tokens] in place of the batch's own.
  ///   - tokensBefore: tokens that the run has read before these: dropout numbers its rows by them.
  ///   - mean: how documents count in the balance of experts.
  ///   - weightsAfter: for an objective that is not a sum of the tokens' losses: gets these, and gives [tokens] the
  ///     objective's derivative with respect to each, which takes the place of the loss weights. Costs one more product with
  ///     the output matrix.
  /// - Returns: Σ weight · loss and Σ weight, by the weights that the gradient was computed with.
  package func forwardBackward(
    _ batch: Batch, lossWeights: [Float]? = nil, tokensBefore: Int = 0, mean: LossMean = .tokens,
    weightsAfter: ((_ losses: TokenLosses) -> [Float])? = nil
  ) -> LossSum {
    forwardBackward(
      batch, lossWeights: lossWeights, tokensBefore: tokensBefore, mean: mean, weightsAfter: weightsAfter, teacher: nil)
  }

  /// The same, perhaps with a teacher, which a part of each token's loss comes from, or with values beside the logits, whose
  /// weights `weightsAfter` sets.
  func forwardBackward(
    _ batch: Batch, lossWeights: [Float]?, tokensBefore: Int, mean: LossMean = .tokens,
    weightsAfter: ((_ losses: TokenLosses) -> [Float])? = nil, teacher: Teacher?, values: ValuePass? = nil
  ) -> LossSum {
    guard let gradients, let vectorGradients else { preconditionFailure("this pass has no gradients") }
    fill(batch, lossWeights: lossWeights, mean: mean)
    if let other = teacher?.pass {
      precondition(
        other.team === team && other.shape.vocabularySize == shape.vocabularySize,
        "a teacher of another team or vocabulary")
      other.fill(batch, lossWeights: lossWeights)
    } else if let teacher {
      self.batch.setTeacherRows(batch.teacherRows, count: teacher.distillation.top)
    }
    lora?.dropoutOrigin = tokensBefore
    defer { lora?.dropoutOrigin = nil }
    team.run { worker in
      times?.start(worker)
      teacher?.pass?.forwardLayers(worker)
      forwardLayers(worker)
      vectorGradients.zero(worker)
      lora?.zeroGradients(worker)
      if let weightsAfter {
        outputLoss(worker, findsGradients: false, values: values)
        if worker == 0 { self.batch.setLossWeights(weightsAfter(losses)) }
        meet(worker)
      }
      outputLoss(worker, findsGradients: true, teacher: teacher, values: values)
      backwardLayers(worker)
      guard let lora else { return }
      meet(worker)
      lora.addGradients(team.share(of: parameters.table.totalCount, worker: worker, multiple: 16), to: gradients)
      lap(.copies, worker)
    }
    // Frozen vectors have no use for theirs.
    if lora == nil && learning.trainsOutsideLayers { vectorGradients.addOutput(to: gradients + vectors.output) }
    if let sight, let rowsPerPicture = shape.sight?.rowsPerPicture {
      let pictures = self.batch.pictures
      sight.backward { row, target in
        let source = pictures[row / rowsPerPicture].lowerBound + row % rowsPerPicture
        convert(view(plan.dResidual).rows(source..<source + 1), to: target)
      }
    }
    expertUse?.addBatch(weight: self.batch.documentWeightSum)
    return lossSum()
  }

  /// The loss of a batch, without gradients.
  ///
  /// - Parameter lossWeights: [tokens] in place of the batch's own.
  package func forward(_ batch: Batch, lossWeights: [Float]? = nil) -> LossSum {
    forward(batch, lossWeights: lossWeights, values: nil)
  }

  /// The same, perhaps with values beside the logits.
  func forward(_ batch: Batch, lossWeights: [Float]?, values: ValuePass?) -> LossSum {
    fill(batch, lossWeights: lossWeights)
    team.run { worker in
      forwardLayers(worker)
      outputLoss(worker, findsGradients: false, values: values)
    }
    return lossSum()
  }

  /// - Parameter head: [hiddenSize].
  func valuePass(_ head: [Float]) -> ValuePass {
    precondition(head.count == shape.hiddenSize, "a value head of \(head.count) for \(shape.hiddenSize)")
    return ValuePass(head, rows: batch.capacity, workers: team.count)
  }

  func fill(_ batch: Batch, lossWeights: [Float]?, mean: LossMean = .tokens) {
    self.batch.fill(
      batch, lossWeights: lossWeights ?? batch.lossWeights, shape: shape, rotaryTable: rotaryTable, mean: mean)
    guard let sight else { return precondition(batch.pictures.isEmpty, "pictures for a model that does not see") }
    pictureRows = sight.forward(batch.pictures.map(\.values))
  }

  private func lossSum() -> LossSum { batch.lossSum(ofRows: 0..<batch.lossCount, tokens: batch.tokenCount) }

  /// The losses of the last batch.
  package var losses: TokenLosses { batch.tokenLosses }

  /// The gradient of Σ weight · loss with respect to an embedded span of the last batch, after `forwardBackward`:
  /// [rows, hiddenSize].
  ///
  /// - Parameter index: the span's in `Batch.embedded`.
  package func embeddedGradient(_ index: Int) -> [Float] {
    precondition(gradients != nil, "this pass has no gradients")
    let rows = view(plan.dResidual).rows(batch.embedded[index].rows)
    return Array(UnsafeBufferPointer(start: rows.floats, count: rows.rows * rows.columns))
  }

  // MARK: - Steps that every part of the pass takes

  /// One of the worker's matrix products.
  func multiply(
    _ worker: Int, _ a: MatrixView, aTransposed: Bool = false, _ b: MatrixView, bTransposed: Bool = false,
    into c: MatrixView, accumulates: Bool = false
  ) {
    team.products[worker].multiply(
      a, aTransposed: aTransposed, b, bTransposed: bTransposed, into: c, accumulates: accumulates)
    lap(.products, worker)
  }

  /// Waits for the other workers.
  func meet(_ worker: Int) {
    team.barrier()
    lap(.waiting, worker)
  }

  func lap(_ phase: PassPhase, _ worker: Int) { times?.lap(phase, worker) }

  // MARK: - Places

  /// The matrix of the current batch in a slot.
  func view(_ slot: ArenaSlot) -> MatrixView { arena.view(slot, rows: batch.rows) }

  /// The numbers of a slot that holds one a row.
  func column(_ slot: ArenaSlot) -> UnsafeMutablePointer<Float> { view(slot).floats }

  /// The rows of the batch that a worker owns.
  func rows(of worker: Int) -> Range<Int> {
    team.share(of: batch.rows, worker: worker, multiple: PassBatch.rowMultiple)
  }

  /// A layer's activations. Without training all layers share one place; with recomputation all except their inputs.
  func activations(_ layer: Int) -> LayerActivations { plan.layers[min(layer, plan.layers.count - 1)] }

  /// The residual stream after a layer: what the next one takes in.
  func residualAfter(_ layer: Int) -> MatrixView {
    view(layer + 1 < shape.layerCount ? activations(layer + 1).input : plan.output)
  }

  /// Whether the weights of a layer learn.
  func learns(_ layer: Int) -> Bool { learning.trains(layer: layer, of: shape.layerCount) }

  /// The values of a norm or bias.
  func vectorValues(_ offset: Int) -> UnsafePointer<Float> { vectorBase + offset }
}
