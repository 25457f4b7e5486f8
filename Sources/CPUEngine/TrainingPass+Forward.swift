import Compute

/// The first of the two forward passes of this room: whole documents, with all that the backward pass needs. The second is
/// `CPUInferenceEngine+Layers`, for inference. They are tested against each other, and an operation that is added to one
/// must be added to the other.
extension TrainingPass {
  /// Takes a worker's rows from tokens to the normalised output of the last layer.
  func forwardLayers(_ worker: Int) {
    let rows = rows(of: worker)
    expertUse?.begin(worker)
    embed(worker, rows)
    for layer in 0..<shape.layerCount {
      computeActivations(layer, worker, rows, recomputing: false)
      addFeedForward(layer, worker, rows)
    }
    normalize(
      worker, rows, plan.output, weight: vectors.output, into: plan.normalizedOutput, reciprocal: plan.outputReciprocal)
  }

  /// x = E[token], or what the batch has in its place.
  private func embed(_ worker: Int, _ rows: Range<Int>) {
    let input = view(activations(0).input)
    embeddingForward(tokens: batch.tokens + rows.lowerBound, table: weights.embedding, output: input.rows(rows))
    for span in batch.embedded {
      let mine = span.rows.clamped(to: rows)
      guard !mine.isEmpty else { continue }
      span.values.withUnsafeBufferPointer { values in
        let first =
          UnsafeMutablePointer(mutating: values.baseAddress!) + (mine.lowerBound - span.rows.lowerBound) * span.columns
        convert(MatrixView(first, rows: mine.count, columns: span.columns), to: input.rows(mine))
      }
    }
    if let pictureRows {
      for (picture, place) in batch.pictures.enumerated() {
        let mine = place.clamped(to: rows)
        guard !mine.isEmpty else { continue }
        let first = picture * place.count + mine.lowerBound - place.lowerBound
        convert(pictureRows.rows(first..<first + mine.count), to: input.rows(mine))
      }
    }
    lap(.copies, worker)
  }

  /// Everything of a layer that the backward pass needs, from its input on: what recomputation does again.
  func computeActivations(_ layer: Int, _ worker: Int, _ rows: Range<Int>, recomputing: Bool) {
    projectQueriesKeysValues(layer, worker, rows)
    meet(worker)
    attend(layer, worker)
    meet(worker)
    addAttentionOutput(layer, worker, rows)
    projectGateUp(layer, worker, rows, recomputing: recomputing)
  }

  /// norm(x) of the worker's rows, with the norm at `weight` among the parameters.
  @discardableResult
  private func normalize(
    _ worker: Int, _ rows: Range<Int>, _ input: ArenaSlot, weight: Int, into output: ArenaSlot,
    reciprocal: ArenaSlot
  ) -> MatrixView {
    let output = view(output).rows(rows)
    rmsNormForward(
      input: view(input).rows(rows), weight: vectorValues(weight), epsilon: shape.rmsNormEpsilon, output: output,
      reciprocalRootMeanSquare: column(reciprocal) + rows.lowerBound)
    lap(.norms, worker)
    return output
  }

  /// a = norm(x), before attention.
  @discardableResult
  func normalizeAttentionInput(_ layer: Int, _ worker: Int, _ rows: Range<Int>) -> MatrixView {
    let place = activations(layer)
    return normalize(
      worker, rows, place.input, weight: vectors.layers[layer].attention, into: plan.attentionInput,
      reciprocal: place.attentionReciprocal)
  }

  /// b = norm(x), before the feed-forward block.
  @discardableResult
  func normalizeFeedForwardInput(_ layer: Int, _ worker: Int, _ rows: Range<Int>) -> MatrixView {
    let place = activations(layer)
    return normalize(
      worker, rows, place.residualAfterAttention, weight: vectors.layers[layer].feedForward,
      into: plan.feedForwardInput,
      reciprocal: place.feedForwardReciprocal)
  }

  /// a = norm(x);  q, k, v = a·Wqkvᵀ + bqkv if the model has biases;  q and k normalised by head if it does so, then
  /// rotated.
  private func projectQueriesKeysValues(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let input = normalizeAttentionInput(layer, worker, rows)
    let queriesKeysValues = view(place.queriesKeysValues).rows(rows)
    let normalizesHeads = shape.normalizesQueriesAndKeys
    let product = normalizesHeads ? view(place.rawQueriesKeysValues).rows(rows) : queriesKeysValues
    multiply(worker, input, weights.layers[layer].queriesKeysValues, bTransposed: true, into: product)
    addAdapters(.attentionInput, layer, worker, rows, input: input, to: product)
    for (columns, offset) in vectors.layers[layer].inputBiases {
      biasForward(product.columns(columns), bias: vectorValues(offset))
    }
    if normalizesHeads {
      normalizeHeads(layer, product, into: queriesKeysValues, rows)
      lap(.norms, worker)
    }
    rotaryForward(
      queriesKeysValues.columns(0..<shape.querySize + shape.keyValueSize), headSize: shape.headSize,
      tableRows: batch.rotaryRows + rows.lowerBound, table: rotaryTable)
    lap(.rotary, worker)
  }

