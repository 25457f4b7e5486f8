import CPUEngine
import Compute
import Machine
import Model
import Processes

/// The optimizer over the weights that belong to a rank: their moments, and the step that uses them. One process owns
/// all weights.
package final class OptimizerState {
  /// What is kept of the gradients of one weight.
  package struct Moment {
    /// The weight's key with `.first_moment` or `.second_moment`.
    package let name: String
    package let shape: [Int]
    /// fp32 values in order, each stretch with its owner. Valid while the state lives.
    package let stretches: [Stretch]
  }

  /// A stretch of the rank's weights and of their moments.
  private struct Piece {
    var range: Range<Int>
    var isDecayed: Bool
    var firstMoment: UnsafeMutablePointer<Float>
    /// Nil for a piece of one of Muon's matrices, which has none.
    var secondMoment: UnsafeMutablePointer<Float>?
  }

  /// Those of all weights, first moments before second ones; the values of this rank's alone are here.
  package let moments: [Moment]
  /// What each rank sums and moves, by units in which gradients are complete, and altogether.
  package var units: [RankParts] { partition.units }
  package var parts: RankParts { partition.parts }
  private let partition: OptimizerPartition
  private let rank: Int
  private let buffer: AlignedBuffer
  private let pieces: [Piece]
  private let adamWPieces: [Piece]
  private let squares: AlignedBuffer
  /// Each worker's scratch for Muon and its share of the rank's matrices, with their momentum; none with AdamW.
  private let muons: [Muon]
  private let matrices: [[(entry: ParameterEntry, momentum: UnsafeMutablePointer<Float>)]]

  /// Moments of zero, as before the first step.
  ///
  /// - Parameters:
  ///   - precision: what Muon's products take.
  ///   - workers: the size of the teams that will step.
  ///   - byLayer: whether the pass completes the gradients of one layer after the other.
  package init(
    _ table: ParameterTable, _ kind: OptimizerKind, precision: ElementType, workers: Int, rank: Int = 0,
    ranks: Int = 1, byLayer: Bool = true
  ) throws(OutOfMemoryError) {
    let partition = OptimizerPartition(table, kind, ranks: ranks, byLayer: byLayer)
    self.partition = partition
    self.rank = rank
    // Each stretch at a multiple of 64 bytes.
    func room(_ count: Int) -> Int { (count + 15) / 16 * 16 }
    let momentCount = partition.pieces.reduce(0) {
      $0 + ($1.owner == rank ? room($1.range.count) * ($1.isAdamWs ? 2 : 1) : 0)
    }
    buffer = try AlignedBuffer(byteCount: max(1, momentCount) * 4)
    var free = buffer.base.bindMemory(to: Float.self, capacity: momentCount)
    func take(_ count: Int) -> UnsafeMutablePointer<Float> {
      defer { free += room(count) }
      return free
    }
    var first: [UnsafeMutablePointer<Float>?] = []
    for piece in partition.pieces { first.append(piece.owner == rank ? take(piece.range.count) : nil) }
    var second: [UnsafeMutablePointer<Float>?] = []
    for piece in partition.pieces {
      second.append(piece.owner == rank && piece.isAdamWs ? take(piece.range.count) : nil)
    }
    let places = partition.pieces.indices
    pieces = places.compactMap { place in
      let piece = partition.pieces[place]
      return first[place].map {
        Piece(range: piece.range, isDecayed: piece.isDecayed, firstMoment: $0, secondMoment: second[place])
      }
    }
    adamWPieces = pieces.filter { $0.secondMoment != nil }
    func moments(_ suffix: String, _ values: [UnsafeMutablePointer<Float>?], _ isKept: (ParameterEntry) -> Bool)
      -> [Moment]
    {
      var place = 0
      return table.entries.compactMap { entry in
        var stretches: [Stretch] = []
        while place < partition.pieces.count, partition.pieces[place].range.lowerBound < entry.range.upperBound {
          let piece = partition.pieces[place]
          stretches.append(Stretch(rank: piece.owner, count: piece.range.count, values: values[place]))
          place += 1
        }
        return isKept(entry) ? Moment(name: entry.key + suffix, shape: entry.shape, stretches: stretches) : nil
      }
    }
    self.moments =
      moments(".first_moment", first) { _ in true } + moments(".second_moment", second) { !$0.isMovedByMuon(kind) }
    squares = try AlignedBuffer(byteCount: partition.pieces.count * 8)
    let mine = partition.matrices[rank]
    // A matrix's pieces are neighbours, and all but the last a multiple of 16 long: its momentum has no gaps.
    let starts = Dictionary(uniqueKeysWithValues: pieces.map { ($0.range.lowerBound, $0.firstMoment) })
    matrices = balanced(mine, over: workers).map { $0.map { ($0, starts[$0.offset]!) } }
    var muons: [Muon] = []
    if !mine.isEmpty {
      let shapes = mine.map { (rows: $0.shape[0], columns: $0.shape[1]) }
      for _ in 0..<workers { muons.append(try Muon(shapes: shapes, type: precision)) }
    }
    self.muons = muons
  }

  /// Bytes that such a state takes in a rank.
  package static func byteCount(
    _ table: ParameterTable, _ kind: OptimizerKind, precision: ElementType, workers: Int, rank: Int = 0, ranks: Int = 1
  ) -> Int {
    let partition = OptimizerPartition(table, kind, ranks: ranks, byLayer: true)
    let shapes = partition.matrices[rank].map { (rows: $0.shape[0], columns: $0.shape[1]) }
    let scratch = shapes.isEmpty ? 0 : workers * Muon.byteCount(shapes: shapes, type: precision)
    return partition.momentCount(rank: rank) * 4 + scratch
  }

  /// Bytes of the moments that this rank keeps.
  package var momentBytes: Int { partition.momentCount(rank: rank) * 4 }

  /// The Euclidean norm of a block laid out as the weights are; the same for any number of workers.
  package func norm(of values: UnsafePointer<Float>, team: WorkerTeam) -> Double {
    sumSquares(of: values, team: team) { _ in true }
    return (0..<partition.pieces.count).reduce(0) { $0 + squarePointer[$1] }.squareRoot()
  }

  /// The same of a block of which each rank has its own part only; the same for any number of ranks, too.
  package func norm(ofParts values: UnsafePointer<Float>, team: WorkerTeam, _ exchange: ProcessExchange) -> Double {
    guard !exchange.isAlone else { return norm(of: values, team: team) }
    sumSquares(of: values, team: team) { $0.owner == rank }
    let own = (0..<partition.pieces.count).map { partition.pieces[$0].owner == rank ? squarePointer[$0] : 0 }
    return exchange.sum(own).reduce(0, +).squareRoot()
  }

  private var squarePointer: UnsafeMutablePointer<Double> {
    squares.base.bindMemory(to: Double.self, capacity: partition.pieces.count)
  }

  private func sumSquares(
    of values: UnsafePointer<Float>, team: WorkerTeam, where isWanted: (OptimizerPartition.Piece) -> Bool
  ) {
    let pieces = partition.pieces
    team.run { worker in
      for index in team.share(of: pieces.count, worker: worker) where isWanted(pieces[index]) {
        squarePointer[index] = sumOfSquares(values + pieces[index].range.lowerBound, count: pieces[index].range.count)
      }
    }
  }

  /// Updates the rank's moments and weights, and the pass's working copy of these, from the pass's gradients. Muon takes
  /// learning rate and decay from AdamW's numbers, too.
  package func step(_ pass: TrainingPass, _ settings: AdamWStep, team: WorkerTeam) {
    guard let gradients = pass.gradients else { preconditionFailure("a pass without gradients") }
    precondition(matrices.count == team.count, "\(team.count) workers in a state for \(matrices.count)")
    let weights = pass.parameters.values
    let muonSettings = MuonStep(
      learningRate: settings.learningRate, weightDecay: settings.weightDecay, gradientScale: settings.gradientScale)
    team.run { worker in
      for (entry, momentum) in matrices[worker] {
        muons[worker].step(
          weights: weights + entry.offset, gradients: gradients + entry.offset, momentum: momentum,
          workingCopy: pass.workingWeights.map { $0 + entry.offset }, rows: entry.shape[0], columns: entry.shape[1],
          settings: muonSettings, products: team.products[worker])
      }
      for piece in adamWPieces[team.share(of: adamWPieces.count, worker: worker)] {
        guard let secondMoment = piece.secondMoment else { continue }
        var settings = settings
        if !piece.isDecayed { settings.weightDecay = 0 }
        let offset = piece.range.lowerBound
        adamWStep(
          weights: weights + offset, gradients: gradients + offset, firstMoment: piece.firstMoment,
          secondMoment: secondMoment, workingCopy: pass.workingWeights.map { $0 + offset }, count: piece.range.count,
          settings: settings)
      }
    }
  }
}
