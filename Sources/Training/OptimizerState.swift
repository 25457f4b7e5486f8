import Compute
import Transformer

/// Which rule moves the weights.
package enum OptimizerKind: String, Codable, CaseIterable, Sendable {
  /// AdamW for all of them.
  case adamW = "adamw"
  /// Muon for the matrices inside the layers; AdamW for embedding, output and norms, whose gradients are not those of a
  /// map from vectors to vectors.
  case muon
}

extension ParameterEntry {
  /// Whether this is a matrix that turns one vector inside a layer into another: attention's and feed-forward's
  /// projections. A router's is not, since its outputs are compared with each other.
  fileprivate var isProjection: Bool { shape.count == 2 && key.hasSuffix("_proj.weight") }
}

/// The optimizer over all weights of a model: its moments, and the step that uses them.
package final class OptimizerState {
  /// What is kept of the gradients of one weight: fp32, `shape` as the weight's. Valid while the state lives.
  package struct Moment {
    /// The weight's key with `.first_moment` or `.second_moment`.
    package let name: String
    package let shape: [Int]
    package let values: UnsafeMutableBufferPointer<Float>
  }

  /// A stretch of the block of weights with one decay. The cuts do not depend on the number of workers, so neither do
  /// the sums over them.
  private struct Piece {
    var offset: Int
    var count: Int
    var isDecayed: Bool
    /// Where its second moment begins in that block; nil for a piece of one of Muon's matrices, which has none.
    var secondOffset: Int?
  }
  private static let pieceCount = 1 << 16

  /// Those of all weights, first moments before second ones.
  package let moments: [Moment]
  private let firstMoment: UnsafeMutablePointer<Float>
  private let secondMoment: UnsafeMutablePointer<Float>
  private let firstBuffer: AlignedBuffer
  private let secondBuffer: AlignedBuffer
  private let pieces: [Piece]
  private let adamWPieces: [Piece]
  private let squares: AlignedBuffer
  /// Each worker's scratch for Muon and its share of the matrices; none with AdamW.
  private let muons: [Muon]
  private let matrices: [[ParameterEntry]]

  /// Moments of zero, as before the first step.
  ///
  /// - Parameters:
  ///   - precision: what Muon's products take.
  ///   - workers: the size of the teams that will step.
  package init(
    _ table: ParameterTable, _ kind: OptimizerKind, precision: ElementType, workers: Int
  ) throws(ComputeError) {
    let layout = Layout(table, kind)
    firstBuffer = try AlignedBuffer(byteCount: table.totalCount * 4)
    secondBuffer = try AlignedBuffer(byteCount: layout.secondCount * 4)
    let first = firstBuffer.base.bindMemory(to: Float.self, capacity: table.totalCount)
    let second = secondBuffer.base.bindMemory(to: Float.self, capacity: layout.secondCount)
    (firstMoment, secondMoment) = (first, second)
    moments =
      table.entries.map {
        Moment(
          name: $0.key + ".first_moment", shape: $0.shape,
          values: UnsafeMutableBufferPointer(start: first + $0.offset, count: $0.count))
      }
      + layout.secondOffsets.map { entry, offset in
        Moment(
          name: entry.key + ".second_moment", shape: entry.shape,
          values: UnsafeMutableBufferPointer(start: second + offset, count: entry.count))
      }
    let secondOffsets = Dictionary(uniqueKeysWithValues: layout.secondOffsets.map { ($0.entry.key, $0.offset) })
    var pieces: [Piece] = []
    for entry in table.entries {
      for offset in stride(from: 0, to: entry.count, by: Self.pieceCount) {
        pieces.append(
          Piece(
            offset: entry.offset + offset, count: min(Self.pieceCount, entry.count - offset),
            isDecayed: entry.isDecayed, secondOffset: secondOffsets[entry.key].map { $0 + offset }))
      }
    }
    self.pieces = pieces
    adamWPieces = pieces.filter { $0.secondOffset != nil }
    squares = try AlignedBuffer(byteCount: pieces.count * 8)
    matrices = layout.shares(workers: workers)
    var muons: [Muon] = []
    if !layout.matrices.isEmpty {
      for _ in 0..<workers { muons.append(try Muon(shapes: layout.shapes, type: precision)) }
    }
    self.muons = muons
  }

  /// Bytes that such a state takes.
  package static func byteCount(
    _ table: ParameterTable, _ kind: OptimizerKind, precision: ElementType, workers: Int
  ) -> Int {
    let layout = Layout(table, kind)
    let scratch = layout.matrices.isEmpty ? 0 : workers * Muon.byteCount(shapes: layout.shapes, type: precision)
    return (table.totalCount + layout.secondCount) * 4 + scratch
  }

  /// The Euclidean norm of a block laid out as the weights are; the same for any number of workers.
  package func norm(of values: UnsafePointer<Float>, team: WorkerTeam) -> Double {
    let squares = squares.base.bindMemory(to: Double.self, capacity: pieces.count)
    team.run { worker in
      for index in team.share(of: pieces.count, worker: worker) {
        squares[index] = sumOfSquares(values + pieces[index].offset, count: pieces[index].count)
      }
    }
    return (0..<pieces.count).reduce(0) { $0 + squares[$1] }.squareRoot()
  }

  /// Updates moments, weights, and the pass's working copy of the weights from the pass's gradients. Muon takes learning
  /// rate and decay from AdamW's numbers, too.
  package func step(_ pass: TrainingPass, _ settings: AdamWStep, team: WorkerTeam) {
    guard let gradients = pass.gradients else { preconditionFailure("a pass without gradients") }
    precondition(matrices.count == team.count, "\(team.count) workers in a state for \(matrices.count)")
    let weights = pass.parameters.values
    let muonSettings = MuonStep(
      learningRate: settings.learningRate, weightDecay: settings.weightDecay, gradientScale: settings.gradientScale)
    team.run { worker in
      for entry in matrices[worker] {
        muons[worker].step(
          weights: weights + entry.offset, gradients: gradients + entry.offset, momentum: firstMoment + entry.offset,
          workingCopy: pass.workingWeights.map { $0 + entry.offset }, rows: entry.shape[0], columns: entry.shape[1],
          settings: muonSettings, products: team.products[worker])
      }
      for piece in adamWPieces[team.share(of: adamWPieces.count, worker: worker)] {
        guard let secondOffset = piece.secondOffset else { continue }
        var settings = settings
        if !piece.isDecayed { settings.weightDecay = 0 }
        adamWStep(
          weights: weights + piece.offset, gradients: gradients + piece.offset,
          firstMoment: firstMoment + piece.offset, secondMoment: secondMoment + secondOffset,
          workingCopy: pass.workingWeights.map { $0 + piece.offset }, count: piece.count, settings: settings)
      }
    }
  }
}

