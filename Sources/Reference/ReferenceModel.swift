import Model

/// The whole model on one page: a Llama-style decoder, forward and backward, one plain loop after another in Double.
///
/// Read this file first, from top to bottom. Symbols and shapes are those of docs/notation.md: T tokens, n hidden size,
/// L layers, H heads and G key/value heads of d dimensions, h intermediate size, V vocabulary. A matrix is an array, row
/// after row; a bar over a name, written dX here, is the gradient of the loss with respect to it. Each operation that is
/// called (`Reference.attentionForward`, …) is in a file of its own beside this one (`Reference+Attention.swift`), forward and
/// backward together in 20 to 120 lines.
///
/// It is slow, and the fast engines are tested against it. It is itself tested against PyTorch's numbers, and its gradients
/// against differences of its losses.
package struct ReferenceModel {
  package let shape: ModelConfiguration
  /// Which weights the model has, and where each lies in `weights`.
  package let table: ParameterTable
  /// [table.totalCount] all weights, one after another.
  package var weights: [Double]
  /// [table.totalCount] the gradient of each weight, summed over the calls of `backward`.
  package var gradients: [Double]
  /// [table.totalCount] AdamW's moving means of the gradients and of their squares.
  package var firstMoments, secondMoments: [Double]

  /// - Parameter weights: [table.totalCount].
  package init(_ shape: ModelConfiguration, _ table: ParameterTable, weights: [Double]) {
    precondition(weights.count == table.totalCount, "\(weights.count) weights of \(table.totalCount)")
    self.shape = shape
    self.table = table
    self.weights = weights
    gradients = [Double](repeating: 0, count: weights.count)
    (firstMoments, secondMoments) = (gradients, gradients)
  }

  /// A copy of `parameters`.
  package init(_ parameters: Parameters) {
    self.init(
      parameters.configuration, parameters.table,
      weights: (0..<parameters.table.totalCount).map { Double(parameters.values[$0]) })
  }

  // MARK: - Forward: tokens in, logits out

  /// What the forward pass finds in a layer, kept for the way back.
  struct Layer {
    /// a [T, n] the attention block's input, normalised.
    var attentionInput: Normalized
    /// [T·H, d] and [T·G, d] queries and keys, each head normalised; only in models that do so.
    var queryNorm, keyNorm: Normalized?
    /// q, k, v [T, (H + 2·G)·d] side by side, queries and keys rotated.
    var queriesKeysValues: [Double]
    /// o [T, H·d]
    var attended: [Double]
    /// b [T, n] the feed-forward block's input, normalised.
    var feedForwardInput: Normalized
    /// The block that every token passes; none in a mixture without shared experts.
    var shared: FeedForward?
    /// Which experts each token takes; only in a mixture. Here each expert computes all tokens.
    var routing: Reference.Routing<Double>?
    var experts: [FeedForward] = []
  }

  /// A SwiGLU block of width h.
  struct FeedForward {
    /// g, u [T, 2·h] side by side.
    var gateUp: [Double]
    /// silu(g) ⊙ u [T, h]
    var activated: [Double]
    /// [T, n] what the block adds to the residual stream; an expert's times its weight.
    var output: [Double]
  }

  /// A matrix and what RMSNorm makes of its rows.
  struct Normalized {
    var input: [Double]
    var output: [Double]
    /// [rows] 1 over the root mean square.
    var reciprocals: [Double]
  }

  package struct Activations {
    /// [T] ids; -1 for rows that do not come from the embedding table.
    let tokens: [Int]
    let documentOffsets: [Int]
    /// [T][d/2] by how much the pairs of a head are turned.
    let angles: [[Double]]
    var layers: [Layer] = []
    /// [T, n] the end of the residual stream, normalised.
    var final = Normalized(input: [], output: [], reciprocals: [])
    /// z [T, V]
    package var logits: [Double] = []
  }

  /// - Parameters:
  ///   - tokens: [T] ids, document after document.
  ///   - documentOffsets: [documents + 1] where each document begins, and the end of the last. A token sees itself and
  ///     what stands before it in its document.
  package func forward(tokens: [Int], documentOffsets: [Int]) -> Activations {
    // x = E[token]
    let x = Reference.embeddingForward(tokens: tokens, table: weight(ParameterKey.embedding), width: shape.hiddenSize)
    return forward(x, tokens: tokens, documentOffsets: documentOffsets, angles: angles(documentOffsets))
  }

  /// The same of a batch, whose embedded rows (of an image, say) take the place of E[token].
  ///
  /// - Precondition: no pictures, which a `ReferenceSight` makes rows of.
  package func forward(_ batch: Batch) -> Activations {
    precondition(batch.pictures.isEmpty, "pictures for a model that does not see")
    var tokens = batch.tokens.map(Int.init)
    var x = Reference.embeddingForward(tokens: tokens, table: weight(ParameterKey.embedding), width: shape.hiddenSize)
    for span in batch.embedded {
      for row in span.rows {
        tokens[row] = -1
        x.replaceSubrange(
          row * shape.hiddenSize..<(row + 1) * shape.hiddenSize, with: span.values(ofRow: row).map(Double.init))
      }
    }
    let offsets = batch.documentOffsets.map(Int.init)
    return forward(x, tokens: tokens, documentOffsets: offsets, angles: angles(offsets))
  }

  /// - Parameter input: [T, n] what the residual stream, to which every block adds, begins with.
  func forward(_ input: [Double], tokens: [Int], documentOffsets: [Int], angles: [[Double]]) -> Activations {
    var result = Activations(tokens: tokens, documentOffsets: documentOffsets, angles: angles)
    var x = input
    for number in 0..<shape.layerCount {
      let key = ParameterKey.Layer(number)

      // Attention: tokens look at each other.
      let a = normalize(x, key.attentionNorm)
      var q = project(a.output, key.query, bias: key.queryBias)
      var k = project(a.output, key.key, bias: key.keyBias)
      let v = project(a.output, key.value, bias: key.valueBias)
      var (queryNorm, keyNorm): (Normalized?, Normalized?)
      if shape.normalizesQueriesAndKeys {
        let (queries, keys) = (normalize(q, key.queryNorm), normalize(k, key.keyNorm))
        (queryNorm, keyNorm, q, k) = (queries, keys, queries.output, keys.output)
      }
      q = rotate(q, angles)
      k = rotate(k, angles)
      let qkv = sideBySide([q, k, v], rows: tokens.count)
      let o = Reference.attentionForward(queriesKeysValues: qkv, attentionShape(documentOffsets))
      add(project(o, key.attentionOutput, bias: key.attentionOutputBias), to: &x)

      // Feed-forward: each token by itself.
      let b = normalize(x, key.feedForwardNorm)
      var layer = Layer(
        attentionInput: a, queryNorm: queryNorm, keyNorm: keyNorm, queriesKeysValues: qkv, attended: o,
        feedForwardInput: b)
      if shape.sharedIntermediateSize > 0 {
        let block = feedForward(b.output, key.feedForward(shape))
        add(block.output, to: &x)
        layer.shared = block
      }
      if shape.isMixture {
        let routing = Reference.routerForward(
          input: b.output, router: weight(key.router), expertCount: shape.expertCount,
          expertsPerToken: shape.expertsPerToken, normalizes: shape.normalizesExpertWeights, width: shape.hiddenSize)
        for expert in 0..<shape.expertCount {
          let block = feedForward(b.output, key.expert(expert))
          add(scaleRows(block.output, shares(of: expert, routing)), to: &x)
          layer.experts.append(block)
        }
        layer.routing = routing
      }
      result.layers.append(layer)
    }
    // z = norm(x)·Eᵀ, or a matrix of its own instead of E.
    result.final = normalize(x, ParameterKey.finalNorm)
    result.logits = project(result.final.output, outputKey)
    return result
  }

  /// (silu(b·W₁ᵀ) ⊙ b·W₃ᵀ)·W₂ᵀ
  private func feedForward(_ b: [Double], _ key: ParameterKey.FeedForward) -> FeedForward {
    let gates = project(b, key.gate)
    let gateUp = sideBySide([gates, project(b, key.up)], rows: b.count / shape.hiddenSize)
    let activated = Reference.swiGLUForward(gateUp: gateUp, hidden: columns(key.gate))
    return FeedForward(gateUp: gateUp, activated: activated, output: project(activated, key.down))
  }

  // MARK: - Loss: how unlikely the model found what came next

  /// Σ weight · (log Σ e^z - z[target]) over tokens, and Σ over layers and documents of the document's weight · how
  /// unevenly it uses the experts.
  package func loss(_ batch: Batch) -> (loss: Double, balance: Double) { losses(forward(batch), batch).sums }

  /// The same; adds the gradient of loss + `balanceLossWeight` · balance to `gradients`.
  package mutating func forwardBackward(_ batch: Batch) -> (loss: Double, balance: Double) {
    let activations = forward(batch)
    let (sums, dLogits) = losses(activations, batch)
    backward(activations, dLogits: dLogits, documentWeights: documentWeights(batch))
    return sums
  }

  private func losses(
    _ activations: Activations, _ batch: Batch
  ) -> (sums: (loss: Double, balance: Double), dLogits: [Double]) {
    let lossWeights = batch.lossWeights.map(Double.init)
    let (losses, dLogits) = Reference.softmaxCrossEntropy(
      logits: activations.logits, targets: batch.targets.map(Int.init), lossWeights: lossWeights, gradientScale: 1,
      vocabulary: shape.vocabularySize)
    var sums = (loss: 0.0, balance: 0.0)
    for (loss, weight) in zip(losses, lossWeights) { sums.loss += weight * loss }
    for routing in activations.layers.compactMap(\.routing) {
      for (document, weight) in zip(documents(activations.documentOffsets), documentWeights(batch)) {
        sums.balance += weight * Reference.expertBalance(routing, tokens: document, expertCount: shape.expertCount)
      }
    }
    return (sums, dLogits)
  }

  // MARK: - Backward: the chain rule, from the logits to the embedding

  /// Adds to `gradients` what `dLogits` [T, V], and the balance of experts times `documentWeights` [documents], say.
  ///
  /// A block that adds f(x) to x passes the stream's gradient on as it is, and adds that of f.
  ///
  /// - Parameter dFinal: [T, n] what else reads the normalised output has found; nil where nothing does.
  package mutating func backward(
    _ activations: Activations, dLogits: [Double], dFinal dOther: [Double]? = nil, documentWeights: [Double]
  ) {
    let offsets = activations.documentOffsets
    var dFinal = projectBackward(dLogits, activations.final.output, outputKey)
    if let dOther { add(dOther, to: &dFinal) }
    var dX = normalizeBackward(dFinal, activations.final, ParameterKey.finalNorm)
    for (number, layer) in activations.layers.enumerated().reversed() {
      let key = ParameterKey.Layer(number)

      // Feed-forward.
      let b = layer.feedForwardInput
      var dB = [Double](repeating: 0, count: b.output.count)
      if let block = layer.shared { add(feedForwardBackward(dX, block, b.output, key.feedForward(shape)), to: &dB) }
      if let routing = layer.routing {
        // An expert's output y counts with the weight w: ȳ = w·x̄, and w̄ = Σ x̄·y over the token's row.
        var dWeights = routing.weights
        for (expert, block) in layer.experts.enumerated() {
          let dOutput = scaleRows(dX, shares(of: expert, routing))
          add(feedForwardBackward(dOutput, block, b.output, key.expert(expert)), to: &dB)
          for (token, chosen) in routing.experts.enumerated() {
            guard let place = chosen.firstIndex(of: expert) else { continue }
            let row = token * shape.hiddenSize..<(token + 1) * shape.hiddenSize
            dWeights[token][place] = row.reduce(0) { $0 + dX[$1] * block.output[$1] }
          }
        }
        var dProbabilities: [Double] = []
        for (document, weight) in zip(documents(offsets), documentWeights) {
          dProbabilities += Reference.expertBalanceBackward(routing, tokens: document, expertCount: shape.expertCount)
            .map { $0 * weight * shape.balanceLossWeight }
        }
        let dRouting = Reference.routerBackward(
          routing, normalizes: shape.normalizesExpertWeights, dWeights: dWeights, dProbabilities: dProbabilities)
        add(projectBackward(dRouting, b.output, key.router), to: &dB)
      }
      add(normalizeBackward(dB, b, key.feedForwardNorm), to: &dX)

      // Attention.
      let a = layer.attentionInput
      let dO = projectBackward(dX, layer.attended, key.attentionOutput, bias: key.attentionOutputBias)
      let dQKV = Reference.attentionBackward(
        dOutput: dO, queriesKeysValues: layer.queriesKeysValues, attentionShape(offsets))
      let parts = apart(dQKV, widths: [shape.querySize, shape.keyValueSize, shape.keyValueSize])
      var dQ = rotate(parts[0], activations.angles, direction: -1)
      var dK = rotate(parts[1], activations.angles, direction: -1)
      if let queryNorm = layer.queryNorm { dQ = normalizeBackward(dQ, queryNorm, key.queryNorm) }
      if let keyNorm = layer.keyNorm { dK = normalizeBackward(dK, keyNorm, key.keyNorm) }
      var dA = projectBackward(dQ, a.output, key.query, bias: key.queryBias)
      add(projectBackward(dK, a.output, key.key, bias: key.keyBias), to: &dA)
      add(projectBackward(parts[2], a.output, key.value, bias: key.valueBias), to: &dA)
      add(normalizeBackward(dA, a, key.attentionNorm), to: &dX)
    }
    let dEmbedding = Reference.embeddingBackward(
      tokens: activations.tokens, dOutput: dX, vocabulary: shape.vocabularySize, width: shape.hiddenSize)
    accumulate(dEmbedding, ParameterKey.embedding)
  }

  /// - Returns: b̄ [T, n].
  private mutating func feedForwardBackward(
    _ dOutput: [Double], _ block: FeedForward, _ b: [Double], _ key: ParameterKey.FeedForward
  ) -> [Double] {
    let dActivated = projectBackward(dOutput, block.activated, key.down)
    let width = columns(key.gate)
    let dGateUp = Reference.swiGLUBackward(gateUp: block.gateUp, dOutput: dActivated, hidden: width)
    let parts = apart(dGateUp, widths: [width, width])
    var dB = projectBackward(parts[0], b, key.gate)
    add(projectBackward(parts[1], b, key.up), to: &dB)
    return dB
  }

  // MARK: - Optimizer: AdamW moves every weight against its gradient

  /// One step with `gradientScale` times the gradients. Norms and biases take no decay.
  ///
  /// - Parameter step: its number, from 1.
  package mutating func adamWStep(
    learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.95, epsilon: Double = 1e-8, weightDecay: Double = 0,
    gradientScale: Double = 1, step: Int
  ) {
    for entry in table.entries {
      var (w, m, v) = (
        Array(weights[entry.range]), Array(firstMoments[entry.range]), Array(secondMoments[entry.range])
      )
      Reference.adamWStep(
        parameters: &w, gradients: gradients[entry.range].map { $0 * gradientScale }, firstMoment: &m,
        secondMoment: &v, learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
        weightDecay: entry.role.isDecayed ? weightDecay : 0, step: step)
      weights.replaceSubrange(entry.range, with: w)
      firstMoments.replaceSubrange(entry.range, with: m)
      secondMoments.replaceSubrange(entry.range, with: v)
    }
  }
}
