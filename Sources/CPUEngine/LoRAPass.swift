import Compute
import Machine
import Model

/// What a pass needs for an adapter: its weights and gradients as matrices, and places for what lies between A and B.
///
/// Every worker sums the gradients of its own rows into a copy of its own. An adapter is small: unlike those of a whole
/// model (see `TrainingPass`), the copies cost little, and no worker has to wait for the others' rows.
final class LoRAPass {
  let scale: Float
  let weights: LoRAViews
  /// By worker.
  let gradients: [LoRAViews]
  private let configuration: LoRAConfiguration
  private let seed: UInt64
  private let plan: Plan
  private let arena: AlignedBuffer
  private let gradientBuffer: AlignedBuffer
  private let gradientCount: Int

  /// Where the current batch stands in the run; nil while nothing is dropped.
  var dropoutOrigin: Int?

  /// The layout of the adapters' activations. T = rows.
  private struct Plan {
    /// [T, adapters · rank] scale · dropout(x)·Aᵀ, by layer and site; without columns where nothing is adapted.
    let hidden: [[ArenaSlot]]
    /// [T, adapters · rank] its gradient, and [T, inputs] dropout(x) or its gradient, by site.
    let dHidden: [ArenaSlot]
    let dropped: [ArenaSlot]
    let byteCount: Int

    init(_ configuration: LoRAConfiguration, _ model: ModelConfiguration, rows: Int, precision: ElementType) {
      var plan = ArenaPlan()
      func slots(_ columns: (LoRASite) -> Int) -> [ArenaSlot] {
        LoRASite.allCases.map { site in plan.reserve(rows: rows, columns: columns(site), precision) }
      }
      func hiddenCount(_ site: LoRASite) -> Int {
        site.targets.count(where: configuration.targets.contains) * configuration.rank
      }
      hidden = (0..<model.layerCount).map { _ in slots(hiddenCount) }
      dHidden = slots(hiddenCount)
      dropped = slots { configuration.dropout > 0 && hiddenCount($0) > 0 ? $0.inputCount(model) : 0 }
      byteCount = plan.byteCount
    }
  }

  /// - Parameters:
  ///   - weights: the adapter's, of the given type, laid out by its table.
  ///   - rows: the most rows of a batch.
  ///   - seed: of the dropout.
  init(
    _ adapter: LoRAAdapter, weights: UnsafeMutableRawPointer, precision: ElementType, rows: Int, workers: Int,
    seed: UInt64
  ) throws(OutOfMemoryError) {
    configuration = adapter.configuration
    scale = adapter.configuration.scale
    self.seed = seed
    self.weights = LoRAViews(weights, precision, adapter)
    plan = Plan(configuration, adapter.model, rows: rows, precision: precision)
    arena = try AlignedBuffer(byteCount: plan.byteCount)
    gradientCount = adapter.table.totalCount
    let buffer = try AlignedBuffer(byteCount: workers * gradientCount * 4)
    gradientBuffer = buffer
    let count = gradientCount
    gradients = (0..<workers).map { LoRAViews(buffer.base + $0 * count * 4, .float32, adapter) }
  }

  /// Bytes that such an object holds.
  static func memoryBytes(
    _ configuration: LoRAConfiguration, _ model: ModelConfiguration, precision: ElementType, rows: Int, workers: Int
  ) -> Int {
    Plan(configuration, model, rows: rows, precision: precision).byteCount
      + workers * ParameterTable(configuration, model).totalCount * 4
  }

  // MARK: - Gradients

  private func gradient(_ worker: Int) -> UnsafeMutablePointer<Float> {
    gradientBuffer.base.assumingMemoryBound(to: Float.self) + worker * gradientCount
  }

  func zeroGradients(_ worker: Int) { gradient(worker).update(repeating: 0, count: gradientCount) }

  /// Adds the sums of all workers, in their order, to a range of `target`.
  func addGradients(_ range: Range<Int>, to target: UnsafeMutablePointer<Float>) {
    for worker in gradients.indices {
      addRows(
        MatrixView(gradient(worker) + range.lowerBound, rows: 1, columns: range.count),
        into: MatrixView(target + range.lowerBound, rows: 1, columns: range.count))
    }
  }

  // MARK: - Places

  func hidden(_ layer: Int, _ site: LoRASite, _ rows: Range<Int>) -> MatrixView {
    view(plan.hidden[layer][site.rawValue], rows)
  }

  func dHidden(_ site: LoRASite, _ rows: Range<Int>) -> MatrixView { view(plan.dHidden[site.rawValue], rows) }

  func dropped(_ site: LoRASite, _ rows: Range<Int>) -> MatrixView { view(plan.dropped[site.rawValue], rows) }

  private func view(_ slot: ArenaSlot, _ rows: Range<Int>) -> MatrixView {
    arena.view(slot).rows(rows)
  }

  /// The mask of a site, and which of its rows is row 0 of the batch; nil without dropout.
  func dropout(_ layer: Int, _ site: LoRASite) -> (mask: DropoutMask, firstRow: Int)? {
    guard configuration.dropout > 0, let dropoutOrigin else { return nil }
    let stream = UInt64(layer * LoRASite.allCases.count + site.rawValue)
    return (DropoutMask(rate: Float(configuration.dropout), seed: seed, stream: stream), dropoutOrigin)
  }
}
