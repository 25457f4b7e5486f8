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
  private let layerCount: Int
  private let plan: Plan
  private let arena: AlignedBuffer
  private let gradientBuffer: AlignedBuffer
  private let gradientCount: Int

  /// Where the current batch stands in the run; nil while nothing is dropped.
  var dropoutOrigin: Int?

  /// The layout of the adapters' activations. T = rows: the batch's, or those of all routed experts together.
  private struct Plan {
    /// [T, adapters · rank] scale · dropout(x)·Aᵀ, by layer and `slot`; without columns where nothing is adapted.
    let hidden: [[ArenaSlot]]
    /// [T, adapters · rank] its gradient, and [T, inputs] dropout(x) or its gradient, by `slot`.
    let dHidden: [ArenaSlot]
    let dropped: [ArenaSlot]
    let byteCount: Int

    init(
      _ configuration: LoRAConfiguration, _ model: ModelConfiguration, rows: Int, precision: ElementType, workers: Int
    ) {
      var plan = ArenaPlan()
      // The experts of a layer share their places: each has rows of its own.
      let tokens: [LoRAPlace] = LoRASite.allCases.map {
        LoRAPlace(site: $0, block: model.isMixture && $0.isFeedForward ? .shared : .dense)
      }
      let experts: [LoRAPlace] =
        model.isMixture ? [.feedForwardInput, .feedForwardOutput].map { LoRAPlace(site: $0, block: .expert(0)) } : []
      func slots(_ columns: (LoRAPlace) -> Int) -> [ArenaSlot] {
        tokens.map { plan.reserve(rows: rows, columns: columns($0), precision) }
          + experts.map { plan.reserve(rows: model.expertRows(rows, workers), columns: columns($0), precision) }
      }
      func hiddenCount(_ place: LoRAPlace) -> Int {
        place.block == .shared && model.sharedExpertCount == 0
          ? 0 : place.site.targets.count(where: configuration.targets.contains) * configuration.rank
      }
      hidden = (0..<model.layerCount).map { _ in slots(hiddenCount) }
      dHidden = slots(hiddenCount)
      dropped = slots { configuration.dropout > 0 && hiddenCount($0) > 0 ? $0.inputCount(model) : 0 }
      byteCount = plan.byteCount
    }

    /// The number of a place's slot.
    func slot(_ place: LoRAPlace) -> Int {
      if case .expert = place.block { place.site.rawValue + 2 } else { place.site.rawValue }
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
    layerCount = adapter.model.layerCount
    plan = Plan(configuration, adapter.model, rows: rows, precision: precision, workers: workers)
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
    Plan(configuration, model, rows: rows, precision: precision, workers: workers).byteCount
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

  func hidden(_ layer: Int, _ place: LoRAPlace, _ rows: Range<Int>) -> MatrixView {
    arena.view(plan.hidden[layer][plan.slot(place)]).rows(rows)
  }

  func dHidden(_ place: LoRAPlace, _ rows: Range<Int>) -> MatrixView {
    arena.view(plan.dHidden[plan.slot(place)]).rows(rows)
  }

  func dropped(_ place: LoRAPlace, _ rows: Range<Int>) -> MatrixView {
    arena.view(plan.dropped[plan.slot(place)]).rows(rows)
  }

  /// The mask of a place, and which of its rows is row 0 of the batch; nil without dropout.
  func dropout(_ layer: Int, _ place: LoRAPlace) -> (mask: DropoutMask, firstRow: Int)? {
    guard configuration.dropout > 0, let dropoutOrigin else { return nil }
    let stream = place.dropoutStream(layer, of: layerCount)
    return (DropoutMask(rate: Float(configuration.dropout), seed: seed, stream: stream), dropoutOrigin)
  }
}
