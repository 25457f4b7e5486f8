import Compute
import Transformer

/// Working memory for one token, all in fp32.
final class DecodeMemory {
  /// [hidden] the residual stream.
  let stream: UnsafeMutablePointer<Float>
  /// [query + 2·keyValue]
  let queriesKeysValues: MatrixView
  /// [query] what attention found.
  let attended: MatrixView
  /// [sharedIntermediate + expertsPerToken · intermediate] of the block that every token passes, then of each chosen
  /// expert.
  let activated: MatrixView
  private let hiddenSize: Int
  /// For each worker: [hidden] its own normalised copy of the stream.
  private let normalized: UnsafeMutablePointer<Float>
  /// For each worker: gates and ups of its rows of one block.
  private let gateUp: UnsafeMutablePointer<Float>
  private let gateUpSize: Int
  /// For each worker: [context] the scores of a query.
  private let scores: UnsafeMutablePointer<Float>
  private let contextLength: Int
  /// For each worker: [experts + 2·expertsPerToken] its own choice of experts; see `routing`.
  private let routes: UnsafeMutablePointer<Float>
  private let routeSize: Int
  private let buffer: AlignedBuffer

  init(_ configuration: ModelConfiguration, contextLength: Int, workers: Int) throws(ComputeError) {
    hiddenSize = configuration.hiddenSize
    gateUpSize = 2 * max(configuration.sharedIntermediateSize, configuration.intermediateSize)
    routeSize = configuration.expertCount + 2 * configuration.expertsPerToken
    self.contextLength = contextLength
    let activatedSize =
      configuration.sharedIntermediateSize + configuration.expertsPerToken * configuration.intermediateSize
    var plan = ArenaPlan()
    let stream = plan.reserve(rows: 1, columns: hiddenSize)
    let queriesKeysValues = plan.reserve(rows: 1, columns: configuration.querySize + 2 * configuration.keyValueSize)
    let attended = plan.reserve(rows: 1, columns: configuration.querySize)
    let activated = plan.reserve(rows: 1, columns: activatedSize)
    let normalized = plan.reserve(rows: workers, columns: hiddenSize)
    let gateUp = plan.reserve(rows: workers, columns: gateUpSize)
    let scores = plan.reserve(rows: workers, columns: contextLength)
    let routes = plan.reserve(rows: workers, columns: routeSize)
    buffer = try AlignedBuffer(plan)
    self.stream = buffer.floats(stream)
    self.queriesKeysValues = buffer.view(queriesKeysValues)
    self.attended = buffer.view(attended)
    self.activated = buffer.view(activated)
    self.normalized = buffer.floats(normalized)
    self.gateUp = buffer.floats(gateUp)
    self.scores = buffer.floats(scores)
    self.routes = buffer.floats(routes)
  }

  /// norm(stream): every worker makes its own, which is quicker than waiting for one another.
  func normalize(_ worker: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float) -> MatrixView {
    let output = MatrixView(normalized + worker * hiddenSize, rows: 1, columns: hiddenSize)
    rmsNormForward(
      input: MatrixView(stream, rows: 1, columns: hiddenSize), weight: weight, epsilon: epsilon, output: output,
      reciprocalRootMeanSquare: nil)
    return output
  }

  func gateUp(_ worker: Int) -> UnsafeMutablePointer<Float> { gateUp + worker * gateUpSize }

  /// Where a worker keeps the probabilities of all experts, the chosen ones, and how much each counts.
  func routing(
    _ worker: Int, _ shape: ModelConfiguration
  ) -> (probabilities: MatrixView, experts: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>) {
    let base = routes + worker * routeSize
    let chosen = UnsafeMutableRawPointer(base + shape.expertCount)
    return (
      MatrixView(base, rows: 1, columns: shape.expertCount), chosen.assumingMemoryBound(to: Int32.self),
      base + shape.expertCount + shape.expertsPerToken
    )
  }

  func scores(_ worker: Int) -> UnsafeMutablePointer<Float> { scores + worker * contextLength }
}

extension InferenceModel {
  /// Takes one token through all layers: its keys and values go into the cache, the end of its residual stream into
  /// `step.stream`.
  ///
  /// - Parameter rotaryRow: the row of the rotary table for the token.
  func addToken(_ token: Int32, _ cache: KeyValueCache, rotaryRow: Int) {
    precondition(
      cache.room > 0 && cache.type == type.activationType && cache.capacity <= contextLength, "no room for a token")
    let position = cache.count
    weights.embedding.copyRow(Int(token), to: step.stream)
    team.run { worker in
      for layer in 0..<configuration.layerCount {
        projectQueriesKeysValues(layer, worker)
        team.barrier()
        attend(layer, worker, position, rotaryRow, cache)
        team.barrier()
        add(weights.layers[layer].attentionOutput, step.attended, worker)
        team.barrier()
        activate(layer, worker)
        team.barrier()
        addFeedForward(layer, worker)
        team.barrier()
      }
    }
    cache.append(CollectionOfOne(token))
  }

  /// q, k, v = norm(x)·Wqkvᵀ, the worker's share of the numbers.
  private func projectQueriesKeysValues(_ layer: Int, _ worker: Int) {
    let input = step.normalize(worker, weights.layers[layer].attentionNorm, configuration.rmsNormEpsilon)
    let matrix = weights.layers[layer].queriesKeysValues
    let rows = team.share(of: matrix.rows, worker: worker, multiple: 16)
    multiplyRows(
      matrix.rows(rows), scratch[worker].prepare(input, for: type), into: step.queriesKeysValues.columns(rows))
  }