  private func normalizeHeads(_ layer: Int, _ raw: MatrixView, into normalized: MatrixView, _ rows: Range<Int>) {
    for head in 0..<shape.headCount + shape.keyValueHeadCount {
      let columns = head * shape.headSize..<(head + 1) * shape.headSize
      rmsNormForward(
        input: raw.columns(columns), weight: headNormWeight(layer, head), epsilon: shape.rmsNormEpsilon,
        output: normalized.columns(columns),
        reciprocalRootMeanSquare: headReciprocals(layer, head) + rows.lowerBound)
    }
    let values = shape.querySize + shape.keyValueSize..<raw.columns
    convert(raw.columns(values), to: normalized.columns(values))
  }

  /// The norm of a query head, or after those of a key head.
  func headNormWeight(_ layer: Int, _ head: Int) -> UnsafePointer<Float> {
    let offsets = vectors.layers[layer]
    guard let offset = head < shape.headCount ? offsets.query : offsets.key else {
      preconditionFailure("the model does not normalise queries and keys")
    }
    return vectorValues(offset)
  }

  /// [rows of the batch] for one head.
  func headReciprocals(_ layer: Int, _ head: Int) -> UnsafeMutablePointer<Float> {
    column(activations(layer).headReciprocals) + head * batch.rows
  }

  /// o = attention(q, k, v): the documents and key/value heads that fall to the worker.
  private func attend(_ layer: Int, _ worker: Int) {
    let place = activations(layer)
    forEachAttentionTask(worker) { keyValueHead, document in
      attentionForward(
        queriesKeysValues: view(place.queriesKeysValues), shape: attentionShape, documents: batch.documents,
        keyValueHead: keyValueHead, document: document, output: view(place.attended),
        logSumExp: column(place.logSumExp), scratch: attentionScratch[worker])
    }
    lap(.attention, worker)
  }

  func forEachAttentionTask(_ worker: Int, _ body: (_ keyValueHead: Int, _ document: Int) -> Void) {
    for task in batch.attentionTasks[worker]..<batch.attentionTasks[worker + 1] {
      body(task / batch.documentCount, task % batch.documentCount)
    }
  }

  /// x += o·Woᵀ + bo, if the model has it.
  private func addAttentionOutput(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let residual = view(place.residualAfterAttention).rows(rows)
    convert(view(place.input).rows(rows), to: residual)
    lap(.copies, worker)
    let attended = view(place.attended).rows(rows)
    multiply(
      worker, attended, weights.layers[layer].attentionOutput, bTransposed: true, into: residual, accumulates: true)
    addAdapters(.attentionOutput, layer, worker, rows, input: attended, to: residual)
    if let bias = vectors.layers[layer].outputBias { biasForward(residual, bias: vectorValues(bias)) }
  }

  /// b = norm(x);  g, u = b·Wguᵀ, and in a mixture the same of each token's experts.
  private func projectGateUp(_ layer: Int, _ worker: Int, _ rows: Range<Int>, recomputing: Bool) {
    let input = normalizeFeedForwardInput(layer, worker, rows)
    if shape.isMixture && !recomputing { chooseExperts(layer, worker, rows) }
    let gateUp = view(activations(layer).gateUp).rows(rows)
    multiply(worker, input, weights.layers[layer].gateUp, bTransposed: true, into: gateUp)
    addAdapters(.feedForwardInput, layer, worker, rows, input: input, to: gateUp)
    if shape.isMixture { projectExpertsGateUp(layer, worker) }
  }

  /// x += (silu(g) ⊙ u)·W₂ᵀ, and in a mixture the same of each token's experts.
  private func addFeedForward(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let place = activations(layer)
    let activated = view(plan.activated).rows(rows)
    swiGLUForward(gateUp: view(place.gateUp).rows(rows), output: activated)
    lap(.activation, worker)
    let result = residualAfter(layer).rows(rows)
    convert(view(place.residualAfterAttention).rows(rows), to: result)
    lap(.copies, worker)
    multiply(worker, activated, weights.layers[layer].down, bTransposed: true, into: result, accumulates: true)
    addAdapters(.feedForwardOutput, layer, worker, rows, input: activated, to: result)
    if shape.isMixture { addExperts(layer, worker, rows) }
  }
}
