import Compute

/// The matrices of a model inside one block that is laid out by its `ParameterTable`: weights or gradients.
package struct WeightViews {
  package struct Layer {
    /// [query + 2·keyValue, n] queries, keys and values in one.
    package let queriesKeysValues: MatrixView
    /// [n, query]
    package let attentionOutput: MatrixView
    /// [2·intermediate, n] gate and up in one.
    package let gateUp: MatrixView
    /// [n, intermediate]
    package let down: MatrixView
  }

  /// [vocabulary, n]
  package let embedding: MatrixView
  /// [vocabulary, n] the matrix that makes logits: the embedding itself when the two are tied.
  package let output: MatrixView
  package let layers: [Layer]

  /// - Parameter base: the first element of the block, of the given type.
  package init(
    _ base: UnsafeMutableRawPointer, _ type: ElementType, _ table: ParameterTable, _ shape: ModelConfiguration
  ) {
    func matrix(_ key: String, rows: Int, columns: Int) -> MatrixView {
      MatrixView(base + table.offset(key) * type.byteCount, rows: rows, columns: columns, type: type)
    }
    let hidden = shape.hiddenSize
    embedding = matrix(ParameterKey.embedding, rows: shape.vocabularySize, columns: hidden)
    output =
      shape.tiesEmbeddings
      ? embedding : matrix(ParameterKey.output, rows: shape.vocabularySize, columns: hidden)
    layers = (0..<shape.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return Layer(
        queriesKeysValues: matrix(key.query, rows: shape.querySize + 2 * shape.keyValueSize, columns: hidden),
        attentionOutput: matrix(key.attentionOutput, rows: hidden, columns: shape.querySize),
        gateUp: matrix(key.gate, rows: 2 * shape.intermediateSize, columns: hidden),
        down: matrix(key.down, rows: hidden, columns: shape.intermediateSize))
    }
  }
}

/// Where the norms of a model lie inside the block of parameters. They are always read and summed in fp32.
struct NormOffsets {
  struct Layer {
    let attention: Int
    let feedForward: Int
    /// Over each head of the queries and of the keys; nil without q/k normalisation.
    let query: Int?
    let key: Int?
  }

  let layers: [Layer]
  let output: Int

  init(_ table: ParameterTable, _ shape: ModelConfiguration) {
    layers = (0..<shape.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return Layer(
        attention: table.offset(key.attentionNorm), feedForward: table.offset(key.feedForwardNorm),
        query: table.entry(key.queryNorm)?.offset, key: table.entry(key.keyNorm)?.offset)
    }
    output = table.offset(ParameterKey.finalNorm)
  }
}
