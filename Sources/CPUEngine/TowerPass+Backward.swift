import Compute
import Model

/// Each step quotes the line of the forward pass that it differentiates; ∂loss/∂y is written dy.
extension TowerPass {
  /// Takes the gradient of `feature` back to the pixels' weights, adding up the gradients of all weights.
  ///
  /// - Parameter dFeature: writes a row of the gradient, [n]: of a picture in `current`, counted from its first, and a row of it.
  ///   Class tokens that are left out have none, and are not asked for.
  func backward(dFeature: (_ picture: Int, _ row: Int, _ target: MatrixView) -> Void) {
    guard let gradients else { preconditionFailure("a tower that does not learn") }
    let dropped = shape.feature.dropsClassToken ? 1 : 0
    team.run { worker in
      let rows = rows(of: worker)
      let sums = gradients.sums.sums(worker)
      let dResidual = view(plan.dResidual)
      for row in rows {
        let target = dResidual.rows(row..<row + 1)
        let place = row % shape.rowCount - dropped
        if place < 0 {
          target.floats.update(repeating: 0, count: shape.hiddenSize)
        } else {
          dFeature(row / shape.rowCount, place, target)
        }
      }
      if shape.feature.isNormalized {
        // h = norm(x)
        normBackward(
          dResidual.rows(rows), plan.output, .finalNorm, .finalNormBias, nil, plan.finalStatistics,
          into: dResidual.rows(rows), accumulates: false, sums, rows)
      }
      for layer in (0..<layerCount).reversed() { layerBackward(layer, worker, rows, gradients.matrices, sums) }
      if shape.kind == .clip {
        normBackward(
          dResidual.rows(rows), plan.embedded, .firstNorm, .firstNormBias, nil, plan.firstStatistics,
          into: dResidual.rows(rows), accumulates: false, sums, rows)
      } else {
        biasBackward(dOutput: dResidual.rows(rows), dBias: sums.tower(.patchBias))
      }
      // The product's type, as it was on the way forward.
      let dOutput = view(plan.dAttentionOutput)
      convert(dResidual.rows(rows), to: dOutput.rows(rows))
      team.barrier()
      addWeightGradient(worker, dOutput, view(plan.patches), gradients.matrices.patch)
      addPlaceGradients(worker, gradients.vectors)
    }
  }

  private func normBackward(
    _ dOutput: MatrixView, _ input: ArenaSlot, _ weight: TowerPart, _ bias: TowerPart, _ block: Int?,
    _ statistics: ArenaSlot, into dInput: MatrixView, accumulates: Bool, _ sums: SightVectors, _ rows: Range<Int>
  ) {
    layerNormBackward(
      dOutput: dOutput, input: view(input).rows(rows), weight: vectors.tower(weight, block),
      statistics: column(statistics) + 2 * rows.lowerBound, dInput: dInput, accumulates: accumulates,
      dWeight: sums.tower(weight, block), dBias: sums.tower(bias, block))
  }

  /// W += dyᵀ·x over all rows, each worker for its own rows of W.
  private func addWeightGradient(_ worker: Int, _ dOutput: MatrixView, _ input: MatrixView, _ gradient: MatrixView) {
    let mine = team.share(of: gradient.rows, worker: worker, multiple: 16)
    guard !mine.isEmpty else { return }
    multiply(worker, dOutput.columns(mine), aTransposed: true, input, into: gradient.rows(mine), accumulates: true)
  }

  /// x = … + position, and the class token: each worker adds all pictures for its own columns.
  private func addPlaceGradients(_ worker: Int, _ gradients: SightVectors) {
    let columns = team.share(of: shape.hiddenSize, worker: worker, multiple: 16)
    guard !columns.isEmpty else { return }
    let positions = MatrixView(gradients.tower(.position), rows: shape.rowCount, columns: shape.hiddenSize)
    let dResidual = view(plan.dResidual).columns(columns)
    for picture in 0..<current.count {
      let start = picture * shape.rowCount
      addRows(dResidual.rows(start..<start + shape.rowCount), into: positions.columns(columns))
      guard shape.hasClassToken else { continue }
      let token = MatrixView(gradients.tower(.classToken), rows: 1, columns: shape.hiddenSize)
      addRows(dResidual.rows(start..<start + 1), into: token.columns(columns))
    }
  }

  private func layerBackward(
    _ layer: Int, _ worker: Int, _ rows: Range<Int>, _ gradients: SightViews, _ sums: SightVectors
  ) {
    let place = activations(layer)
    let weights = weights.layers[layer]
    let dResidual = view(plan.dResidual).rows(rows)
    let dNormalized = view(plan.dNormalized).rows(rows)

    // b = norm(x);  u = b·W₁ᵀ + b₁;  x += gelu(u)·W₂ᵀ + b₂
    let dOutput = view(plan.dFeedForwardOutput).rows(rows)
    convert(dResidual, to: dOutput)
    biasBackward(dOutput: dResidual, dBias: sums.tower(.downBias, layer))
    let (up, dUp, activated) = (view(place.up).rows(rows), view(plan.dUp).rows(rows), view(plan.activated).rows(rows))
    multiply(worker, dOutput, weights.down, into: dUp)
    geluForward(shape.activation, input: up, output: activated)
    geluBackward(shape.activation, input: up, dOutput: dUp, dInput: dUp)
    biasBackward(dOutput: dUp, dBias: sums.tower(.upBias, layer))
    multiply(worker, dUp, weights.up, into: dNormalized)
    normalize(
      place.residualAfterAttention, .feedForwardNorm, .feedForwardNormBias, layer, place.feedForwardStatistics,
      plan.feedForwardInput, rows)
    normBackward(
      dNormalized, place.residualAfterAttention, .feedForwardNorm, .feedForwardNormBias, layer,
      place.feedForwardStatistics, into: dResidual, accumulates: true, sums, rows)

    // x += o·Woᵀ + bo
    let dAttention = view(plan.dAttentionOutput).rows(rows)
    convert(dResidual, to: dAttention)
    biasBackward(dOutput: dResidual, dBias: sums.tower(.attentionOutputBias, layer))
    multiply(worker, dAttention, weights.attentionOutput, into: view(plan.dAttended).rows(rows))
    team.barrier()
    attendBackward(layer, worker)
    let matrices = gradients.layers[layer]
    addWeightGradient(worker, view(plan.dFeedForwardOutput), view(plan.activated), matrices.down)
    addWeightGradient(worker, view(plan.dUp), view(plan.feedForwardInput), matrices.up)
    addWeightGradient(worker, view(plan.dAttentionOutput), view(place.attended), matrices.attentionOutput)
    normalize(
      place.input, .attentionNorm, .attentionNormBias, layer, place.attentionStatistics, plan.attentionInput, rows)
    team.barrier()

    // a = norm(x);  q, k, v = a·Wqkvᵀ + bqkv
    let dQueriesKeysValues = view(plan.dQueriesKeysValues)
    addWeightGradient(worker, dQueriesKeysValues, view(plan.attentionInput), matrices.queriesKeysValues)
    let hidden = shape.hiddenSize
    for (index, part) in Self.inputBiases.enumerated() {
      biasBackward(
        dOutput: dQueriesKeysValues.rows(rows).columns(index * hidden..<(index + 1) * hidden),
        dBias: sums.tower(part, layer))
    }
    multiply(worker, dQueriesKeysValues.rows(rows), weights.queriesKeysValues, into: dNormalized)
    normBackward(
      dNormalized, place.input, .attentionNorm, .attentionNormBias, layer, place.attentionStatistics, into: dResidual,
      accumulates: true, sums, rows)
  }
}
