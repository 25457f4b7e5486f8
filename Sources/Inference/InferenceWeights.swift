import Compute
import ModelFiles
import Transformer

/// The weights of a model as inference reads them: matrices in one block of either type, norms in fp32.
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
  let outputNorm: UnsafePointer<Float>
  private let block: AlignedBuffer
  private let norms: AlignedBuffer

  /// - Parameter read: writes the fp32 values of a weight to an address.
  /// - Throws: `ComputeError.outOfMemory`, and what `read` throws.
  init(
    _ configuration: ModelConfiguration, _ table: ParameterTable, type: ElementType,
    read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    block = try AlignedBuffer(byteCount: table.totalCount * type.byteCount)
    views = WeightViews(block.base, type, table, configuration)
    let vectors = table.entries.filter { !$0.isDecayed }
    norms = try AlignedBuffer(byteCount: vectors.reduce(0) { $0 + $1.count } * 4)
    var places: [String: UnsafePointer<Float>] = [:]
    var end = norms.base.assumingMemoryBound(to: Float.self)
    let matrices = table.entries.filter(\.isDecayed)
    let room = try AlignedBuffer(byteCount: matrices.map(\.count).max()! * 4)
    for entry in matrices {
      let values = room.base.assumingMemoryBound(to: Float.self)
      try read(entry, values)
      let target = block.base + entry.offset * type.byteCount
      convert(
        MatrixView(values, rows: 1, columns: entry.count),
        to: MatrixView(target, rows: 1, columns: entry.count, type: type))
    }
    for entry in vectors {
      try read(entry, end)
      places[entry.key] = UnsafePointer(end)
      end += entry.count
    }
    layerNorms = (0..<configuration.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      return LayerNorms(
        attention: places[key.attentionNorm]!, feedForward: places[key.feedForwardNorm]!, query: places[key.queryNorm],
        key: places[key.keyNorm])
    }
    outputNorm = places[ParameterKey.finalNorm]!
  }
}
