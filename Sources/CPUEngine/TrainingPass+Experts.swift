import Compute

/// The routed experts of a mixture, beside the block that every token passes. Each step quotes the line of the forward
/// pass that it differentiates; ∂loss/∂y is written dy.
extension TrainingPass {
  /// Where the tokens of a layer go.
  func routing(_ layer: Int) -> ExpertRouting {
    guard let place = activations(layer).experts else { preconditionFailure("a dense model has no experts") }
    return ExpertRouting(
      arena.view(place.routing).base, tokens: batch.rows, expertCount: shape.expertCount,
      expertsPerToken: shape.expertsPerToken, normalizes: shape.normalizesExpertWeights, workers: team.count)
  }

  // MARK: - Forward

  /// p = softmax(Wg·b), the largest of it, and their weights, of the worker's tokens; then, as soon as all workers have
  /// chosen, the experts' rows.
  func chooseExperts(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    let routing = routing(layer)
    routing.choose(
      worker: worker, tokens: rows, input: view(plan.feedForwardInput).rows(rows), router: routers[layer])
    lap(.routing, worker)
    // All workers' choices say where the rows of each expert begin.
    meet(worker)
    routing.place(worker: worker, tokens: rows)
    measureBalance(layer, worker, routing)
    lap(.routing, worker)
  }

  /// g, u = b·Wguᵀ of each expert, at once for all of the worker's tokens that take it.
  func projectExpertsGateUp(_ layer: Int, _ worker: Int) {
    guard let place = activations(layer).experts, let space = plan.experts else { return }
    let routing = routing(layer)
    for expert in 0..<shape.expertCount {
      let mine = routing.rows(of: expert, worker: worker)
      let input = gather(plan.feedForwardInput, routing, mine, into: space.input, worker)
      let gateUp = expertView(place.gateUp).rows(mine)
      multiply(worker, input, weights.layers[layer].experts[expert].gateUp, bTransposed: true, into: gateUp)
      addAdapters(.feedForwardInput, expert: expert, layer, worker, mine, input: input, to: gateUp)
    }
  }

  /// x += Σ over the chosen experts of (w · silu(g) ⊙ u)·W₂ᵀ.
  func addExperts(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    guard let place = activations(layer).experts, let space = plan.experts else { return }
    let routing = routing(layer)
    let result = residualAfter(layer)
    for expert in 0..<shape.expertCount {
      let mine = routing.rows(of: expert, worker: worker)
      let activated = expertView(space.activated).rows(mine)
      swiGLUForward(
        gateUp: expertView(place.gateUp).rows(mine), output: activated, rowWeights: routing.rowWeights + mine.lowerBound
      )
      lap(.activation, worker)
      // A token takes an expert once: a worker's rows of one expert are no more than its tokens.
      let output = view(space.output).rows(rows.lowerBound..<rows.lowerBound + mine.count)
      multiply(worker, activated, weights.layers[layer].experts[expert].down, bTransposed: true, into: output)
      addAdapters(.feedForwardOutput, expert: expert, layer, worker, mine, input: activated, to: output)
      scatterAddRows(output, routing.rowTokens + mine.lowerBound, into: result)
      lap(.copies, worker)
    }
  }

  /// The balance of the experts in the worker's share of the documents.
  private func measureBalance(_ layer: Int, _ worker: Int, _ routing: ExpertRouting) {
    guard let place = activations(layer).experts, let expertUse else { return }
    for document in team.share(of: batch.realDocumentCount, worker: worker) {
      let balance = expertBalance(
        routing, tokens: batch.tokens(of: document), load: view(place.load).rows(document..<document + 1).floats,
        choices: expertUse.choices(layer, worker))
      expertUse.add(balance: Double(balance) * Double(batch.documentWeights[document]), worker)
    }
  }

  // MARK: - Backward

