import Model

/// How a mixture of experts uses its experts, and the loss that keeps their use even.
///
/// The balance of a document (`expertBalance`) counts as much as the document's tokens do in the loss: over an optimizer
/// step, the sum of balances weighted by documents is divided by the same Σ loss weight as the sum of the tokens' losses.
/// So however a step is cut into micro-batches, it minimises
///
///     mean loss + α · Σ over layers of (mean balance over documents, each weighted by its trained tokens)
///
/// which for documents of equal length is MiniMind v1's mean over sequences.
package final class ExpertUse {
  private let layerCount: Int
  private let expertCount: Int
  private let workers: Int
  private let balanceLossWeight: Double
  /// For each worker, the sums of the current batch: the weighted balances, and choices by layer and expert.
  private let batch: UnsafeMutablePointer<Double>
  private let stride: Int
  /// The sums since `reset`, in the same order.
  private let total: UnsafeMutablePointer<Double>
  /// Σ weight of the documents since `reset`.
  private var documentWeight = 0.0
  private let shareNames: [[String]]

  init(_ shape: ModelConfiguration, workers: Int) {
    layerCount = shape.layerCount
    expertCount = shape.expertCount
    self.workers = workers
    balanceLossWeight = shape.balanceLossWeight
    shareNames = (0..<shape.layerCount).map { layer in
      (0..<shape.expertCount).map { "\(ExpertSums.sharePrefix)\(layer)/\($0)" }
    }
    // Whole cache lines for each worker.
    stride = (1 + layerCount * expertCount + 7) / 8 * 8
    batch = .allocate(capacity: workers * stride)
    batch.initialize(repeating: 0, count: workers * stride)
    total = .allocate(capacity: stride)
    total.initialize(repeating: 0, count: stride)
  }

  deinit {
    batch.deallocate()
    total.deallocate()
  }

  func reset() {
    total.update(repeating: 0, count: stride)
    documentWeight = 0
  }

  // MARK: - What a worker does with a batch

  func begin(_ worker: Int) { (batch + worker * stride).update(repeating: 0, count: stride) }

  func add(balance: Double, _ worker: Int) { batch[worker * stride] += balance }

  /// [experts] where a worker counts choices.
  func choices(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Double> {
    batch + worker * stride + 1 + layer * expertCount
  }

  /// Adds the batch to the sums, workers in order.
  ///
  /// - Parameter weight: Σ weight of its documents.
  func addBatch(weight: Double) {
    documentWeight += weight
    for worker in 0..<workers {
      for index in 0..<stride { total[index] += batch[worker * stride + index] }
    }
  }

  // MARK: - What came out

  /// `ExpertSums`: the balance loss with the weight of the documents, and each expert's choices with those of its layer.
  package var sums: MetricSums {
    var sums = MetricSums([ExpertSums.balance] + shareNames.joined())
    var numbers = [balanceLossWeight * balance, documentWeight]
    for layer in 0..<layerCount {
      let counts = (0..<expertCount).map { total[1 + layer * expertCount + $0] }
      let all = counts.reduce(0, +)
      numbers += counts.flatMap { [$0, all] }
    }
    sums.numbers = numbers
    return sums
  }

  /// Σ over documents and layers of balance · Σ loss weight of the document, since the gradients were last zeroed.
  package var balance: Double { total[0] }

  /// For each layer, the share of all choices that each expert had: 1 together; all 0 before anything was chosen.
  package var shares: [[Double]] {
    (0..<layerCount).map { layer in
      let counts = (0..<expertCount).map { total[1 + layer * expertCount + $0] }
      let sum = counts.reduce(0, +)
      return counts.map { sum > 0 ? $0 / sum : 0 }
    }
  }
}
