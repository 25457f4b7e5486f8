import Model
import Programs

/// Values of rows by a head that belongs to the caller and is the same on every device.
extension ProgramTrainingEngine: ValuingEngine {
  package func forward(_ batch: Batch, valueHead: [Float]) -> ValuedTokens {
    device.attempt { try valuedTokens(batch, valueHead, tokensBefore: nil) }
      ?? ValuedTokens(losses: Self.noLosses(batch), values: Self.noLosses(batch).values)
  }

  package func forwardBackward(
    _ batch: Batch, valueHead: [Float], mean: LossMean, tokensBefore: Int, weights: (ValuedTokens) -> ValuedWeights
  ) -> [Float] {
    let gradient = device.attempt {
      let found = weights(try valuedTokens(batch, valueHead, tokensBefore: tokensBefore))
      return try addGradients(
        batch, batch.lossWeights, derivatives: found.losses, mean, tokensBefore,
        .values(head: valueHead, weights: found.values)
      ).dHead
    }
    return (gradient ?? nil) ?? [Float](repeating: .nan, count: valueHead.count)
  }

  /// - Parameter tokensBefore: as in `losses`.
  private func valuedTokens(_ batch: Batch, _ valueHead: [Float], tokensBefore: Int?) throws -> ValuedTokens {
    let lossWeights = batch.lossWeights
    let (parts, pass) = divide(batch, lossWeights)
    let outputs = try run(
      .losses(pass, drops: tokensBefore != nil && programs.model.dropout != nil, withValues: true),
      inputs(parts, pass, lossWeights: lossWeights, mean: .tokens, tokensBefore: tokensBefore)
        + [upload(head: valueHead)])
    return ValuedTokens(
      losses: TokenLosses(try tokenNumbers(outputs[0], parts, pass, lossWeights)),
      values: try tokenNumbers(outputs[1], parts, pass, lossWeights))
  }

  func upload(head: [Float]) throws -> Runner.Memory { try runner.upload(HostTensor(head, [1, head.count])) }

  /// [loss rows] the numbers of the rows whose losses are asked for, 0 for padding.
  func upload(
    _ numbers: [Float], asked lossWeights: [Float], _ parts: BatchParts, _ pass: PassShape
  ) throws -> Runner.Memory {
    try runner.upload(
      parts.parts.indices.map { replica in
        let own = parts.own(numbers, replica)
        let rows = pass.rowsWithLoss(parts.own(lossWeights, replica))
        return HostTensor(rows.map { $0 < own.count ? own[$0] : 0 }, [pass.lossRows])
      })
  }
}
