import Compute
import Transformer

/// The weights of a model as inference reads them.
final class InferenceWeights {
  struct LayerNorms {
    let attention: UnsafePointer<Float>
    let feedForward: UnsafePointer<Float>
    /// Over each head of the queries and of the keys; nil without q/k normalisation.
    let query: UnsafePointer<Float>?
    let key: UnsafePointer<Float>?
  }

  let layerNorms: [LayerNorms]
  let outputNorm: UnsafePointer<Float>
  private let frozen: FrozenWeights

  var views: WeightViews { frozen.views }
  /// [experts, n] of each layer; none for a dense model.
  var routers: [MatrixView] { frozen.routers }

  init(_ frozen: FrozenWeights) {
    self.frozen = frozen
    let table = frozen.exactTable
    func norm(_ key: String) -> UnsafePointer<Float> { frozen.exactValues + table.offset(key) }
    func headNorm(_ key: String) -> UnsafePointer<Float>? { table.entry(key).map { frozen.exactValues + $0.offset } }
    layerNorms = (0..<frozen.configuration.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return LayerNorms(
        attention: norm(key.attentionNorm), feedForward: norm(key.feedForwardNorm), query: headNorm(key.queryNorm),
        key: headNorm(key.keyNorm))
    }
    outputNorm = norm(ParameterKey.finalNorm)
  }
}
