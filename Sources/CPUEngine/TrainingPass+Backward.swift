import Compute

/// Each step quotes the line of the forward pass that it differentiates; ∂loss/∂y is written dy.
extension TrainingPass {
  /// Takes the gradient from the normalised output back to the embedding, adding up the gradients of all weights.
  func backwardLayers(_ worker: Int) {
    guard let vectorGradients else { preconditionFailure("this pass has no gradients") }
    let rows = rows(of: worker)
    // h = norm(x)
    rmsNormBackward(
      dOutput: view(plan.dNormalized).rows(rows), input: view(plan.output).rows(rows),
      weight: vectorValues(vectors.output),
      reciprocalRootMeanSquare: column(plan.outputReciprocal) + rows.lowerBound,
      dInput: view(plan.dResidual).rows(rows), accumulates: false, dWeight: vectorGradients.output(worker))
    lap(.norms, worker)
    for layer in (0..<shape.layerCount).reversed() {
      if recomputes && layer < shape.layerCount - 1 {
        // The places still hold the layer above, which others may be reading.
        meet(worker)
        computeActivations(layer, worker, rows, recomputing: true)
      }
      feedForwardBackward(layer, worker, rows)
      // x += o·Woᵀ + bo, so do = dx·Wo
      if vectors.layers[layer].outputBias != nil && lora == nil {
        biasBackward(dOutput: view(plan.dResidual).rows(rows), dBias: vectorGradients.outputBias(layer, worker))
      }
      convert(view(plan.dResidual).rows(rows), to: view(plan.dAttentionOutput).rows(rows))
      lap(.copies, worker)
      let dOutput = view(plan.dAttentionOutput).rows(rows)
      let dAttended = view(plan.dAttended).rows(rows)
      multiply(worker, dOutput, weights.layers[layer].attentionOutput, into: dAttended)
      addAdapterInputGradient(.attentionOutput, layer, worker, rows, dOutput: dOutput, to: dAttended)
      addAdapterGradients(
        .attentionOutput, layer, worker, rows, dOutput: dOutput,
        input: view(activations(layer).attended).rows(rows))
      meet(worker)
      if layer + 1 < shape.layerCount { complete(layer + 1, worker) }
      // Here all rows are complete up to attention: what sums over tokens can be summed.
      attendBackward(layer, worker)
      normalizeAttentionInput(layer, worker, rows)
      if let gradients = weightGradients?.layers[layer], learns(layer) {
        addWeightGradient(worker, view(plan.dFeedForwardOutput), view(plan.activated), gradients.down)
        addWeightGradient(worker, view(activations(layer).gateUp), view(plan.feedForwardInput), gradients.gateUp)
        if shape.isMixture { addExpertWeightGradients(layer, worker) }
        addWeightGradient(
          worker, view(plan.dAttentionOutput), view(activations(layer).attended), gradients.attentionOutput)
      }
      meet(worker)
      if let gradients = weightGradients?.layers[layer], learns(layer) {
        addWeightGradient(
          worker, view(plan.dQueriesKeysValues), view(plan.attentionInput), gradients.queriesKeysValues)
      }
      projectionBackward(layer, worker, rows)
    }
    guard let weightGradients else { return }
    meet(worker)
    complete(0, worker)
    guard learning.trainsOutsideLayers else { return }
    // x = E[token]: each worker adds all tokens for its own columns.
    let columns = team.share(of: shape.hiddenSize, worker: worker, multiple: 16)
    batch.forEachTokenRange { rows in
      embeddingBackward(
        tokens: batch.tokens + rows.lowerBound, dOutput: view(plan.dResidual).rows(rows).columns(columns),
        dTable: weightGradients.embedding.columns(columns))
    }
    lap(.copies, worker)
  }

  /// When all workers have left a layer: adds up the gradients of its norms and biases, the last ones that are missing.
  private func complete(_ layer: Int, _ worker: Int) {
    guard worker == 0, lora == nil, learns(layer), let gradients, let vectorGradients else { return }
    vectorGradients.add(layer, to: gradients, at: vectors.layers[layer])
    onLayerComplete?()
  }

  /// W += dyᵀ·x over all tokens, each worker for its own rows of W.
  func addWeightGradient(_ worker: Int, _ dOutput: MatrixView, _ input: MatrixView, _ gradient: MatrixView) {
    let mine = team.share(of: gradient.rows, worker: worker, multiple: PassBatch.rowMultiple)
    multiply(
      worker, dOutput.columns(mine), aTransposed: true, input, into: gradient.rows(mine), accumulates: true)
  }

