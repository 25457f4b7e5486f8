import Compute
import Transformer

/// AdamW over all weights of a model: its two moments, and the step that uses them.
package final class OptimizerState {
  /// A stretch of the block of weights with one decay. The cuts do not depend on the number of workers, so neither do
  /// the sums over them.
  private struct Piece {
    var offset: Int
    var count: Int
    var isDecayed: Bool
  }
  private static let pieceCount = 1 << 16

  package let table: ParameterTable
  /// Means of the gradient and of its square, fp32, laid out as the weights are. Valid while this object lives.
  package let firstMoment: UnsafeMutablePointer<Float>
  package let secondMoment: UnsafeMutablePointer<Float>
  private let firstBuffer: AlignedBuffer
  private let secondBuffer: AlignedBuffer
  private let pieces: [Piece]
  private let squares: AlignedBuffer

  /// Moments of zero, as before the first step.
  package init(_ table: ParameterTable) throws(ComputeError) {
    self.table = table
    firstBuffer = try AlignedBuffer(byteCount: table.totalCount * 4)
    secondBuffer = try AlignedBuffer(byteCount: table.totalCount * 4)
    firstMoment = firstBuffer.base.bindMemory(to: Float.self, capacity: table.totalCount)
    secondMoment = secondBuffer.base.bindMemory(to: Float.self, capacity: table.totalCount)
    var pieces: [Piece] = []
    for entry in table.entries {
      for offset in stride(from: 0, to: entry.count, by: Self.pieceCount) {
        pieces.append(
          Piece(
            offset: entry.offset + offset, count: min(Self.pieceCount, entry.count - offset),
            isDecayed: entry.isDecayed))
      }
    }
    self.pieces = pieces
    squares = try AlignedBuffer(byteCount: pieces.count * 8)
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

  /// Updates moments, weights, and the pass's working copy of the weights from the pass's gradients.
  package func step(_ pass: TrainingPass, _ settings: AdamWStep, team: WorkerTeam) {
    guard let gradients = pass.gradients else { preconditionFailure("a pass without gradients") }
    team.run { worker in
      for piece in pieces[team.share(of: pieces.count, worker: worker)] {
        var settings = settings
        if !piece.isDecayed { settings.weightDecay = 0 }
        adamWStep(
          weights: pass.parameters.values + piece.offset, gradients: gradients + piece.offset,
          firstMoment: firstMoment + piece.offset, secondMoment: secondMoment + piece.offset,
          workingCopy: pass.workingWeights.map { $0 + piece.offset }, count: piece.count, settings: settings)
      }
    }
  }
}
