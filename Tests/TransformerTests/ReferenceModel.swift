import ReferenceKernels
import Transformer

/// The whole model written out with the plain kernels, in Double: what the training pass is checked against.
struct ReferenceModel {
  let shape: ModelConfiguration
  let table: ParameterTable
  var values: [Double]

  init(_ parameters: Parameters) {
    shape = parameters.configuration
    table = parameters.table
    values = (0..<table.totalCount).map { Double(parameters.values[$0]) }
  }

  private func weight(_ key: String) -> [Double] {
    guard let entry = table.entry(key) else { preconditionFailure("no weight \(key)") }
    return Array(values[entry.range])
  }

  /// Σ weight · loss over the batch, and Σ over layers and documents of the document's weight · its balance of experts.
  func loss(
    tokens: [Int], targets: [Int], lossWeights: [Double], documentOffsets: [Int]
  ) -> (loss: Double, balance: Double) {
    var balance = 0.0
    let logits = logits(tokens: tokens, documentOffsets: documentOffsets) { routing in
      for (start, end) in zip(documentOffsets, documentOffsets.dropFirst()) {
        balance +=
          lossWeights[start..<end].reduce(0, +)
          * Reference.expertBalance(routing, tokens: start..<end, expertCount: shape.expertCount)
      }
    }
    let result = Reference.softmaxCrossEntropy(
      logits: logits, targets: targets, lossWeights: lossWeights, gradientScale: 1, vocabulary: shape.vocabularySize)
    return (zip(result.losses, lossWeights).reduce(0) { $0 + $1.0 * $1.1 }, balance)
  }

  /// [tokens, vocabulary]; tells `observe` of each layer's routing.
  func logits(
    tokens: [Int], documentOffsets: [Int], observe: (Reference.Routing<Double>) -> Void = { _ in }
  ) -> [Double] {
    let count = tokens.count
    let hidden = shape.hiddenSize
    let epsilon = Double(shape.rmsNormEpsilon)
    var stream = Reference.embeddingForward(tokens: tokens, table: weight(ParameterKey.embedding), width: hidden)
    var positions: [Int] = []
    for (start, end) in zip(documentOffsets, documentOffsets.dropFirst()) { positions += Array(0..<end - start) }
    func project(_ input: [Double], _ matrix: [Double], inner: Int, columns: Int) -> [Double] {
      Reference.multiply(input, matrix, bTransposed: true, rows: count, inner: inner, columns: columns)
    }
    func norm(_ input: [Double], _ key: String) -> [Double] {
      Reference.rmsNormForward(input: input, weight: weight(key), epsilon: epsilon).output
    }
    for layer in 0..<shape.layerCount {
      let key = ParameterKey.Layer(layer)
      let input = norm(stream, key.attentionNorm)
      var queries = project(input, weight(key.query), inner: hidden, columns: shape.querySize)
      var keys = project(input, weight(key.key), inner: hidden, columns: shape.keyValueSize)
      let values = project(input, weight(key.value), inner: hidden, columns: shape.keyValueSize)
      if shape.normalizesQueriesAndKeys {
        queries = norm(queries, key.queryNorm)
        keys = norm(keys, key.keyNorm)
      }
      func rotate(_ heads: [Double], _ width: Int) -> [Double] {
        Reference.rotary(
          heads, width: width, headSize: shape.headSize, positions: positions, theta: shape.ropeTheta)
      }
      queries = rotate(queries, shape.querySize)
      keys = rotate(keys, shape.keyValueSize)
      var fused: [Double] = []
      for token in 0..<count {
        fused += queries[token * shape.querySize..<(token + 1) * shape.querySize]
        fused += keys[token * shape.keyValueSize..<(token + 1) * shape.keyValueSize]
        fused += values[token * shape.keyValueSize..<(token + 1) * shape.keyValueSize]
      }
      let attended = Reference.attentionForward(
        queriesKeysValues: fused,
        Reference.AttentionShape(
          headCount: shape.headCount, keyValueHeadCount: shape.keyValueHeadCount, headSize: shape.headSize,
          documentOffsets: documentOffsets))
      add(project(attended, weight(key.attentionOutput), inner: shape.querySize, columns: hidden), to: &stream)

      let feedForward = norm(stream, key.feedForwardNorm)
      func block(_ keys: ParameterKey.FeedForward, _ width: Int) -> [Double] {
        let gates = project(feedForward, weight(keys.gate), inner: hidden, columns: width)
        let ups = project(feedForward, weight(keys.up), inner: hidden, columns: width)
        let activated = zip(gates, ups).map { $0 * Reference.sigmoid($0) * $1 }
        return project(activated, weight(keys.down), inner: width, columns: hidden)
      }
      if shape.sharedIntermediateSize > 0 {
        add(block(key.feedForward(shape), shape.sharedIntermediateSize), to: &stream)
      }
      guard shape.isMixture else { continue }
      let routing = Reference.routerForward(
        input: feedForward, router: weight(key.router), expertCount: shape.expertCount,
        expertsPerToken: shape.expertsPerToken, width: hidden)
      observe(routing)
      // Every expert for every token, the chosen ones times their weights, the others times 0.
      for expert in 0..<shape.expertCount {
        let output = block(key.expert(expert), shape.intermediateSize)
        let shares = zip(routing.experts, routing.weights).map { chosen, weights in
          chosen.firstIndex(of: expert).map { weights[$0] } ?? 0
        }
        add(output.indices.map { output[$0] * shares[$0 / hidden] }, to: &stream)
      }
    }
    let output = norm(stream, ParameterKey.finalNorm)
    let matrix = weight(shape.tiesEmbeddings ? ParameterKey.embedding : ParameterKey.output)
    return project(output, matrix, inner: hidden, columns: shape.vocabularySize)
  }

  private func add(_ values: [Double], to stream: inout [Double]) {
    for index in stream.indices { stream[index] += values[index] }
  }
}
