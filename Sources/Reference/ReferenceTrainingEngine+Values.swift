import Model

extension ReferenceTrainingEngine: ValuingEngine {
  package func forward(_ batch: Batch, valueHead: [Float]) -> ValuedTokens {
    found(model.forward(batch), batch, valueHead)
  }

  package func forwardBackward(
    _ batch: Batch, valueHead: [Float], mean: LossMean, tokensBefore: Int, weights: (ValuedTokens) -> ValuedWeights
  ) -> [Float] {
    let activations = model.forward(batch)
    let weights = weights(found(activations, batch, valueHead))
    let (_, dLogits) = losses(activations, batch, weights.losses)
    // v = h·w, so h̄ = weight·w and w̄ = Σ weight·h.
    let width = valueHead.count
    var dHead = [Double](repeating: 0, count: width)
    var dFinal = [Double](repeating: 0, count: batch.tokenCount * width)
    for (token, weight) in weights.values.enumerated() where batch.lossWeights[token] != 0 {
      for column in 0..<width {
        dFinal[token * width + column] = Double(weight) * Double(valueHead[column])
        dHead[column] += Double(weight) * activations.final.output[token * width + column]
      }
    }
    addGradients(activations, dLogits: dLogits, dFinal: dFinal, batch, batch.lossWeights, mean)
    return dHead.map(Float.init)
  }

  private func found(_ activations: ReferenceModel.Activations, _ batch: Batch, _ head: [Float]) -> ValuedTokens {
    let values = batch.lossWeights.enumerated().map { token, weight -> Float in
      guard weight != 0 else { return 0 }
      let row = activations.final.output[token * head.count..<(token + 1) * head.count]
      return Float(zip(row, head).reduce(0) { $0 + $1.0 * Double($1.1) })
    }
    return ValuedTokens(losses: losses(activations, batch, batch.lossWeights).losses, values: values)
  }
}
