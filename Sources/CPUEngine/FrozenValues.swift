import Compute
import Machine
import Model

/// Weights that do not change: matrices in one block of either type; norms, biases, routers and a tower's places in fp32.
package final class FrozenValues {
  package let type: ElementType
  package let table: ParameterTable
  /// The places in `exactValues` of what is kept in fp32 whatever the type.
  package let exactTable: ParameterTable
  private let block: AlignedBuffer
  private let exact: AlignedBuffer

  /// The first element of the block of `table`. Valid while this object lives.
  var base: UnsafeMutableRawPointer { block.base }
  var exactValues: UnsafeMutablePointer<Float> { exact.base.assumingMemoryBound(to: Float.self) }

  /// - Parameter read: writes the fp32 values of a weight to an address.
  /// - Throws: `OutOfMemoryError`, and what `read` throws.
  package init(
    _ table: ParameterTable, type: ElementType, read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    self.type = type
    self.table = table
    block = try AlignedBuffer(byteCount: table.totalCount * type.byteCount)
    var end = 0
    exactTable = ParameterTable(
      table.entries.filter(\.role.keptInFloat32).map { entry in
        var entry = entry
        entry.offset = end.roundedUp(to: cacheLineFloats)
        end = entry.range.upperBound
        return entry
      })
    exact = try AlignedBuffer(byteCount: exactTable.totalCount * 4)
    let matrices = table.entries.filter { !$0.role.keptInFloat32 }
    let room = try AlignedBuffer(byteCount: matrices.map(\.count).max()! * 4)
    for entry in matrices {
      let values = room.base.assumingMemoryBound(to: Float.self)
      try read(entry, values)
      convert(MatrixView(values, rows: 1, columns: entry.count), to: row(entry))
    }
    for entry in table.entries where entry.role.keptInFloat32 {
      try read(entry, exactValues + exactTable.offset(entry.key))
    }
  }

  /// Writes the fp32 values of a weight to an address.
  func copy(_ entry: ParameterEntry, to target: UnsafeMutablePointer<Float>) {
    if let exact = exactTable.entry(entry.key) {
      target.update(from: exactValues + exact.offset, count: entry.count)
    } else {
      convert(row(entry), to: MatrixView(target, rows: 1, columns: entry.count))
    }
  }

  /// The values of a matrix, as one row.
  private func row(_ entry: ParameterEntry) -> MatrixView {
    MatrixView(block.base + entry.offset * type.byteCount, rows: 1, columns: entry.count, type: type)
  }
}