  /// b = norm(x);  g, u = b·Wguᵀ;  s = silu(g) ⊙ u;  x += s·W₂ᵀ
  private func feedForwardBackward(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    guard let vectorGradients else { return }
    let place = activations(layer)
    let dResidual = view(plan.dResidual).rows(rows)
    let dOutput = view(plan.dFeedForwardOutput).rows(rows)
    convert(dResidual, to: dOutput)
    lap(.copies, worker)
    let input = normalizeFeedForwardInput(layer, worker, rows)
    // ds = dx·W₂; then s itself takes the place of ds: W₂'s gradient needs it.
    let activated = view(plan.activated).rows(rows)
    multiply(worker, dOutput, weights.layers[layer].down, into: activated)
    addAdapterInputGradient(.feedForwardOutput, layer, worker, rows, dOutput: dOutput, to: activated)
    let gateUp = view(place.gateUp).rows(rows)
    swiGLUBackward(gateUp: gateUp, dOutput: activated, dGateUp: gateUp, output: activated)
    lap(.activation, worker)
    addAdapterGradients(.feedForwardOutput, layer, worker, rows, dOutput: dOutput, input: activated)
    // db = dgu·Wgu
    let dNormalized = view(plan.dNormalized).rows(rows)
    if shape.sharedIntermediateSize > 0 {
      multiply(worker, gateUp, weights.layers[layer].gateUp, into: dNormalized)
    } else {
      dNormalized.floats.update(repeating: 0, count: dNormalized.rows * dNormalized.columns)
    }
    if shape.isMixture { expertsBackward(layer, worker, rows) }
    addAdapterInputGradient(.feedForwardInput, layer, worker, rows, dOutput: gateUp, to: dNormalized)
    addAdapterGradients(.feedForwardInput, layer, worker, rows, dOutput: gateUp, input: input)
    rmsNormBackward(
      dOutput: dNormalized, input: view(place.residualAfterAttention).rows(rows),
      weight: vectorValues(vectors.layers[layer].feedForward),
      reciprocalRootMeanSquare: column(place.feedForwardReciprocal) + rows.lowerBound, dInput: dResidual,
      accumulates: true, dWeight: vectorGradients.feedForward(layer, worker))
    lap(.norms, worker)
  }

  /// o = attention(rotate(q), rotate(k), v), for the worker's documents and key/value heads.
  private func attendBackward(_ layer: Int, _ worker: Int) {
    let place = activations(layer)
    let gradient = view(plan.dQueriesKeysValues)
    let headSize = shape.headSize
    let groupSize = shape.headCount / shape.keyValueHeadCount
    forEachAttentionTask(worker) { keyValueHead, document in
      attentionBackward(
        dOutput: view(plan.dAttended), output: view(place.attended),
        queriesKeysValues: view(place.queriesKeysValues), logSumExp: column(place.logSumExp), shape: attentionShape,
        documents: batch.documents, keyValueHead: keyValueHead, document: document, dQueriesKeysValues: gradient,
        scratch: attentionScratch[worker])
      lap(.attention, worker)
      let tokens = Int(batch.documents[document])..<Int(batch.documents[document + 1])
      let queries = keyValueHead * groupSize..<(keyValueHead + 1) * groupSize
      let key = shape.headCount + keyValueHead
      for heads in [queries, key..<key + 1] {
        rotaryBackward(
          gradient.rows(tokens).columns(heads.lowerBound * headSize..<heads.upperBound * headSize), headSize: headSize,
          tableRows: batch.rotaryRows + tokens.lowerBound, table: rotaryTable)
        if shape.normalizesQueriesAndKeys { normalizeHeadsBackward(layer, worker, heads, tokens) }
      }
      lap(.rotary, worker)
    }
  }

  private func normalizeHeadsBackward(_ layer: Int, _ worker: Int, _ heads: Range<Int>, _ tokens: Range<Int>) {
    guard let vectorGradients else { return }
    let gradient = view(plan.dQueriesKeysValues).rows(tokens)
    let raw = view(activations(layer).rawQueriesKeysValues).rows(tokens)
    for head in heads {
      let columns = head * shape.headSize..<(head + 1) * shape.headSize
      rmsNormBackward(
        dOutput: gradient.columns(columns), input: raw.columns(columns), weight: headNormWeight(layer, head),
        reciprocalRootMeanSquare: headReciprocals(layer, head) + tokens.lowerBound,
        dInput: gradient.columns(columns), accumulates: false,
        dWeight: head < shape.headCount ? vectorGradients.query(layer, worker) : vectorGradients.key(layer, worker))
    }
  }

  /// a = norm(x);  q, k, v = a·Wqkvᵀ + bqkv
  private func projectionBackward(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    guard let vectorGradients else { return }
    let place = activations(layer)
    let dNormalized = view(plan.dNormalized).rows(rows)
    let dOutput = view(plan.dQueriesKeysValues).rows(rows)
    if !vectors.layers[layer].inputBiases.isEmpty && lora == nil {
      biasBackward(dOutput: dOutput, dBias: vectorGradients.inputBias(layer, worker))
    }
    multiply(worker, dOutput, weights.layers[layer].queriesKeysValues, into: dNormalized)
    addAdapterInputGradient(.attentionInput, layer, worker, rows, dOutput: dOutput, to: dNormalized)
    addAdapterGradients(
      .attentionInput, layer, worker, rows, dOutput: dOutput, input: view(plan.attentionInput).rows(rows))
    rmsNormBackward(
      dOutput: dNormalized, input: view(place.input).rows(rows), weight: vectorValues(vectors.layers[layer].attention),
      reciprocalRootMeanSquare: column(place.attentionReciprocal) + rows.lowerBound,
      dInput: view(plan.dResidual).rows(rows), accumulates: true, dWeight: vectorGradients.attention(layer, worker))
    lap(.norms, worker)
  }
}