  /// x += Σ (w · s)·W₂ᵀ;  s = silu(g) ⊙ u;  g, u = b·Wguᵀ;  w from p = softmax(Wg·b). Adds db to `dNormalized`.
  func expertsBackward(_ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    guard let place = activations(layer).experts, let space = plan.experts else { return }
    let routing = routing(layer)
    let dInput = view(plan.dNormalized)
    for expert in 0..<shape.expertCount {
      let mine = routing.rows(of: expert, worker: worker)
      let expertWeights = weights.layers[layer].experts[expert]
      // The gradients of this expert's weights need its inputs once more.
      let input = gather(plan.feedForwardInput, routing, mine, into: space.input, worker)
      let dOutput = gather(plan.dFeedForwardOutput, routing, mine, into: space.dOutput, worker)
      // d(w·s) = dx·W₂; then w·s itself takes its place: W₂'s gradient needs it.
      let activated = expertView(space.activated).rows(mine)
      multiply(worker, dOutput, expertWeights.down, into: activated)
      addAdapterInputGradient(
        .feedForwardOutput, expert: expert, layer, worker, mine, dOutput: dOutput, to: activated)
      let gateUp = expertView(place.gateUp).rows(mine)
      swiGLUBackward(
        gateUp: gateUp, dOutput: activated, dGateUp: gateUp, output: activated,
        rowWeights: (
          UnsafePointer(routing.rowWeights + mine.lowerBound), expertView(space.dRowWeights).floats + mine.lowerBound
        ))
      lap(.activation, worker)
      addAdapterGradients(
        .feedForwardOutput, expert: expert, layer, worker, mine, dOutput: dOutput, input: activated)
      // db = dgu·Wgu
      let product = view(space.output).rows(rows.lowerBound..<rows.lowerBound + mine.count)
      multiply(worker, gateUp, expertWeights.gateUp, into: product)
      addAdapterInputGradient(.feedForwardInput, expert: expert, layer, worker, mine, dOutput: gateUp, to: product)
      addAdapterGradients(.feedForwardInput, expert: expert, layer, worker, mine, dOutput: gateUp, input: input)
      scatterAddRows(product, routing.rowTokens + mine.lowerBound, into: dInput)
      lap(.copies, worker)
    }
    balanceBackward(layer, rows)
    let dLogits = view(space.dRouterLogits)
    routing.backward(tokens: rows, dRowWeights: expertView(space.dRowWeights).floats, dLogits: dLogits)
    routerInputBackward(dLogits: dLogits.rows(rows), router: routers[layer], dInput: dInput.rows(rows))
    lap(.routing, worker)
  }

  /// The gradient of α · balance with respect to the probabilities of the worker's tokens.
  private func balanceBackward(_ layer: Int, _ rows: Range<Int>) {
    guard let place = activations(layer).experts, let space = plan.experts else { return }
    let dProbabilities = view(space.dRouterLogits)
    let mine = dProbabilities.rows(rows)
    mine.floats.update(repeating: 0, count: mine.rows * mine.columns)
    for document in 0..<batch.realDocumentCount {
      let tokens = batch.tokens(of: document)
      let part = tokens.clamped(to: rows)
      guard !part.isEmpty else { continue }
      expertBalanceBackward(
        load: view(place.load).rows(document..<document + 1).floats,
        scale: Float(shape.balanceLossWeight) * batch.documentWeights[document], documentLength: tokens.count,
        dProbabilities: dProbabilities.rows(part))
    }
  }

  /// The gradients of the experts' and the router's weights over all tokens, when all workers have come this far: each
  /// worker for its own rows of an expert's matrix, and for its own columns of the router.
  func addExpertWeightGradients(_ layer: Int, _ worker: Int) {
    guard let place = activations(layer).experts, let space = plan.experts, let weightGradients else { return }
    let routing = routing(layer)
    for expert in 0..<shape.expertCount {
      let rows = routing.rows(of: expert)
      let gradient = weightGradients.layers[layer].experts[expert]
      addWeightGradient(
        worker, expertView(space.dOutput).rows(rows), expertView(space.activated).rows(rows), gradient.down)
      addWeightGradient(
        worker, expertView(place.gateUp).rows(rows), expertView(space.input).rows(rows), gradient.gateUp)
    }
    let columns = team.share(of: shape.hiddenSize, worker: worker, multiple: 16)
    routerWeightBackward(
      dLogits: view(space.dRouterLogits), input: view(plan.feedForwardInput).columns(columns),
      dRouter: routerGradients[layer].columns(columns))
    lap(.routing, worker)
  }

  // MARK: - Places

  /// The rows of a slot that has one for each of the experts' rows.
  private func expertView(_ slot: ArenaSlot) -> MatrixView {
    arena.view(slot, rows: shape.expertRows(batch.rows, team.count))
  }

  /// Copies the rows of an expert's tokens side by side.
  @discardableResult
  private func gather(
    _ source: ArenaSlot, _ routing: ExpertRouting, _ rows: Range<Int>, into target: ArenaSlot, _ worker: Int
  ) -> MatrixView {
    let target = expertView(target).rows(rows)
    gatherRows(view(source), routing.rowTokens + rows.lowerBound, into: target)
    lap(.copies, worker)
    return target
  }
}
