import Machine

/// Named values in fp32 that training changes together, in one block of memory: all weights of a model, or those of an
/// adapter.
package final class ParameterBlock {
  package let table: ParameterTable
  /// The memory of `values`.
  package let buffer: AlignedBuffer

  /// `table.totalCount` values, 64-byte aligned. The gaps between entries are zero. Valid while this object lives.
  package let values: UnsafeMutablePointer<Float>

  /// All values zero.
  ///
  /// - Throws: `OutOfMemoryError`.
  package init(zeroed table: ParameterTable) throws(OutOfMemoryError) {
    self.table = table
    buffer = try AlignedBuffer(byteCount: table.totalCount * MemoryLayout<Float>.stride)
    values = buffer.base.bindMemory(to: Float.self, capacity: table.totalCount)
  }
}

extension ParameterBlock {
  /// Whether all values are finite numbers.
  package var areFinite: Bool { (0..<table.totalCount).allSatisfy { values[$0].isFinite } }

  /// [entry.count] the values of an entry of the table.
  package func read(_ entry: ParameterEntry) -> [Float] {
    Array(UnsafeBufferPointer(start: values + entry.offset, count: entry.count))
  }

  /// - Parameter numbers: [entry.count].
  package func write(_ numbers: [Float], to entry: ParameterEntry) {
    precondition(numbers.count == entry.count, "\(numbers.count) numbers for \(entry.key)")
    numbers.withUnsafeBufferPointer { (values + entry.offset).update(from: $0.baseAddress!, count: entry.count) }
  }

  package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try body(UnsafeRawBufferPointer(start: values, count: table.totalCount * 4))
  }
}
