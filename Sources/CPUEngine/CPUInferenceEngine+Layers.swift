import Compute
import Model

/// The parts of a layer, each for one worker's share of a step. Between two of them all workers meet.
///
/// The second of the two forward passes of this room; `TrainingPass+Forward` is the first. They are tested against each
/// other, and an operation that is added to one must be added to the other.
extension CPUInferenceEngine {
  /// x = E[token]; other rows are there already.
  func embed(_ share: StepShare, _ rowCount: Int) {
    for row in share.ownRows(of: rowCount) where memory.tokens[row] >= 0 {
      weights.embedding.copyRow(Int(memory.tokens[row]), to: memory.stream.rows(row..<row + 1).floats)
    }
  }

  /// q, k, v = norm(x)·Wqkvᵀ, and what the model adds to them.
  func projectQueriesKeysValues(_ layer: Int, _ share: StepShare) {
    let layer = weights.layers[layer]
    let columns = share.columns(of: layer.queriesKeysValues.rows)
    share.forEachPart { _, rows in
      let input = prepare(normalize(rows, layer.attentionNorm, share.worker), share.worker)
      let output = memory.queriesKeysValues.rows(rows).columns(columns)
      multiplyRows(layer.queriesKeysValues.rows(columns), input, into: output)
      if let bias = layer.queriesKeysValuesBias { biasForward(output, bias: bias + columns.lowerBound) }
    }
  }

  /// Keeps keys and values and finds o = attention(q, k, v), a piece and a key/value head at a time.
  func attend(_ layer: Int, _ worker: Int, _ pieces: [StepPiece]) {
    let size = configuration.headSize
    let group = configuration.headCount / configuration.keyValueHeadCount
    let scratch = memory.workers[worker].attention
    var first = 0
    for (index, piece) in pieces.enumerated() {
      let rows = first..<first + piece.tokens.count
      first = rows.upperBound
      let cache = piece.cache
      let keyValues = unsafeDowncast(cache.pool.memory, to: CPUKeyValuePages.self)
      let position = cache.count
      for head in 0..<configuration.keyValueHeadCount
      where (index * configuration.keyValueHeadCount + head) % team.count == worker {
        let fused = memory.queriesKeysValues.rows(rows)
        let queries = fused.columns(head * group * size..<(head + 1) * group * size)
        let keyColumn = configuration.querySize + head * size
        let keys = fused.columns(keyColumn..<keyColumn + size)
        let valueColumn = keyColumn + configuration.keyValueSize
        normalizeAndRotate(queries, weights.layers[layer].queryNorm, rows)
        normalizeAndRotate(keys, weights.layers[layer].keyNorm, rows)
        let pages = keyValues.head(head, layer: layer, of: cache)
        pages.store(
          keys: keys, values: fused.columns(valueColumn..<valueColumn + size), at: position, scratch: scratch)
        pagedAttention(
          queries: queries, position: position, pages: pages,
          output: memory.attended.rows(rows).columns(head * group * size..<(head + 1) * group * size), scratch: scratch)
      }
    }
  }

  /// Normalises heads, if the model does so, and rotates them.
  private func normalizeAndRotate(_ heads: MatrixView, _ norm: UnsafePointer<Float>?, _ rows: Range<Int>) {
    let size = configuration.headSize
    if let norm {
      for start in stride(from: 0, to: heads.columns, by: size) {
        let head = heads.columns(start..<start + size)
        rmsNormForward(
          input: head, weight: norm, epsilon: configuration.rmsNormEpsilon, output: head, reciprocalRootMeanSquare: nil)
      }
    }
    rotaryForward(heads, headSize: size, tableRows: memory.rotaryRows + rows.lowerBound, table: rotaryTable)
  }

  /// x += o·Woᵀ, and what the model adds to it.
  func addAttention(_ layer: Int, _ share: StepShare) {
    let layer = weights.layers[layer]
    let columns = share.columns(of: layer.attentionOutput.rows)
    share.forEachPart { _, rows in
      let stream = memory.stream.rows(rows).columns(columns)
      multiplyRows(
        layer.attentionOutput.rows(columns), prepare(memory.attended.rows(rows), share.worker), into: stream,
        accumulates: true)
      if let bias = layer.attentionOutputBias { biasForward(stream, bias: bias + columns.lowerBound) }
    }
  }

