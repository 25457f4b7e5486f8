import Model
import Programs

/// One layer: attention, in which tokens look at each other, and the feed-forward block, which each passes by itself. Each
/// adds what it makes to the residual stream. In the order of `ReferenceModel`, and with its names.
struct TransformerLayer {
  private let pass: PassContext
  private let number: Int
  private let attentionNorm, feedForwardNorm: RMSNorm
  private let query, key, value, attentionOutput: Linear
  private let queryNorm, keyNorm: RMSNorm?
  private let attention: any DocumentAttention
  private let shared: FeedForward?
  private let mixture: Mixture?
  /// x after the layer, float32, [tokens, hidden].
  let output: Tensor

  private struct Mixture {
    var router: Router
    var balance: ExpertBalance
    var experts: Experts
  }

  /// - Parameter input: x, float32, [tokens, hidden].
  init(_ input: Tensor, _ number: Int, _ pass: PassContext) {
    let (weights, shape, precision) = (pass.weights, pass.model.shape, pass.model.precision)
    let (tokens, epsilon) = (input.shape[0], Double(shape.rmsNormEpsilon))
    self.pass = pass
    self.number = number

    attentionNorm = RMSNorm(input, weight: weights[.attentionNorm, number], epsilon: epsilon)
    let a = attentionNorm.output
    query = Linear(a, weights.linear(.query, bias: .queryBias, number), precision)
    key = Linear(a, weights.linear(.key, bias: .keyBias, number), precision)
    value = Linear(a, weights.linear(.value, bias: .valueBias, number), precision)
    func norm(_ heads: Tensor, _ role: ParameterRole) -> RMSNorm? {
      guard shape.normalizesQueriesAndKeys else { return nil }
      return RMSNorm(
        heads.reshaped([heads.type.count / shape.headSize, shape.headSize]), weight: weights[role, number],
        epsilon: epsilon)
    }
    queryNorm = norm(query.output, .queryNorm)
    keyNorm = norm(key.output, .keyNorm)
    func heads(_ rows: Tensor, _ count: Int) -> Tensor { rows.reshaped([tokens, count, shape.headSize]) }
    attention = pass.attention(
      queries: pass.rotary.forward(heads(queryNorm?.output ?? query.output, shape.headCount)),
      keys: pass.rotary.forward(heads(keyNorm?.output ?? key.output, shape.keyValueHeadCount)),
      values: heads(value.output, shape.keyValueHeadCount))
    attentionOutput = Linear(
      attention.output, weights.linear(.attentionOutput, bias: .attentionOutputBias, number), precision)
    var x = input + attentionOutput.output

    feedForwardNorm = RMSNorm(x, weight: weights[.feedForwardNorm, number], epsilon: epsilon)
    let b = feedForwardNorm.output
    shared =
      shape.sharedIntermediateSize > 0
      ? FeedForward(b, weights.feedForward(shape.isMixture ? .shared : .dense, number), precision) : nil
    if let shared { x = x + shared.output }
    if shape.isMixture {
      let router = Router(
        b, weights[.router, number], expertsPerToken: shape.expertsPerToken, normalizes: shape.normalizesExpertWeights)
      let mixture = Mixture(
        router: router,
        balance: ExpertBalance(router, documents: pass.batch.documents, scales: pass.batch.balanceScales!),
        experts: Experts(
          b, router, (0..<shape.expertCount).map { weights.feedForward(.expert($0), number) },
          blockRows: pass.model.expertBlockRows(tokens: tokens), precision))
      x = x + mixture.experts.output
      self.mixture = mixture
    } else {
      mixture = nil
    }
    output = x
  }

  /// Adds the gradients of the layer's weights to `pass.weights`.
  ///
  /// - Parameter dOutput: x̄ after the layer.
  /// - Returns: x̄ before it.
  func backward(_ dOutput: Tensor) -> Tensor {
    let (weights, shape) = (pass.weights, pass.model.shape)
    var dX = dOutput

    var dB: [Tensor] = []
    if let shared {
      let dShared = shared.backward(dX)
      weights.add(dShared.gradients, shape.isMixture ? .shared : .dense, number)
      dB.append(dShared.dInput)
    }
    if let mixture {
      let dExperts = mixture.experts.backward(dX)
      for (expert, gradients) in dExperts.gradients.enumerated() { weights.add(gradients, .expert(expert), number) }
      let dRouter = mixture.router.backward(
        dWeights: dExperts.dWeights, dProbabilities: mixture.balance.backward(weight: shape.balanceLossWeight))
      weights.add(dRouter.dMatrix, .router, number)
      dB += [dExperts.dInput, dRouter.dInput]
    }
    let dFeedForward = feedForwardNorm.backward(dB.dropFirst().reduce(dB[0], +))
    weights.add(dFeedForward.dWeight, .feedForwardNorm, number)
    dX = dX + dFeedForward.dInput

    let dOut = attentionOutput.backward(dX)
    weights.add(dOut.gradient, .attentionOutput, bias: .attentionOutputBias, number)
    let dAttention = attention.backward(dOut.dInput)
    func throughNorm(_ dHeads: Tensor, _ norm: RMSNorm?, _ role: ParameterRole) -> Tensor {
      let width = dHeads.shape[1] * shape.headSize
      guard let norm else { return dHeads.reshaped([dHeads.shape[0], width]) }
      let dNorm = norm.backward(dHeads.reshaped([dHeads.type.count / shape.headSize, shape.headSize]))
      weights.add(dNorm.dWeight, role, number)
      return dNorm.dInput.reshaped([dHeads.shape[0], width])
    }
    let dQuery = query.backward(throughNorm(pass.rotary.backward(dAttention.dQueries), queryNorm, .queryNorm))
    let dKey = key.backward(throughNorm(pass.rotary.backward(dAttention.dKeys), keyNorm, .keyNorm))
    let dValue = value.backward(
      dAttention.dValues.reshaped([dAttention.dValues.shape[0], shape.keyValueSize]))
    weights.add(dQuery.gradient, .query, bias: .queryBias, number)
    weights.add(dKey.gradient, .key, bias: .keyBias, number)
    weights.add(dValue.gradient, .value, bias: .valueBias, number)
    let dA = attentionNorm.backward(dQuery.dInput + dKey.dInput + dValue.dInput)
    weights.add(dA.dWeight, .attentionNorm, number)
    return dX + dA.dInput
  }

  // MARK: - Use of experts

  /// [1, 1] Σ weight · balance over documents, and [1, experts] the choices; nil in a dense model.
  var expertUse: (balance: Tensor, choices: Tensor)? { mixture.map { ($0.balance.sum, $0.balance.choices) } }
}

extension ProgramModel {
  /// Rows of a block of an expert: no more than an expert has on average, so that blocks which are not full waste no more
  /// than what is used.
  func expertBlockRows(tokens: Int) -> Int {
    min(sizes.expertRows, max(1, tokens * shape.expertsPerToken / shape.expertCount))
  }
}
