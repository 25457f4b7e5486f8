import Foundation
import Machine
import Model
import VectorMath

/// The cosines and sines by which positions turn the pairs of a head; Su et al. 2021 (arXiv 2104.09864).
///
/// Pair i of a head consists of elements i and i + headSize/2, as in Hugging Face's Llama, and turns by
/// position · θ^(-2i/headSize), or what `RotaryScaling` makes of that.
///
/// Row p of the table is position p of a sequence that ends there. Only where angles depend on the sequence's length
/// (`RotaryScaling.dynamic`) does a whole document need other rows: `firstRow(ofDocument:)` makes them.
///
/// - Unchecked Sendable: rows are written by `init`, and by `firstRow` between the runs of a team that reads them.
package struct RotaryTable: @unchecked Sendable {
  package let settings: RotarySettings
  package let positions: Int
  private let rowCount: Int
  private let buffer: AlignedBuffer
  /// [rowCount, headSize/2]
  fileprivate let cosines: UnsafeMutablePointer<Float>
  fileprivate let sines: UnsafeMutablePointer<Float>

  /// - Parameter positions: the most tokens of a document, and of all documents of a batch together.
  /// - Throws: `OutOfMemoryError`.
  package init(_ settings: RotarySettings, positions: Int) throws(OutOfMemoryError) {
    let headSize = settings.headSize
    precondition(headSize > 0 && headSize % 2 == 0 && positions > 0, "\(positions) positions, heads of \(headSize)")
    self.settings = settings
    self.positions = positions
    rowCount = settings.dependsOnLength(positions) ? 2 * positions : positions
    let count = rowCount * headSize / 2
    buffer = try AlignedBuffer(byteCount: 2 * count * MemoryLayout<Float>.stride)
    cosines = buffer.base.assumingMemoryBound(to: Float.self)
    sines = cosines + count
    var frequencies = settings.frequencies(length: 1)
    for position in 0..<positions {
      if settings.dependsOnLength(position + 1) { frequencies = settings.frequencies(length: position + 1) }
      fill(row: position, position: position, frequencies)
    }
  }

  /// The row that turns the first token of a document; the rows of the others follow it.
  ///
  /// - Parameter document: where the document lies in its batch, whose documents do not overlap.
  package func firstRow(ofDocument document: Range<Int>) -> Int {
    firstRow(of: 0..<document.count, length: document.count, place: document.lowerBound)
  }

  /// The row that turns the first of some tokens of a document; the rows of the others follow it.
  ///
  /// - Parameters:
  ///   - tokens: their positions in the document.
  ///   - length: of the whole document.
  ///   - place: where the tokens lie in their batch, whose tokens do not overlap.
  package func firstRow(of tokens: Range<Int>, length: Int, place: Int) -> Int {
    precondition(
      tokens.upperBound <= positions && place + tokens.count <= positions,
      "tokens \(tokens) at \(place), a table for \(positions) positions")
    guard settings.dependsOnLength(length) else { return tokens.lowerBound }
    let frequencies = settings.frequencies(length: length)
    let first = positions + place
    for (index, position) in tokens.enumerated() { fill(row: first + index, position: position, frequencies) }
    return first
  }

  private func fill(row: Int, position: Int, _ frequencies: [Double]) {
    for (pair, frequency) in frequencies.enumerated() {
      let angle = Double(position) * frequency
      cosines[row * frequencies.count + pair] = Float(cos(angle) * settings.amplitude)
      sines[row * frequencies.count + pair] = Float(sin(angle) * settings.amplitude)
    }
  }

  fileprivate func checkRow(_ row: Int) { precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)") }
}

/// Turns each pair (a, b) of each head to (a·cos φ - b·sin φ, b·cos φ + a·sin φ), in place.
///
/// - Parameters:
///   - heads: [rows, headCount·headSize]; queries and keys that lie side by side are heads alike.
///   - tableRows: [rows] the row of the table for each: `table.firstRow(ofDocument:)` + the position in the document.
package func rotaryForward(
  _ heads: MatrixView, headSize: Int, tableRows: UnsafePointer<Int32>, table: RotaryTable
) {
  rotate(heads, headSize, tableRows, table, direction: 1)
}

/// The gradient of `rotaryForward`, in place: a rotation's transpose is the turn back, a factor stays.
package func rotaryBackward(
  _ heads: MatrixView, headSize: Int, tableRows: UnsafePointer<Int32>, table: RotaryTable
) {
  rotate(heads, headSize, tableRows, table, direction: -1)
}

private func rotate(
  _ heads: MatrixView, _ headSize: Int, _ tableRows: UnsafePointer<Int32>, _ table: RotaryTable, direction: Float
) {
  precondition(
    headSize == table.settings.headSize && heads.columns % headSize == 0,
    "heads of \(headSize) in \(heads.columns) columns, a table for \(table.settings.headSize)")
  switch heads.type {
  case .float32: rotate(heads, tableRows, table, direction, Float.self)
  case .bfloat16: rotate(heads, tableRows, table, direction, BFloat16.self)
  }
}

private func rotate<Element: VectorElement>(
  _ heads: MatrixView, _ tableRows: UnsafePointer<Int32>, _ table: RotaryTable, _ direction: Float, _: Element.Type
) {
  let half = table.settings.headSize / 2
  let width = heads.columns
  for row in 0..<heads.rows {
    let tableRow = Int(tableRows[row])
    table.checkRow(tableRow)
    let x = heads.row(row, of: Element.self)
    let cosines = UnsafePointer(table.cosines + tableRow * half)
    let sines = UnsafePointer(table.sines + tableRow * half)
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