  /// silu(g) ⊙ u with g = norm(x)·Wgᵀ and u = norm(x)·Wuᵀ: of the block that every token passes, and of the experts that
  /// each takes, times their weights.
  func activate(_ layer: Int, _ share: StepShare) {
    let layer = weights.layers[layer]
    let mine = memory.workers[share.worker]
    share.forEachPart { index, rows in
      let input = normalize(rows, layer.feedForwardNorm, share.worker)
      if let block = layer.feedForward {
        activate(block, input, into: memory.activated.rows(rows), rowWeights: nil, share)
      }
      guard let router = layer.router else { return }
      let groups = mine.groups[index]
      groups.route(input, router: router)
      for (expert, block) in layer.experts.enumerated() {
        let slots = groups.slots(of: expert)
        guard !slots.isEmpty else { continue }
        let gathered = mine.gathered.rows(0..<slots.count)
        gatherRows(input, groups.slotRows + slots.lowerBound, into: gathered)
        activate(
          block, gathered, into: expertActivated(rows, slots), rowWeights: groups.slotWeights + slots.lowerBound, share)
      }
    }
  }

  private func activate(
    _ block: InferenceWeights.FeedForward, _ input: MatrixView, into output: MatrixView,
    rowWeights: UnsafePointer<Float>?, _ share: StepShare
  ) {
    let columns = share.columns(of: block.gate.rows)
    guard !columns.isEmpty else { return }
    let gateUp = memory.workers[share.worker].gateUp
    let target = MatrixView(gateUp.floats, rows: input.rows, columns: 2 * columns.count)
    let prepared = prepare(input, share.worker)
    multiplyRows(block.gate.rows(columns), prepared, into: target.columns(0..<columns.count))
    multiplyRows(block.up.rows(columns), prepared, into: target.columns(columns.count..<2 * columns.count))
    swiGLUForward(gateUp: target, output: output.columns(columns), rowWeights: rowWeights)
  }

  /// x += s·Wdᵀ of every block that `activate` computed.
  func addFeedForward(_ layer: Int, _ share: StepShare) {
    let layer = weights.layers[layer]
    let mine = memory.workers[share.worker]
    let columns = share.columns(of: configuration.hiddenSize)
    guard !columns.isEmpty else { return }
    share.forEachPart { index, rows in
      let stream = memory.stream.rows(rows).columns(columns)
      if let block = layer.feedForward {
        multiplyRows(
          block.down.rows(columns), prepare(memory.activated.rows(rows), share.worker), into: stream, accumulates: true)
      }
      for (expert, block) in layer.experts.enumerated() {
        let slots = mine.groups[index].slots(of: expert)
        guard !slots.isEmpty else { continue }
        let output = mine.expertOutput.rows(0..<slots.count).columns(columns)
        multiplyRows(
          block.down.rows(columns), prepare(expertActivated(rows, slots), share.worker), into: output)
        scatterAddRows(output, mine.groups[index].slotRows + slots.lowerBound, into: stream)
      }
    }
  }

  /// Where the activations of some slots of a part lie.
  private func expertActivated(_ rows: Range<Int>, _ slots: Range<Int>) -> MatrixView {
    let first = rows.lowerBound * configuration.expertsPerToken
    return memory.expertActivated.rows(first + slots.lowerBound..<first + slots.upperBound)
  }

  /// norm(x) of a part: where workers share columns every one makes its own, which is quicker than waiting.
  private func normalize(_ rows: Range<Int>, _ weight: UnsafePointer<Float>, _ worker: Int) -> MatrixView {
    let output = memory.workers[worker].normalized.rows(0..<rows.count)
    rmsNormForward(
      input: memory.stream.rows(rows), weight: weight, epsilon: configuration.rmsNormEpsilon, output: output,
      reciprocalRootMeanSquare: nil)
    return output
  }

  private func prepare(_ rows: MatrixView, _ worker: Int) -> RowInput {
    memory.workers[worker].products.prepare(rows, for: weights.type)
  }
}
