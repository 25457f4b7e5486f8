import Model

extension CPUTrainingEngine: ValuingEngine {
  package func forward(_ batch: Batch, valueHead: [Float]) -> ValuedTokens {
    let values = pass.valuePass(valueHead)
    _ = pass.forward(batch, lossWeights: nil, values: values)
    return ValuedTokens(losses: pass.losses, values: values.values(of: pass.batch))
  }

  package func forwardBackward(
    _ batch: Batch, valueHead: [Float], mean: LossMean, tokensBefore: Int, weights: (ValuedTokens) -> ValuedWeights
  ) -> [Float] {
    let values = pass.valuePass(valueHead)
    withoutActuallyEscaping(weights) { weights in
      _ = pass.forwardBackward(
        batch, lossWeights: nil, tokensBefore: tokensBefore, mean: mean,
        weightsAfter: { [pass] losses in
          let found = weights(ValuedTokens(losses: losses, values: values.values(of: pass.batch)))
          values.setWeights(found.values, of: pass.batch)
          return found.losses
        }, teacher: nil, values: values)
    }
    return values.headGradient
  }
}
