import Compute
import Transformer

/// Working memory for a chunk of tokens. Activations have the type of the weights, the residual stream is fp32.
final class PrefillMemory {
  /// The most tokens of a chunk: enough rows for the products to run at full speed.
  static let chunkLength = 512
  /// Up to so many tokens go one by one: few rows do not pay for a chunk's padding.
  static let fewTokens = 8

  let capacity: Int
  /// [rows, hidden] the residual stream.
  let stream: MatrixView
  /// [rows, hidden] normalised.
  let normalized: MatrixView
  /// [context, query + 2·keyValue] the chunk behind the keys and values of the tokens before it.
  let queriesKeysValues: MatrixView
  /// [context, query]
  let attended: MatrixView
  /// [context, heads]
  let logSumExp: UnsafeMutablePointer<Float>
  /// [rows, 2·sharedIntermediate] and [rows, sharedIntermediate]
  let gateUp: MatrixView
  let activated: MatrixView
  /// Only for a mixture of experts.
  let experts: PrefillExperts?
  let tokens: UnsafeMutablePointer<Int32>
  /// [rows] the row of the rotary table for each token.
  let rotaryRows: UnsafeMutablePointer<Int32>
  let attentionShape: AttentionShape
  let attentionScratch: [AttentionScratch]
  private let rowMultiple: Int
  private let buffer: AlignedBuffer

  init(
    _ configuration: ModelConfiguration, type: ElementType, contextLength: Int, workers: Int
  ) throws(ComputeError) {
    rowMultiple = 16 * workers
    capacity = Self.padded(min(contextLength, Self.chunkLength), rowMultiple)
    let context = contextLength + rowMultiple
    let fused = configuration.querySize + 2 * configuration.keyValueSize
    var plan = ArenaPlan()
    let stream = plan.reserve(rows: capacity, columns: configuration.hiddenSize)
    let normalized = plan.reserve(rows: capacity, columns: configuration.hiddenSize, type)
    let queriesKeysValues = plan.reserve(rows: context, columns: fused, type)
    let attended = plan.reserve(rows: context, columns: configuration.querySize, type)
    let logSumExp = plan.reserve(rows: context, columns: configuration.headCount)
    let gateUp = plan.reserve(rows: capacity, columns: 2 * configuration.sharedIntermediateSize, type)
    let activated = plan.reserve(rows: capacity, columns: configuration.sharedIntermediateSize, type)
    // Integers, as wide as floats.
    let tokensAndRotaryRows = plan.reserve(rows: 2, columns: capacity)
    buffer = try AlignedBuffer(plan)
    self.stream = buffer.view(stream)
    self.normalized = buffer.view(normalized)
    self.queriesKeysValues = buffer.view(queriesKeysValues)
    self.attended = buffer.view(attended)
    self.logSumExp = buffer.floats(logSumExp)
    self.gateUp = buffer.view(gateUp)
    self.activated = buffer.view(activated)
    tokens = buffer.view(tokensAndRotaryRows).row(0).assumingMemoryBound(to: Int32.self)
    rotaryRows = buffer.view(tokensAndRotaryRows).row(1).assumingMemoryBound(to: Int32.self)
    experts =
      configuration.isMixture
      ? try PrefillExperts(configuration, type: type, tokens: capacity, workers: workers) : nil
    attentionShape = AttentionShape(
      headCount: configuration.headCount, keyValueHeadCount: configuration.keyValueHeadCount,
      headSize: configuration.headSize)
    var scratch: [AttentionScratch] = []
    for _ in 0..<workers {
      scratch.append(try AttentionScratch(shape: attentionShape, maximumSequenceLength: contextLength))
    }
    attentionScratch = scratch
  }

  /// Rows for `count` tokens: a multiple that keeps the shapes of products few and shares them out evenly.
  func padded(_ count: Int) -> Int { Self.padded(count, rowMultiple) }

  private static func padded(_ count: Int, _ multiple: Int) -> Int { (count + multiple - 1) / multiple * multiple }
}

extension InferenceModel {
  /// Takes some tokens through all layers at once: their keys and values go into the cache, the end of the last one's
  /// residual stream into `step.stream`.
  ///
  /// - Parameter firstRotaryRow: the row of the rotary table for the sequence's first token.
  func addChunk(_ tokens: [Int32], _ cache: KeyValueCache, firstRotaryRow: Int) {
    precondition(
      tokens.count <= min(PrefillMemory.chunkLength, cache.room) && cache.type == type.activationType
        && cache.capacity <= contextLength, "no room for \(tokens.count) tokens")
    let past = cache.count
    let rowCount = chunk.padded(tokens.count)
    for row in 0..<rowCount {
      // Rows that pad the chunk are tokens at the first position that nothing looks at.
      chunk.tokens[row] = row < tokens.count ? tokens[row] : 0
      chunk.rotaryRows[row] = row < tokens.count ? Int32(firstRotaryRow + past + row) : 0
    }
    team.run { worker in
      let rows = team.share(of: rowCount, worker: worker, multiple: 16)
      for row in rows {
        weights.embedding.copyRow(Int(chunk.tokens[row]), to: chunk.stream.rows(row..<row + 1).floats)
      }
      for layer in 0..<configuration.layerCount {
        projectQueriesKeysValues(layer, worker, rows, past)
        recall(layer, worker, past, cache)
        team.barrier()
        attend(layer, worker, past, tokens.count, cache)
        team.barrier()
        addAttentionAndFeedForward(layer, worker, rows, past)
      }
    }
    step.stream.update(
      from: chunk.stream.rows(tokens.count - 1..<tokens.count).floats, count: configuration.hiddenSize)
    cache.append(tokens)
  }