  /// o = attention(q, k, v) for the worker's key/value heads and the query heads that share them.
  private func attend(
    _ layer: Int, _ worker: Int, _ position: Int, _ rotaryRow: Int, _ cache: KeyValueCache
  ) {
    let size = configuration.headSize
    let groupSize = configuration.headCount / configuration.keyValueHeadCount
    let heads = team.share(of: configuration.keyValueHeadCount, worker: worker)
    guard !heads.isEmpty else { return }
    let queries = step.queriesKeysValues.floats + heads.lowerBound * groupSize * size
    let keys = step.queriesKeysValues.floats + configuration.querySize + heads.lowerBound * size
    turn(queries, heads.count * groupSize, weights.layers[layer].queryNorm, rotaryRow)
    turn(keys, heads.count, weights.layers[layer].keyNorm, rotaryRow)
    for head in heads {
      let index = head - heads.lowerBound
      let key = MatrixView(keys + index * size, rows: 1, columns: size)
      let value = MatrixView(keys + configuration.keyValueSize + index * size, rows: 1, columns: size)
      convert(key, to: cache.keys(layer: layer, head: head, position..<position + 1))
      convert(value, to: cache.values(layer: layer, head: head, position..<position + 1))
      for query in index * groupSize..<(index + 1) * groupSize {
        cachedAttention(
          query: queries + query * size, keys: cache.keys(layer: layer, head: head, 0..<position + 1),
          values: cache.values(layer: layer, head: head, 0..<position + 1), scores: step.scores(worker),
          output: step.attended.floats + (heads.lowerBound * groupSize + query) * size)
      }
    }
  }

  /// Normalises heads, if the model does so, and rotates them.
  private func turn(
    _ heads: UnsafeMutablePointer<Float>, _ count: Int, _ norm: UnsafePointer<Float>?, _ rotaryRow: Int
  ) {
    let size = configuration.headSize
    if let norm {
      let view = MatrixView(heads, rows: count, columns: size)
      rmsNormForward(
        input: view, weight: norm, epsilon: configuration.rmsNormEpsilon, output: view, reciprocalRootMeanSquare: nil)
    }
    withUnsafePointer(to: Int32(rotaryRow)) { row in
      rotaryForward(
        MatrixView(heads, rows: 1, columns: count * size), headSize: size, tableRows: row, table: rotaryTable)
    }
  }

  /// x += W·y, the worker's share of the numbers.
  private func add(_ matrix: WeightMatrix, _ vector: MatrixView, _ worker: Int) {
    let rows = team.share(of: matrix.rows, worker: worker, multiple: 16)
    multiplyRows(
      matrix.rows(rows), scratch[worker].prepare(vector, for: type),
      into: MatrixView(step.stream + rows.lowerBound, rows: 1, columns: rows.count), accumulates: true)
  }

  /// silu(g) ⊙ u with g, u = norm(x)·Wguᵀ, the worker's share of the numbers: of the block that every token passes, and
  /// of the experts that this one takes, times their weights.
  private func activate(_ layer: Int, _ worker: Int) {
    let input = step.normalize(worker, weights.layers[layer].feedForwardNorm, configuration.rmsNormEpsilon)
    let prepared = scratch[worker].prepare(input, for: type)
    let layer = weights.layers[layer]
    if let block = layer.feedForward { activate(block, prepared, into: sharedActivated, rowWeight: nil, worker) }
    guard let router = layer.router else { return }
    // Every worker chooses by itself: a few products, and no waiting.
    let routing = step.routing(worker, configuration)
    routerForward(
      input: input, router: router, probabilities: routing.probabilities,
      expertsPerToken: configuration.expertsPerToken, experts: routing.experts, weights: routing.weights)
    for slot in 0..<configuration.expertsPerToken {
      activate(
        layer.experts[Int(routing.experts[slot])], prepared, into: expertActivated(slot),
        rowWeight: routing.weights + slot, worker)
    }
  }

  private func activate(
    _ block: InferenceWeights.FeedForward, _ input: RowInput, into output: MatrixView,
    rowWeight: UnsafePointer<Float>?, _ worker: Int
  ) {
    let share = team.share(of: block.gate.rows, worker: worker, multiple: 16)
    guard !share.isEmpty else { return }
    let gateUp = MatrixView(step.gateUp(worker), rows: 1, columns: 2 * share.count)
    multiplyRows(block.gate.rows(share), input, into: gateUp.columns(0..<share.count))
    multiplyRows(block.up.rows(share), input, into: gateUp.columns(share.count..<2 * share.count))
    swiGLUForward(gateUp: gateUp, output: output.columns(share), rowWeights: rowWeight)
  }

  /// x += s·W₂ᵀ of every block that `activate` computed, the worker's share of the numbers.
  private func addFeedForward(_ layer: Int, _ worker: Int) {
    let layer = weights.layers[layer]
    if let block = layer.feedForward { add(block.down, sharedActivated, worker) }
    guard configuration.isMixture else { return }
    let experts = step.routing(worker, configuration).experts
    for slot in 0..<configuration.expertsPerToken {
      add(layer.experts[Int(experts[slot])].down, expertActivated(slot), worker)
    }
  }

  /// [sharedIntermediate] of the block that every token passes.
  private var sharedActivated: MatrixView { step.activated.columns(0..<configuration.sharedIntermediateSize) }

  /// [intermediate] of the chosen expert `slot`.
  private func expertActivated(_ slot: Int) -> MatrixView {
    let first = configuration.sharedIntermediateSize + slot * configuration.intermediateSize
    return step.activated.columns(first..<first + configuration.intermediateSize)
  }
}
