import Compute
import Model

/// The matrices of a model inside one block that is laid out by its `ParameterTable`: weights or gradients.
package struct WeightViews {
  package struct Layer {
    /// [query + 2·keyValue, n] queries, keys and values in one.
    package let queriesKeysValues: MatrixView
    /// [n, query]
    package let attentionOutput: MatrixView
    /// [2·sharedIntermediate, n] gate and up in one, of the block that every token passes.
    package let gateUp: MatrixView
    /// [n, sharedIntermediate]
    package let down: MatrixView
    /// The routed experts of a mixture.
    package let experts: [Expert]
  }

  package struct Expert {
    /// [2·intermediate, n]
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
      ? embedding : matrix(ParameterKey.output(shape), rows: shape.outputSize, columns: hidden)
    layers = (0..<shape.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      func gateUp(_ keys: ParameterKey.FeedForward, _ width: Int) -> MatrixView {
        matrix(keys.gate, rows: 2 * width, columns: hidden)
      }
      func down(_ keys: ParameterKey.FeedForward, _ width: Int) -> MatrixView {
        matrix(keys.down, rows: hidden, columns: width)
      }
      let shared = key.feedForward(shape)
      let width = shape.sharedIntermediateSize
      return Layer(
        queriesKeysValues: matrix(key.query, rows: shape.querySize + 2 * shape.keyValueSize, columns: hidden),
        attentionOutput: matrix(key.attentionOutput, rows: hidden, columns: shape.querySize),
        // A mixture without shared experts has no weights of these names: nothing, in the right shape.
        gateUp: width > 0 ? gateUp(shared, width) : MatrixView(base, rows: 0, columns: hidden, type: type),
        down: width > 0 ? down(shared, width) : MatrixView(base, rows: hidden, columns: 0, type: type),
        experts: (0..<shape.expertCount).map { expert in
          let keys = key.expert(expert)
          return Expert(gateUp: gateUp(keys, shape.intermediateSize), down: down(keys, shape.intermediateSize))
        })
    }
  }

  /// [experts, n] the router of each layer, inside a block of Floats; none for a dense model.
  package static func routers(
    _ base: UnsafeMutablePointer<Float>, _ table: ParameterTable, _ shape: ModelConfiguration
  ) -> [MatrixView] {
    guard shape.isMixture else { return [] }
    return (0..<shape.layerCount).map { layer in
      MatrixView(
        base + table.offset(ParameterKey.Layer(layer).router), rows: shape.expertCount, columns: shape.hiddenSize)
    }
  }
}

/// Where the norms and biases of a model lie inside the block of parameters. They are always read and summed in fp32.
struct VectorOffsets {
  struct Layer {
    let attention: Int
    let feedForward: Int
    /// Over each head of the queries and of the keys; nil without q/k normalisation.
    let query: Int?
    let key: Int?
    /// Of the columns of queries, keys and values side by side; none in a model without them.
    let inputBiases: [(columns: Range<Int>, offset: Int)]
    let outputBias: Int?
  }

  let layers: [Layer]
  let output: Int

  init(_ table: ParameterTable, _ shape: ModelConfiguration) {
    layers = (0..<shape.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return Layer(
        attention: table.offset(key.attentionNorm), feedForward: table.offset(key.feedForwardNorm),
        query: table.entry(key.queryNorm)?.offset, key: table.entry(key.keyNorm)?.offset,
        inputBiases: Self.inputBiases(table, layer), outputBias: table.entry(key.attentionOutputBias)?.offset)
    }
    output = table.offset(ParameterKey.finalNorm)
  }

  private static func inputBiases(_ table: ParameterTable, _ layer: Int) -> [(columns: Range<Int>, offset: Int)] {
    var end = 0
    return [ParameterRole.queryBias, .keyBias, .valueBias].compactMap { role in
      table.entry(role, layer: layer).map { entry in
        defer { end += entry.count }
        return (end..<end + entry.count, entry.offset)
      }
    }
  }
}