  /// q, k, v = norm(x)·Wqkvᵀ; queries and keys normalised by head if the model does so, then rotated.
  private func projectQueriesKeysValues(_ layer: Int, _ worker: Int, _ rows: Range<Int>, _ past: Int) {
    let layer = weights.layers[layer]
    let input = normalize(rows, layer.attentionNorm)
    let output = chunk.queriesKeysValues.rows(past + rows.lowerBound..<past + rows.upperBound)
    multiplyRows(layer.queriesKeysValues, scratch[worker].prepare(input, for: type), into: output)
    for head in 0..<configuration.headCount + configuration.keyValueHeadCount {
      guard let norm = head < configuration.headCount ? layer.queryNorm : layer.keyNorm else { break }
      let columns = output.columns(head * configuration.headSize..<(head + 1) * configuration.headSize)
      rmsNormForward(
        input: columns, weight: norm, epsilon: configuration.rmsNormEpsilon, output: columns,
        reciprocalRootMeanSquare: nil)
    }
    rotaryForward(
      output.columns(0..<configuration.querySize + configuration.keyValueSize), headSize: configuration.headSize,
      tableRows: chunk.rotaryRows + rows.lowerBound, table: rotaryTable)
  }

  /// Puts the keys and values of earlier tokens before those of the chunk, for the worker's heads.
  private func recall(_ layer: Int, _ worker: Int, _ past: Int, _ cache: KeyValueCache) {
    guard past > 0 else { return }
    for head in team.share(of: configuration.keyValueHeadCount, worker: worker) {
      let (keys, values) = fusedColumns(head, 0..<past)
      convert(cache.keys(layer: layer, head: head, 0..<past), to: keys)
      convert(cache.values(layer: layer, head: head, 0..<past), to: values)
    }
  }

  /// Keeps the keys and values of the chunk and finds o = attention(q, k, v), for the worker's heads.
  private func attend(_ layer: Int, _ worker: Int, _ past: Int, _ count: Int, _ cache: KeyValueCache) {
    let positions = past..<past + count
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2) { documents in
      documents[0] = 0
      documents[1] = Int32(positions.upperBound)
      for head in team.share(of: configuration.keyValueHeadCount, worker: worker) {
        let (keys, values) = fusedColumns(head, positions)
        convert(keys, to: cache.keys(layer: layer, head: head, positions))
        convert(values, to: cache.values(layer: layer, head: head, positions))
        attentionForward(
          queriesKeysValues: chunk.queriesKeysValues, shape: chunk.attentionShape,
          documents: UnsafeBufferPointer(documents), keyValueHead: head, document: 0, firstQuery: past,
          output: chunk.attended, logSumExp: chunk.logSumExp, scratch: chunk.attentionScratch[worker])
      }
    }
  }

  /// x += o·Woᵀ, then x += (silu(g) ⊙ u)·W₂ᵀ with g, u = norm(x)·Wguᵀ, and in a mixture the same of each token's experts.
  private func addAttentionAndFeedForward(_ layer: Int, _ worker: Int, _ rows: Range<Int>, _ past: Int) {
    let layerWeights = weights.layers[layer]
    let stream = chunk.stream.rows(rows)
    let attended = chunk.attended.rows(past + rows.lowerBound..<past + rows.upperBound)
    multiplyRows(
      layerWeights.attentionOutput, scratch[worker].prepare(attended, for: type), into: stream, accumulates: true)
    let input = normalize(rows, layerWeights.feedForwardNorm)
    if let experts = chunk.experts, let router = layerWeights.router {
      experts.routing.choose(worker: worker, tokens: rows, input: input, router: router)
    }
    if let block = layerWeights.feedForward {
      let activated = chunk.activated.rows(rows)
      activate(block, input, chunk.gateUp.rows(rows), into: activated, rowWeights: nil, worker)
      multiplyRows(block.down, scratch[worker].prepare(activated, for: type), into: stream, accumulates: true)
    }
    if let experts = chunk.experts { addExperts(experts, layer, worker, rows) }
  }

  /// silu(g) ⊙ u with g, u = input·Wguᵀ, times the rows' weights.
  func activate(
    _ block: InferenceWeights.FeedForward, _ input: MatrixView, _ gateUp: MatrixView, into activated: MatrixView,
    rowWeights: UnsafePointer<Float>?, _ worker: Int
  ) {
    let prepared = scratch[worker].prepare(input, for: type)
    let width = block.gate.rows
    multiplyRows(block.gate, prepared, into: gateUp.columns(0..<width))
    multiplyRows(block.up, prepared, into: gateUp.columns(width..<2 * width))
    swiGLUForward(gateUp: gateUp, output: activated, rowWeights: rowWeights)
  }

  private func normalize(_ rows: Range<Int>, _ weight: UnsafePointer<Float>) -> MatrixView {
    let output = chunk.normalized.rows(rows)
    rmsNormForward(
      input: chunk.stream.rows(rows), weight: weight, epsilon: configuration.rmsNormEpsilon, output: output,
      reciprocalRootMeanSquare: nil)
    return output
  }

  /// The keys and the values of a head among the fused rows.
  private func fusedColumns(_ head: Int, _ positions: Range<Int>) -> (keys: MatrixView, values: MatrixView) {
    let size = configuration.headSize
    let rows = chunk.queriesKeysValues.rows(positions)
    let key = configuration.querySize + head * size
    let value = key + configuration.keyValueSize
    return (rows.columns(key..<key + size), rows.columns(value..<value + size))
  }
}
