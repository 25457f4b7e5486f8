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

  /// Σ weight · loss over the batch.
  func loss(tokens: [Int], targets: [Int], lossWeights: [Double], documentOffsets: [Int]) -> Double {
    let logits = logits(tokens: tokens, documentOffsets: documentOffsets)
    let result = Reference.softmaxCrossEntropy(
      logits: logits, targets: targets, lossWeights: lossWeights, gradientScale: 1, vocabulary: shape.vocabularySize)
    return zip(result.losses, lossWeights).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// [tokens, vocabulary]
  func logits(tokens: [Int], documentOffsets: [Int]) -> [Double] {
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
      let gates = project(feedForward, weight(key.gate), inner: hidden, columns: shape.intermediateSize)
      let ups = project(feedForward, weight(key.up), inner: hidden, columns: shape.intermediateSize)
      let activated = zip(gates, ups).map { $0 * Reference.sigmoid($0) * $1 }
      add(project(activated, weight(key.down), inner: shape.intermediateSize, columns: hidden), to: &stream)
    }
    let output = norm(stream, ParameterKey.finalNorm)
    let matrix = weight(shape.tiesEmbeddings ? ParameterKey.embedding : ParameterKey.output)
    return project(output, matrix, inner: hidden, columns: shape.vocabularySize)
  }

  private func add(_ values: [Double], to stream: inout [Double]) {
    for index in stream.indices { stream[index] += values[index] }
  }
}
