import Compute
import ModelFiles
import Transformer

/// The weights of a model as inference reads them: matrices in one block of either type, norms and routers in fp32.
final class InferenceWeights {
  struct LayerNorms {
    let attention: UnsafePointer<Float>
    let feedForward: UnsafePointer<Float>
    /// Over each head of the queries and of the keys; nil without q/k normalisation.
    let query: UnsafePointer<Float>?
    let key: UnsafePointer<Float>?
  }

  let views: WeightViews
  let layerNorms: [LayerNorms]
  /// [experts, n] of each layer; none for a dense model.
  let routers: [MatrixView]
  let outputNorm: UnsafePointer<Float>
  private let block: AlignedBuffer
  private let float32Block: AlignedBuffer

  /// - Parameter read: writes the fp32 values of a weight to an address.
  /// - Throws: `ComputeError.outOfMemory`, and what `read` throws.
  init(
    _ configuration: ModelConfiguration, _ table: ParameterTable, type: ElementType,
    read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    block = try AlignedBuffer(byteCount: table.totalCount * type.byteCount)
    views = WeightViews(block.base, type, table, configuration)
    func staysFloat32(_ entry: ParameterEntry) -> Bool { entry.isRouter || !entry.isDecayed }
    let float32Weights = table.entries.filter(staysFloat32)
    float32Block = try AlignedBuffer(byteCount: float32Weights.reduce(0) { $0 + $1.count } * 4)
    var places: [String: UnsafeMutablePointer<Float>] = [:]
    var end = float32Block.base.assumingMemoryBound(to: Float.self)
    let matrices = table.entries.filter { !staysFloat32($0) }
    let room = try AlignedBuffer(byteCount: matrices.map(\.count).max()! * 4)
    for entry in matrices {
      let values = room.base.assumingMemoryBound(to: Float.self)
      try read(entry, values)
      let target = block.base + entry.offset * type.byteCount
      convert(
        MatrixView(values, rows: 1, columns: entry.count),
        to: MatrixView(target, rows: 1, columns: entry.count, type: type))
    }
    for entry in float32Weights {
      try read(entry, end)
      places[entry.key] = end
      end += entry.count
    }
    layerNorms = (0..<configuration.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return LayerNorms(
        attention: UnsafePointer(places[key.attentionNorm]!), feedForward: UnsafePointer(places[key.feedForwardNorm]!),
        query: places[key.queryNorm].map { UnsafePointer($0) }, key: places[key.keyNorm].map { UnsafePointer($0) })
    }
    routers = (0..<(configuration.isMixture ? configuration.layerCount : 0)).map { layer in
      MatrixView(
        places[ParameterKey.Layer(layer).router]!, rows: configuration.expertCount, columns: configuration.hiddenSize)
    }
    outputNorm = UnsafePointer(places[ParameterKey.finalNorm]!)
  }
}
