import Compute
import Machine
import Model

/// The weights of a model as inference reads them: matrices packed in one of the types, norms, biases and
/// routers in fp32.
package final class InferenceWeights {
  struct Layer {
    let attentionNorm: UnsafePointer<Float>
    let feedForwardNorm: UnsafePointer<Float>
    /// Over each head of the queries and of the keys; nil without q/k normalisation.
    let queryNorm: UnsafePointer<Float>?
    let keyNorm: UnsafePointer<Float>?
    /// [query + 2·keyValue, n] queries, keys and values in one.
    let queriesKeysValues: WeightMatrix
    /// [n, query]
    let attentionOutput: WeightMatrix
    /// [query + 2·keyValue] and [n] what is added to these products; nil in a model without biases.
    let queriesKeysValuesBias: UnsafePointer<Float>?
    let attentionOutputBias: UnsafePointer<Float>?
    /// The block that every token passes; nil in a mixture without shared experts.
    let feedForward: FeedForward?
    /// [experts, n] of a mixture.
    let router: MatrixView?
    /// The routed experts of a mixture.
    let experts: [FeedForward]
  }

  /// The matrices of a SwiGLU block of width m.
  struct FeedForward {
    /// [m, n]
    let gate: WeightMatrix
    let up: WeightMatrix
    /// [n, m]
    let down: WeightMatrix
  }

  package let configuration: ModelConfiguration
  package let type: WeightType
  /// [vocabulary, n]
  let embedding: WeightMatrix
  /// [vocabulary, n] the matrix that makes logits: the embedding itself when the two are tied.
  let output: WeightMatrix
  let outputNorm: UnsafePointer<Float>
  let layers: [Layer]
  private let matrices: AlignedBuffer
  private let vectors: AlignedBuffer

  /// - Parameters:
  ///   - team: shares the work of packing.
  ///   - hasRows: whether `read` can be asked for some rows of a weight; then no whole matrix is in memory in fp32.
  ///   - read: writes the fp32 values of rows of a weight to an address.
  /// - Throws: `OutOfMemoryError`, and what `read` throws.
  package init(
    _ configuration: ModelConfiguration, _ table: ParameterTable, type: WeightType, team: WorkerTeam,
    hasRows: (ParameterEntry) -> Bool = { _ in false },
    read: (ParameterEntry, _ rows: Range<Int>, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    self.configuration = configuration
    self.type = type
    // What sees is a picture encoder's.
    var layout = try Layout(table.withoutSight, type)
    let hidden = configuration.hiddenSize
    embedding = layout.matrix(ParameterKey.embedding)
    output = configuration.tiesEmbeddings ? embedding : layout.matrix(ParameterKey.output)
    outputNorm = layout.vector(ParameterKey.finalNorm)
    layers = (0..<configuration.layerCount).map { layer in
      let key = ParameterKey.Layer(layer)
      func feedForward(_ keys: ParameterKey.FeedForward) -> FeedForward {
        FeedForward(gate: layout.matrix(keys.gate), up: layout.matrix(keys.up), down: layout.matrix(keys.down))
      }
      let normalizesHeads = configuration.normalizesQueriesAndKeys
      return Layer(
        attentionNorm: layout.vector(key.attentionNorm), feedForwardNorm: layout.vector(key.feedForwardNorm),
        queryNorm: normalizesHeads ? layout.vector(key.queryNorm) : nil,
        keyNorm: normalizesHeads ? layout.vector(key.keyNorm) : nil,
        queriesKeysValues: layout.matrix(key.query, key.key, key.value),
        attentionOutput: layout.matrix(key.attentionOutput),
        queriesKeysValuesBias: configuration.attentionBias.isOnInputs
          ? layout.vector(key.queryBias, key.keyBias, key.valueBias) : nil,
        attentionOutputBias: configuration.attentionBias.isOnOutput ? layout.vector(key.attentionOutputBias) : nil,
        feedForward: configuration.sharedIntermediateSize > 0 ? feedForward(key.feedForward(configuration)) : nil,
        router: configuration.isMixture
          ? MatrixView(
            UnsafeMutablePointer(mutating: layout.vector(key.router)), rows: configuration.expertCount,
            columns: hidden) : nil,
        experts: (0..<configuration.expertCount).map { feedForward(key.expert($0)) })
    }
    matrices = layout.matrices
    vectors = layout.vectors
    try layout.fill(team, hasRows, read)
  }

  /// Where each weight lies, and how it comes there.
  private struct Layout {
    let matrices: AlignedBuffer
    let vectors: AlignedBuffer
    private let table: ParameterTable
    private let type: WeightType
    private var matrixEnd = 0
    private var vectorEnd = 0
    private var packed: [(matrix: WeightMatrix, entries: [ParameterEntry])] = []
    private var plain: [(values: UnsafeMutablePointer<Float>, entry: ParameterEntry)] = []

    init(_ table: ParameterTable, _ type: WeightType) throws(OutOfMemoryError) {
      self.table = table
      self.type = type
      matrices = try AlignedBuffer(byteCount: Self.matrixBytes(table, type))
      vectors = try AlignedBuffer(byteCount: Self.vectorBytes(table))
    }

    private static func matrixBytes(_ table: ParameterTable, _ type: WeightType) -> Int {
      table.entries.filter { !$0.role.keptInFloat32 }.reduce(0) {
        $0 + WeightMatrix.byteCount(rows: $1.shape[0], columns: $1.shape[1], type: type)
      }
    }

    private static func vectorBytes(_ table: ParameterTable) -> Int {
      table.entries.filter(\.role.keptInFloat32).reduce(0) { $0 + ($1.count * 4 + 63) / 64 * 64 }
    }

    private func entry(_ key: String) -> ParameterEntry {
      guard let entry = table.entry(key) else { preconditionFailure("the model has no weight named \(key)") }
      return entry
    }

    /// A place for a matrix, of several weights one below the other.
    mutating func matrix(_ keys: String...) -> WeightMatrix {
      let entries = keys.map(entry)
      let matrix = WeightMatrix(
        matrices.base + matrixEnd, rows: entries.reduce(0) { $0 + $1.shape[0] }, columns: entries[0].shape[1],
        type: type)
      matrixEnd += matrix.byteCount
      packed.append((matrix, entries))
      return matrix
    }

    /// A place for numbers that stay as they are, of several weights one after the other.
    mutating func vector(_ keys: String...) -> UnsafePointer<Float> {
      let first = (vectors.base + vectorEnd).assumingMemoryBound(to: Float.self)
      var count = 0
      for entry in keys.map(entry) {
        plain.append((first + count, entry))
        count += entry.count
      }
      vectorEnd += (count * 4 + 63) / 64 * 64
      return UnsafePointer(first)
    }

    /// Most values in fp32 at once of a matrix whose rows can be read apart.
    private static let blockValues = 1 << 20

    /// Reads all weights, a block of rows or a matrix at a time.
    func fill(
      _ team: WorkerTeam, _ hasRows: (ParameterEntry) -> Bool,
      _ read: (ParameterEntry, _ rows: Range<Int>, UnsafeMutablePointer<Float>) throws -> Void
    ) throws {
      for (values, entry) in plain { try read(entry, 0..<entry.shape[0], values) }
      let blockRows = packed.map { matrix, entries in
        guard entries.allSatisfy(hasRows) else { return matrix.rows }
        return min(matrix.rows, max(1, Self.blockValues / matrix.columns).roundedUp(to: WeightType.tileRows))
      }
      let room = try AlignedBuffer(byteCount: zip(packed, blockRows).map { $0.matrix.columns * $1 }.max()! * 4)
      let values = room.base.assumingMemoryBound(to: Float.self)
      for ((matrix, entries), blockRows) in zip(packed, blockRows) {
        for first in stride(from: 0, to: matrix.rows, by: blockRows) {
          let block = first..<min(first + blockRows, matrix.rows)
          var entryStart = 0
          for entry in entries {
            let rows = block.clamped(to: entryStart..<entryStart + entry.shape[0])
            if !rows.isEmpty {
              try read(
                entry, rows.lowerBound - entryStart..<rows.upperBound - entryStart,
                values + (rows.lowerBound - first) * matrix.columns)
            }
            entryStart += entry.shape[0]
          }
          let source = MatrixView(values, rows: block.count, columns: matrix.columns)
          team.run { worker in
            let rows = team.share(of: block.count, worker: worker, multiple: WeightType.tileRows)
            if !rows.isEmpty { matrix.store(source.rows(rows), at: first + rows.lowerBound) }
          }
        }
      }
    }
  }
}
