import Compute
import Machine
import Model

/// The optimizer over the weights that belong to a rank: their moments, and the step that uses them. One process owns
/// all weights.
package final class Optimizer {
  /// A stretch of the rank's weights and of their moments.
  private struct Piece {
    var range: Range<Int>
    var isDecayed: Bool
    var firstMoment: UnsafeMutablePointer<Float>
    /// Nil for a piece of one of Muon's matrices, which has none.
    var secondMoment: UnsafeMutablePointer<Float>?
  }

  /// What each rank sums and moves, by units in which gradients are complete, and altogether.
  package var units: [[[Range<Int>]]] { partition.units }
  package var parts: [[Range<Int>]] { partition.parts }
  private let partition: OptimizerPartition
  private let rank: Int
  private let buffer: AlignedBuffer
  private let kind: OptimizerKind
  /// By the pieces of the partition: nil for those of other ranks, and second moments of Muon's matrices.
  private let firstMoments, secondMoments: [UnsafeMutablePointer<Float>?]
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
    self.kind = kind
    // Each stretch at a multiple of 64 bytes.
    func room(_ count: Int) -> Int { (count + 15) / 16 * 16 }
    let momentCount = partition.pieces.reduce(0) {
      $0 + ($1.owner == rank ? room($1.range.count) * ($1.isMovedByAdamW ? 2 : 1) : 0)
    }
    buffer = try AlignedBuffer(byteCount: max(1, momentCount) * 4)
    var free = buffer.base.bindMemory(to: Float.self, capacity: momentCount)
    func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
      defer { free += room(count) }
      return free
    }
    var first: [UnsafeMutablePointer<Float>?] = []
    for piece in partition.pieces { first.append(piece.owner == rank ? allocate(piece.range.count) : nil) }
    var second: [UnsafeMutablePointer<Float>?] = []
    for piece in partition.pieces {
      second.append(piece.owner == rank && piece.isMovedByAdamW ? allocate(piece.range.count) : nil)
    }
    let places = partition.pieces.indices
    pieces = places.compactMap { place in
      let piece = partition.pieces[place]
      return first[place].map {
        Piece(range: piece.range, isDecayed: piece.isDecayed, firstMoment: $0, secondMoment: second[place])
      }
    }
    adamWPieces = pieces.filter { $0.secondMoment != nil }
    (firstMoments, secondMoments) = (first, second)
    squares = try AlignedBuffer(byteCount: partition.pieces.count * 8)
    let mine = partition.matrices[rank]
    // A matrix's pieces are neighbours, and all except the last a multiple of 16 long, so its momentum has no gaps.
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

  /// [pieces] Σ square of a block laid out as the weights are, of the pieces of this rank; 0 for those of others.
  package func squares(ofParts values: UnsafePointer<Float>, team: WorkerTeam) -> [Double] {
    sumSquares(of: values, team: team) { $0.owner == rank }
    return (0..<partition.pieces.count).map { partition.pieces[$0].owner == rank ? squarePointer[$0] : 0 }
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

  // MARK: - Moments

  /// Whether there is such a moment of a weight.
  package func keeps(_ values: EngineValues, of entry: ParameterEntry) -> Bool {
    values == .firstMoment || values == .secondMoment && !entry.isMovedByMuon(kind)
  }

  /// Calls `body` for each piece of a weight that this rank has moments of: where it begins in the weight, its length, and
  /// the moments.
  private func forEachPiece(
    _ values: EngineValues, of entry: ParameterEntry, _ body: (Int, Int, UnsafeMutablePointer<Float>) -> Void
  ) {
    let moments = values == .firstMoment ? firstMoments : secondMoments
    for (piece, moment) in zip(partition.pieces, moments) where entry.range.contains(piece.range.lowerBound) {
      if let moment { body(piece.range.lowerBound - entry.offset, piece.range.count, moment) }
    }
  }

  /// [entry.count] moments of a weight; 0 where they are another rank's.
  package func read(_ values: EngineValues, of entry: ParameterEntry) -> [Float] {
    var result = [Float](repeating: 0, count: entry.count)
    result.withUnsafeMutableBufferPointer { target in
      forEachPiece(values, of: entry) { start, count, moment in
        (target.baseAddress! + start).update(from: moment, count: count)
      }
    }
    return result
  }

  /// Sets the moments of a weight that are this rank's.
  ///
  /// - Parameter numbers: [entry.count].
  package func write(_ values: EngineValues, of entry: ParameterEntry, _ numbers: [Float]) {
    precondition(numbers.count == entry.count, "\(numbers.count) moments for \(entry.key)")
    numbers.withUnsafeBufferPointer { source in
      forEachPiece(values, of: entry) { start, count, moment in
        moment.update(from: source.baseAddress! + start, count: count)
      }
    }
  }

  /// Which rank has which moments of a weight, in order.
  package func owners(of entry: ParameterEntry) -> [(rank: Int, count: Int)] {
    partition.pieces.filter { entry.range.contains($0.range.lowerBound) }.map { ($0.owner, $0.range.count) }
  }

  // MARK: - A step

  /// Updates the rank's moments and weights, and the pass's working copy of these, from the pass's gradients.
  package func step(_ pass: TrainingPass, _ step: OptimizerStep, team: WorkerTeam) {
    guard let gradients = pass.gradients else { preconditionFailure("a pass without gradients") }
    precondition(matrices.count == team.count, "\(team.count) workers in an optimizer for \(matrices.count)")
    let weights = pass.parameters.values
    let adamW = AdamWStep(
      learningRate: Float(step.adamW.learningRate), beta1: Float(step.adamW.beta1), beta2: Float(step.adamW.beta2),
      epsilon: Float(step.adamW.epsilon), weightDecay: Float(step.adamW.weightDecay),
      gradientScale: Float(step.gradientScale), step: step.number)
    let muon = MuonStep(
      learningRate: Float(step.muon.learningRate), weightDecay: Float(step.muon.weightDecay),
      gradientScale: Float(step.gradientScale))
    team.run { worker in
      for (entry, momentum) in matrices[worker] {
        muons[worker].step(
          weights: weights + entry.offset, gradients: gradients + entry.offset, momentum: momentum,
          workingCopy: pass.workingWeights.map { $0 + entry.offset }, rows: entry.shape[0], columns: entry.shape[1],
          settings: muon, products: team.products[worker])
      }
      for piece in adamWPieces[team.share(of: adamWPieces.count, worker: worker)] {
        guard let secondMoment = piece.secondMoment else { continue }
        var settings = adamW
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