/// Which weights Muon moves, and where the second moments of the others lie.
private struct Layout {
  let matrices: [ParameterEntry]
  /// Elements before an entry's second moment in the block of second moments.
  let secondOffsets: [(entry: ParameterEntry, offset: Int)]
  let secondCount: Int

  init(_ table: ParameterTable, _ kind: OptimizerKind) {
    func isMuons(_ entry: ParameterEntry) -> Bool { kind == .muon && entry.isProjection }
    matrices = table.entries.filter(isMuons)
    var end = 0
    secondOffsets = table.entries.filter { !isMuons($0) }.map { entry in
      defer { end += (entry.count + 15) / 16 * 16 }
      return (entry, end)
    }
    secondCount = end
  }

  var shapes: [(rows: Int, columns: Int)] { matrices.map { ($0.shape[0], $0.shape[1]) } }

  /// Each worker's matrices: the costliest first, each to the worker that has least to do. Whole matrices need no
  /// barriers, and give the same bits for any number of workers.
  func shares(workers: Int) -> [[ParameterEntry]] {
    var shares = [[ParameterEntry]](repeating: [], count: workers)
    var costs = [Int](repeating: 0, count: workers)
    func cost(_ entry: ParameterEntry) -> Int {
      Muon.operationCount(rows: entry.shape[0], columns: entry.shape[1])
    }
    for entry in matrices.sorted(by: { (cost($0), $1.offset) > (cost($1), $0.offset) }) {
      let worker = costs.indices.min { costs[$0] < costs[$1] }!
      shares[worker].append(entry)
      costs[worker] += cost(entry)
    }
    return shares
  }
}
