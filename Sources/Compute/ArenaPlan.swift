import Machine
import Model

/// A matrix's place in a block of memory that an `ArenaPlan` has laid out.
package struct ArenaSlot: Sendable {
  /// Bytes from the beginning of the block: a multiple of 64.
  package let offset: Int
  /// The most rows that the matrix may have.
  package let rows: Int
  package let columns: Int
  package let type: ElementType
}

/// Lays matrices out one after another in one block of memory, before there is any.
package struct ArenaPlan {
  package private(set) var byteCount = 0
  /// Where the next matrix goes.
  package private(set) var end = 0

  package init() {}

  /// Reserves `rows` rows of `columns` elements at a multiple of 64 bytes: a cache line, and a vector of 16 floats.
  package mutating func reserve(rows: Int, columns: Int, _ type: ElementType = .float32) -> ArenaSlot {
    let slot = ArenaSlot(offset: end, rows: rows, columns: columns, type: type)
    end += (rows * columns * type.byteCount).roundedUp(to: 4 * cacheLineFloats)
    byteCount = max(byteCount, end)
    return slot
  }

  /// Goes back to an earlier `end`: what is reserved next is never in use at the same time as what lies there.
  package mutating func reuse(from end: Int) {
    precondition(end <= self.end, "memory from \(end) on, before \(self.end)")
    self.end = end
  }
}

extension AlignedBuffer {
  /// A block for everything that a plan has reserved.
  ///
  /// - Throws: `OutOfMemoryError`.
  package convenience init(_ plan: ArenaPlan) throws(OutOfMemoryError) {
    try self.init(byteCount: plan.byteCount)
  }

  /// The matrix of a slot, with all its rows or the first `rows` of them. Valid while the buffer lives.
  package func view(_ slot: ArenaSlot, rows: Int? = nil) -> MatrixView {
    let rows = rows ?? slot.rows
    let end = slot.offset + rows * slot.columns * slot.type.byteCount
    precondition(rows <= slot.rows && end <= byteCount, "\(rows) rows at \(slot) of \(byteCount) bytes")
    return MatrixView(base + slot.offset, rows: rows, columns: slot.columns, type: slot.type)
  }

  /// The first number of a float32 slot.
  package func floats(_ slot: ArenaSlot) -> UnsafeMutablePointer<Float> { view(slot).floats }
}
