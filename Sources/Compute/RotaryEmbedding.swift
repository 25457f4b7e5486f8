import Foundation

/// The cosines and sines by which positions turn the pairs of a head; Su et al. 2021 (arXiv 2104.09864).
///
/// Pair i of a head consists of elements i and i + headSize/2, as in Hugging Face's Llama, and turns by
/// position · θ^(-2i/headSize).
///
/// - Unchecked Sendable: the memory is written by `init` only.
package struct RotaryTable: @unchecked Sendable {
  package let headSize: Int
  package let positions: Int
  private let buffer: AlignedBuffer
  /// [positions, headSize/2]
  fileprivate let cosines: UnsafePointer<Float>
  fileprivate let sines: UnsafePointer<Float>

  /// - Throws: `ComputeError.outOfMemory`.
  package init(headSize: Int, theta: Double, positions: Int) throws(ComputeError) {
    precondition(headSize > 0 && headSize % 2 == 0 && positions > 0, "\(positions) positions, heads of \(headSize)")
    self.headSize = headSize
    self.positions = positions
    let half = headSize / 2
    let count = positions * half
    buffer = try AlignedBuffer(byteCount: 2 * count * MemoryLayout<Float>.stride)
    let cosines = buffer.base.assumingMemoryBound(to: Float.self)
    let sines = cosines + count
    for pair in 0..<half {
      let frequency = pow(theta, -2 * Double(pair) / Double(headSize))
      for position in 0..<positions {
        cosines[position * half + pair] = Float(cos(Double(position) * frequency))
        sines[position * half + pair] = Float(sin(Double(position) * frequency))
      }
    }
    self.cosines = UnsafePointer(cosines)
    self.sines = UnsafePointer(sines)
  }
}

/// Turns each pair (a, b) of each head to (a·cos φ - b·sin φ, b·cos φ + a·sin φ), in place.
///
/// - Parameters:
///   - heads: [rows, headCount·headSize]; queries and keys that lie side by side are heads alike.
///   - positions: [rows], each in 0 ..< table.positions, counted from the start of the document.
package func rotaryForward(
  _ heads: MatrixView, headSize: Int, positions: UnsafePointer<Int32>, table: RotaryTable
) {
  rotate(heads, headSize, positions, table, direction: 1)
}

/// The gradient of `rotaryForward`, in place: a rotation's transpose is the turn back.
package func rotaryBackward(
  _ heads: MatrixView, headSize: Int, positions: UnsafePointer<Int32>, table: RotaryTable
) {
  rotate(heads, headSize, positions, table, direction: -1)
}

private func rotate(
  _ heads: MatrixView, _ headSize: Int, _ positions: UnsafePointer<Int32>, _ table: RotaryTable, direction: Float
) {
  precondition(
    headSize == table.headSize && heads.columns % headSize == 0,
    "heads of \(headSize) in \(heads.columns) columns, a table for \(table.headSize)")
  switch heads.type {
  case .float32: rotate(heads, positions, table, direction, Float.self)
  case .bfloat16: rotate(heads, positions, table, direction, BFloat16.self)
  }
}

private func rotate<Element: VectorElement>(
  _ heads: MatrixView, _ positions: UnsafePointer<Int32>, _ table: RotaryTable, _ direction: Float, _: Element.Type
) {
  let half = table.headSize / 2
  let width = heads.columns
  for row in 0..<heads.rows {
    let position = Int(positions[row])
    precondition(position >= 0 && position < table.positions, "position \(position) of \(table.positions)")
    let x = heads.row(row, of: Element.self)
    let cosines = table.cosines + position * half
    let sines = table.sines + position * half
    // All heads of a row turn by the same angles.
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      let cosine = Float.load(cosines + start, lanes)
      let sine = Float.load(sines + start, lanes) * direction
      var low = start
      while low < width {
        let high = low &+ half
        let a = Element.load(x + low, lanes)
        let b = Element.load(x + high, lanes)
        Element.store((a * cosine).addingProduct(-b, sine), to: x + low, lanes)
        Element.store((b * cosine).addingProduct(a, sine), to: x + high, lanes)
        low = high &+ half
      }
    }
    forEachSixteen(half, step)
  }
}
