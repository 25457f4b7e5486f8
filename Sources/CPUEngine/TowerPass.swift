import Compute
import Machine
import Model

/// The forward and backward pass of a tower over some pictures at once: pixels in, rows out.
///
/// As in `TrainingPass`, every worker owns a block of rows and takes them through a layer alone, except for attention,
/// where pictures and heads are divided, and the gradients of weights, where each worker sums its own rows of a matrix.
package final class TowerPass {
  let shape: VisionTowerConfiguration
  /// The most pictures at once.
  let capacity: Int
  let team: WorkerTeam
  let plan: TowerPlan
  let weights: SightViews
  let vectors: SightVectors
  /// Nil where the tower does not learn.
  let gradients: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?
  /// The pictures whose activations are in place, by their numbers in the caller's list.
  private(set) var current: Range<Int> = 0..<0

  private let arena: AlignedBuffer
  private let attentionShape: AttentionShape
  private let attentionScratch: [AttentionScratch]
  /// [capacity + 1] where pictures begin.
  private let offsets: [Int32]

  /// Rows that keep a team busy, and whose activations are not too many.
  package static func capacity(_ tower: VisionTowerConfiguration, workers: Int) -> Int {
    max(1, 512 * workers / tower.rowCount)
  }

  init(
    _ shape: VisionTowerConfiguration, capacity: Int, precision: ElementType, weights: SightViews,
    vectors: SightVectors, gradients: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?,
    team: WorkerTeam
  ) throws(OutOfMemoryError) {
    self.shape = shape
    self.capacity = capacity
    self.team = team
    self.weights = weights
    self.vectors = vectors
    self.gradients = gradients
    plan = TowerPlan(shape, pictures: capacity, precision: precision, trains: gradients != nil)
    arena = try AlignedBuffer(plan.arena)
    attentionShape = AttentionShape(
      headCount: shape.headCount, keyValueHeadCount: shape.headCount, headSize: shape.headSize, isCausal: false)
    var scratch: [AttentionScratch] = []
    for _ in 0..<team.count {
      scratch.append(try AttentionScratch(shape: attentionShape, maximumSequenceLength: shape.rowCount))
    }
    attentionScratch = scratch
    offsets = (0...capacity).map { Int32($0 * shape.rowCount) }
  }

  // MARK: - Places

  var rowCount: Int { current.count * shape.rowCount }
  func view(_ slot: ArenaSlot) -> MatrixView { arena.view(slot, rows: rowCount) }
  func column(_ slot: ArenaSlot) -> UnsafeMutablePointer<Float> { view(slot).floats }
  func rows(of worker: Int) -> Range<Int> { team.share(of: rowCount, worker: worker, multiple: 16) }
  func activations(_ layer: Int) -> TowerActivations { plan.layers[min(layer, plan.layers.count - 1)] }
  /// The layers that a row passes on the way to what is used.
  var layerCount: Int { shape.feature.layer }

  func residualAfter(_ layer: Int) -> MatrixView {
    view(layer + 1 < layerCount ? activations(layer + 1).input : plan.output)
  }

  /// What a projector gets, class tokens included: [rows, n].
  var feature: MatrixView { view(shape.feature.isNormalized ? plan.normalizedOutput : plan.output) }

  func multiply(
    _ worker: Int, _ a: MatrixView, aTransposed: Bool = false, _ b: MatrixView, bTransposed: Bool = false,
    into c: MatrixView, accumulates: Bool = false
  ) {
    team.products[worker].multiply(
      a, aTransposed: aTransposed, b, bTransposed: bTransposed, into: c, accumulates: accumulates)
  }

  // MARK: - Forward

  /// Computes `feature` of some pictures.
  ///
  /// - Parameters:
  ///   - pictures: their numbers, at most `capacity`.
  ///   - pixels: of a number, [3, imageSize, imageSize].
  func forward(_ pictures: Range<Int>, pixels: (Int) -> [Float]) {
    precondition(pictures.count <= capacity, "\(pictures.count) pictures, room for \(capacity)")
    current = pictures
    let values = pictures.map(pixels)
    team.run { worker in
      let rows = rows(of: worker)
      embed(values, worker, rows)
      for layer in 0..<layerCount {
        projectQueriesKeysValues(layer, worker, rows)
        team.barrier()
        attend(layer, worker)
        team.barrier()
        addAttentionOutput(layer, worker, rows)
        addFeedForward(layer, worker, rows)
      }
      guard shape.feature.isNormalized else { return }
      normalize(plan.output, .finalNorm, .finalNormBias, nil, plan.finalStatistics, plan.normalizedOutput, rows)
    }
  }

  /// y = norm(x) of the worker's rows.
  @discardableResult
  func normalize(
    _ input: ArenaSlot, _ weight: TowerPart, _ bias: TowerPart, _ block: Int?, _ statistics: ArenaSlot,
    _ output: ArenaSlot, _ rows: Range<Int>
  ) -> MatrixView {
    let result = view(output).rows(rows)
    layerNormForward(
      input: view(input).rows(rows), weight: vectors.tower(weight, block), bias: vectors.tower(bias, block),
      epsilon: shape.layerNormEpsilon, output: result, statistics: column(statistics) + 2 * rows.lowerBound)
    return result
  }

  /// x = patches·Wᵀ (+ b) + position, and the class token + position in each picture's first row if there is one.
  private func embed(_ pixels: [[Float]], _ worker: Int, _ rows: Range<Int>) {
    let patches = view(plan.patches)
    for row in rows {
      gatherPatch(pixels[row / shape.rowCount], row % shape.rowCount, into: patches.rows(row..<row + 1))
    }
    let first = layerCount > 0 ? activations(0).input : plan.output
    let embedded = view(shape.kind == .clip ? plan.embedded : first).rows(rows)
    multiply(worker, patches.rows(rows), weights.patch, bTransposed: true, into: embedded)
    if shape.kind == .siglip { biasForward(embedded, bias: vectors.tower(.patchBias)) }
    for row in rows {
      let place = row % shape.rowCount
      let target = embedded.rows(row - rows.lowerBound..<row - rows.lowerBound + 1)
      biasForward(target, bias: vectors.tower(.position) + place * shape.hiddenSize)
      if shape.hasClassToken && place == 0 { biasForward(target, bias: vectors.tower(.classToken)) }
    }
    if shape.kind == .clip {
      normalize(plan.embedded, .firstNorm, .firstNormBias, nil, plan.firstStatistics, first, rows)
    }
  }

  /// The numbers of a row's patch by channel, row and column, as the convolution's weights lie; zeros for the class token.
  private func gatherPatch(_ pixels: [Float], _ place: Int, into target: MatrixView) {
    let (side, patch) = (shape.imageSize, shape.patchSize)
    let index = place - (shape.hasClassToken ? 1 : 0)
    guard index >= 0 else {
      target.base.initializeMemory(as: UInt8.self, repeating: 0, count: shape.patchWidth * target.type.byteCount)
      return
    }
    let (row, column) = (index / shape.patchesPerSide * patch, index % shape.patchesPerSide * patch)
    pixels.withUnsafeBufferPointer { pixels in
      for channel in 0..<3 {
        for line in 0..<patch {
          let first = (channel * side + row + line) * side + column
          let source = UnsafeMutablePointer(mutating: pixels.baseAddress!) + first
          let start = (channel * patch + line) * patch
          convert(MatrixView(source, rows: 1, columns: patch), to: target.columns(start..<start + patch))
        }
      }
    }
  }

  /// a = norm(x);  q, k, v = a·Wqkvᵀ + bqkv
  private func projectQueriesKeysValues(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let input = normalize(
      place.input, .attentionNorm, .attentionNormBias, layer, place.attentionStatistics, plan.attentionInput, rows)
    let result = view(place.queriesKeysValues).rows(rows)
    multiply(worker, input, weights.layers[layer].queriesKeysValues, bTransposed: true, into: result)
    for (index, part) in Self.inputBiases.enumerated() {
      biasForward(
        result.columns(index * shape.hiddenSize..<(index + 1) * shape.hiddenSize), bias: vectors.tower(part, layer))
    }
  }

  static let inputBiases: [TowerPart] = [.queryBias, .keyBias, .valueBias]

  private func attend(_ layer: Int, _ worker: Int) {
    let place = activations(layer)
    forEachAttentionTask(worker) { head, picture, documents in
      attentionForward(
        queriesKeysValues: view(place.queriesKeysValues), shape: attentionShape, documents: documents,
        keyValueHead: head, document: picture, output: view(place.attended), logSumExp: column(place.logSumExp),
        scratch: attentionScratch[worker])
    }
  }

  func attendBackward(_ layer: Int, _ worker: Int) {
    let place = activations(layer)
    forEachAttentionTask(worker) { head, picture, documents in
      attentionBackward(
        dOutput: view(plan.dAttended), output: view(place.attended), queriesKeysValues: view(place.queriesKeysValues),
        logSumExp: column(place.logSumExp), shape: attentionShape, documents: documents, keyValueHead: head,
        document: picture, dQueriesKeysValues: view(plan.dQueriesKeysValues), scratch: attentionScratch[worker])
    }
  }

  private func forEachAttentionTask(
    _ worker: Int, _ body: (_ head: Int, _ picture: Int, _ documents: UnsafeBufferPointer<Int32>) -> Void
  ) {
    offsets.withUnsafeBufferPointer { offsets in
      let documents = UnsafeBufferPointer(rebasing: offsets[...current.count])
      for task in team.share(of: shape.headCount * current.count, worker: worker) {
        body(task / current.count, task % current.count, documents)
      }
    }
  }

  /// x += o·Woᵀ + bo
  private func addAttentionOutput(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let residual = view(place.residualAfterAttention).rows(rows)
    convert(view(place.input).rows(rows), to: residual)
    multiply(
      worker, view(place.attended).rows(rows), weights.layers[layer].attentionOutput, bTransposed: true,
      into: residual, accumulates: true)
    biasForward(residual, bias: vectors.tower(.attentionOutputBias, layer))
  }

  /// b = norm(x);  u = b·W₁ᵀ + b₁;  x += gelu(u)·W₂ᵀ + b₂
  private func addFeedForward(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let input = normalize(
      place.residualAfterAttention, .feedForwardNorm, .feedForwardNormBias, layer, place.feedForwardStatistics,
      plan.feedForwardInput, rows)
    let up = view(place.up).rows(rows)
    multiply(worker, input, weights.layers[layer].up, bTransposed: true, into: up)
    biasForward(up, bias: vectors.tower(.upBias, layer))
    let activated = view(plan.activated).rows(rows)
    geluForward(shape.activation, input: up, output: activated)
    let result = residualAfter(layer).rows(rows)
    convert(view(place.residualAfterAttention).rows(rows), to: result)
    multiply(worker, activated, weights.layers[layer].down, bTransposed: true, into: result, accumulates: true)
    biasForward(result, bias: vectors.tower(.downBias, layer))
  }
}
