import Compute
import Transformer

/// The keys and values of one sequence's tokens, for every layer: what later tokens need of earlier ones.
///
/// Room for `capacity` tokens is reserved as address space; the system gives memory as tokens come.
package final class KeyValueCache {
  /// The most tokens that fit.
  package let capacity: Int
  package let type: ElementType
  /// The tokens whose keys and values are in the cache.
  package private(set) var tokens: [Int32] = []
  private let headCount: Int
  private let headSize: Int
  private let buffer: AlignedBuffer

  /// - Throws: `ComputeError.outOfMemory`.
  package init(_ configuration: ModelConfiguration, type: ElementType, capacity: Int) throws(ComputeError) {
    precondition(capacity > 0, "a cache for \(capacity) tokens")
    self.capacity = capacity
    self.type = type
    headCount = configuration.keyValueHeadCount
    headSize = configuration.headSize
    buffer = try AlignedBuffer(byteCount: Self.byteCount(configuration, type: type, tokens: capacity))
  }

  /// Bytes of the keys and values of so many tokens.
  package static func byteCount(_ configuration: ModelConfiguration, type: ElementType, tokens: Int) -> Int {
    2 * configuration.layerCount * configuration.keyValueSize * tokens * type.byteCount
  }

  package var count: Int { tokens.count }
  /// Tokens that can still be added.
  package var room: Int { capacity - count }

  /// Forgets all tokens behind the first `count`.
  package func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "a cache of \(self.count) tokens cut to \(count)")
    tokens.removeLast(self.count - count)
  }

  /// Takes note of tokens whose keys and values have been written at `count...`.
  func append(_ more: some Collection<Int32>) {
    precondition(more.count <= room, "\(more.count) more tokens, room for \(room)")
    tokens.append(contentsOf: more)
  }

  /// The keys of a head: [positions, headSize].
  func keys(layer: Int, head: Int, _ positions: Range<Int>) -> MatrixView {
    heads(2 * layer, head, positions)
  }

  /// The values of a head: [positions, headSize].
  func values(layer: Int, head: Int, _ positions: Range<Int>) -> MatrixView {
    heads(2 * layer + 1, head, positions)
  }

  /// The memory is [layers, keys and values, heads, capacity, headSize], so that a head's positions lie together.
  private func heads(_ block: Int, _ head: Int, _ positions: Range<Int>) -> MatrixView {
    precondition(head < headCount && positions.upperBound <= capacity, "positions \(positions) of head \(head)")
    let first = (block * headCount + head) * capacity + positions.lowerBound
    return MatrixView(
      buffer.base + first * headSize * type.byteCount, rows: positions.count, columns: headSize, type: type)
  }
}
