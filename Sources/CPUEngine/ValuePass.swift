import Compute

/// The values of the rows of one batch that have a loss, and their gradients, for the time of one pass.
///
/// - Unchecked Sendable: each worker writes the rows that are its own, and its own sum; nothing is read elsewhere until all have met.
final class ValuePass: @unchecked Sendable {
  private let width: Int
  private let workers: Int
  /// [width]
  private let head: UnsafeMutablePointer<Float>
  /// [rows] of which the first `lossCount` belong to the batch.
  private let values, weights: UnsafeMutablePointer<Float>
  /// [workers, width]
  private let dHead: UnsafeMutablePointer<Float>

  /// - Parameters:
  ///   - valueHead: [width].
  ///   - rows: the most of a batch.
  init(_ valueHead: [Float], rows: Int, workers: Int) {
    (width, self.workers) = (valueHead.count, workers)
    func zeros(_ count: Int) -> UnsafeMutablePointer<Float> {
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      pointer.initialize(repeating: 0, count: count)
      return pointer
    }
    (head, values, weights, dHead) = (zeros(width), zeros(rows), zeros(rows), zeros(workers * width))
    for (index, value) in valueHead.enumerated() { head[index] = value }
  }

  deinit { for pointer in [head, values, weights, dHead] { pointer.deallocate() } }

  /// - Parameter first: the number of the first of the rows among those that have a loss.
  func forward(_ rows: MatrixView, first: Int) { valueForward(rows: rows, head: head, values: values + first) }

  func backward(_ worker: Int, _ rows: MatrixView, first: Int, dRows: MatrixView) {
    valueBackward(rows: rows, head: head, weights: weights + first, dRows: dRows, dHead: dHead + worker * width)
  }

  /// [tokens] of the batch that a pass is working on.
  func values(of batch: PassBatch) -> [Float] { batch.byToken(values) }

  /// - Parameter tokens: [tokens] how much the value of each counts.
  func setWeights(_ tokens: [Float], of batch: PassBatch) { batch.copy(tokens, toRows: weights) }

  /// [width] the sum over all workers, in their order.
  var headGradient: [Float] {
    (0..<width).map { column in (0..<workers).reduce(0) { $0 + dHead[$1 * width + column] } }
  }
}
