import Compute
import Machine
import Model

/// The matrices of a tower and a projector inside a block, weights or gradients: of those that the block has.
struct SightViews {
  struct Layer {
    /// [3·n, n] queries, keys and values in one.
    let queriesKeysValues: MatrixView
    /// [n, n]
    let attentionOutput: MatrixView
    /// [intermediate, n]
    let up: MatrixView
    /// [n, intermediate]
    let down: MatrixView
  }

  /// [n, 3·patchSize²]
  let patch: MatrixView
  let layers: [Layer]
  /// [width, inputs]
  let first: MatrixView
  /// [width, width]; nil for a projector of one matrix.
  let second: MatrixView?

  /// - Parameters:
  ///   - base: the first element of the block, of the given type.
  ///   - width: the language model's.
  init(
    _ base: UnsafeMutableRawPointer, _ type: ElementType, _ table: ParameterTable, _ sight: SightConfiguration,
    width: Int
  ) {
    func matrix(_ role: ParameterRole, _ rows: Int, _ columns: Int) -> MatrixView? {
      table.entry(role).map {
        MatrixView(base + $0.offset * type.byteCount, rows: rows, columns: columns, type: type)
      }
    }
    func required(_ role: ParameterRole, _ rows: Int, _ columns: Int) -> MatrixView {
      guard let view = matrix(role, rows, columns) else { preconditionFailure("no weight for \(role)") }
      return view
    }
    let tower = sight.tower
    let hidden = tower.hiddenSize
    patch = required(.tower(.patch), hidden, tower.patchWidth)
    layers = (0..<tower.layerCount).map { layer in
      Layer(
        queriesKeysValues: required(.tower(.query, block: layer), 3 * hidden, hidden),
        attentionOutput: required(.tower(.attentionOutput, block: layer), hidden, hidden),
        up: required(.tower(.up, block: layer), tower.intermediateSize, hidden),
        down: required(.tower(.down, block: layer), hidden, tower.intermediateSize))
    }
    first = required(.projector(.first), width, sight.projectorInputSize)
    second = matrix(.projector(.second), width, width)
  }
}

/// The norms, biases, class token and positions of a tower and a projector inside a block of floats.
package struct SightVectors {
  let base: UnsafeMutablePointer<Float>
  let table: ParameterTable

  /// - Parameter base: the block that `table` lays out.
  package init(base: UnsafeMutablePointer<Float>, table: ParameterTable) {
    self.base = base
    self.table = table
  }

  /// - Precondition: the block has such a weight.
  func tower(_ part: TowerPart, _ block: Int? = nil) -> UnsafeMutablePointer<Float> {
    vector(.tower(part, block: block))
  }

  func projector(_ part: ProjectorPart) -> UnsafeMutablePointer<Float> { vector(.projector(part)) }

  private func vector(_ role: ParameterRole) -> UnsafeMutablePointer<Float> {
    guard let entry = table.entry(role) else { preconditionFailure("no weight for \(role)") }
    return base + entry.offset
  }
}

/// The gradients of all norms and biases of a tower and a projector, summed by each worker over its own rows, and then
/// over the workers in order.
final class SightVectorGradients {
  /// The norms and biases, one after the other.
  private let table: ParameterTable
  private let buffer: AlignedBuffer
  private let workers: Int

  init(_ sight: SightConfiguration, width: Int, workers: Int) throws(OutOfMemoryError) {
    var end = 0
    table = ParameterTable(
      ParameterTable(sight, width: width).entries.filter { $0.role.isNorm || $0.role.isBias }.map { entry in
        var entry = entry
        entry.offset = end
        end = entry.range.upperBound
        return entry
      })
    self.workers = workers
    buffer = try AlignedBuffer(byteCount: workers * table.totalCount * 4)
  }

  private func base(_ worker: Int) -> UnsafeMutablePointer<Float> {
    buffer.base.assumingMemoryBound(to: Float.self) + worker * table.totalCount
  }

  func zero() { base(0).update(repeating: 0, count: workers * table.totalCount) }

  /// Where a worker adds up.
  func sums(_ worker: Int) -> SightVectors { SightVectors(base: base(worker), table: table) }

  /// Adds every worker's sums to a block of gradients.
  func add(to gradients: SightVectors) {
    for entry in table.entries {
      guard let place = gradients.table.entry(entry.role) else { continue }
      for worker in 0..<workers {
        for index in 0..<entry.count {
          gradients.base[place.offset + index] += base(worker)[entry.offset + index]
        }
      }
    }
  }
}
