import CKernels
import Model

/// How inference stores the weights of a model: the values of `--type`.
package enum WeightType: String, Sendable, Codable, CaseIterable {
  case float32 = "fp32"
  case bfloat16 = "bf16"
  /// Eight bits a weight and a scale for each 32 of a row, 8.5 bits in all.
  case q8
  /// Four bits a weight and a scale for each 32 of a row, 4.5 bits in all.
  case q4

  /// The type of keys, values and activations with such weights.
  package var activationType: ElementType { self == .float32 ? .float32 : .bfloat16 }

  /// Bytes of `count` weights whose rows are whole tiles and blocks.
  package func byteCount(weights count: Int) -> Int {
    self.isQuantized
      ? count / Self.blockColumns * (Self.blockColumns * (self == .q4 ? 4 : 8) / 8 + 2)
      : count * activationType.byteCount
  }

  var isQuantized: Bool { self == .q8 || self == .q4 }

  /// The weights are read in tiles of this many rows.
  package static let tileRows = Int(CKTileRows)
  /// Columns that share a scale, once rounded up.
  static let blockColumns = Int(CKBlockColumns)

  /// The units of a row of `columns` columns: blocks, or words of four bytes.
  func units(_ columns: Int) -> Int {
    switch self {
    case .float32: columns
    case .bfloat16: (columns + 1) / 2
    case .q8, .q4: (columns + Self.blockColumns - 1) / Self.blockColumns
    }
  }

  /// Bytes of a tile, a multiple of 64.
  fileprivate func tileByteCount(_ columns: Int) -> Int {
    isQuantized ? ckTileBytes(self == .q4, units(columns)) : 4 * Self.tileRows * units(columns)
  }
}

/// A matrix of weights in the order in which `multiplyRows` reads it, in memory that its caller owns.
///
/// Sixteen rows make a tile, padded with zeros at the matrix's end. In float32 a tile is transposed, [columns, 16], so that
/// one number of the input meets a vector of weights; in bfloat16 the same with pairs of columns; q8 and q4 are in
/// `QuantizedProduct.h`.
///
/// - Unchecked Sendable: a view is an address and a shape. It is written by one thread, before others read it.
package struct WeightMatrix: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  package let rows: Int
  package let columns: Int
  package let type: WeightType

  /// - Parameter base: of `byteCount` bytes, at a multiple of 64.
  package init(_ base: UnsafeMutableRawPointer, rows: Int, columns: Int, type: WeightType) {
    precondition(rows >= 0 && columns >= 0, "weights of [\(rows), \(columns)]")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.type = type
  }

  /// Bytes of such a matrix, a multiple of 64.
  package static func byteCount(rows: Int, columns: Int, type: WeightType) -> Int {
    (rows + WeightType.tileRows - 1) / WeightType.tileRows * type.tileByteCount(columns)
  }

  package var byteCount: Int { Self.byteCount(rows: rows, columns: columns, type: type) }

  /// Some of the rows.
  ///
  /// - Precondition: the first is the first of a tile.
  package func rows(_ range: Range<Int>) -> WeightMatrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows && range.lowerBound % WeightType.tileRows == 0,
      "rows \(range) of \(rows) weights")
    return WeightMatrix(tile(of: range.lowerBound), rows: range.count, columns: columns, type: type)
  }

  private func tile(of row: Int) -> UnsafeMutableRawPointer {
    base + row / WeightType.tileRows * type.tileByteCount(columns)
  }

  /// Stores rows of numbers, rounded to the type.
  ///
  /// - Parameters:
  ///   - source: float32, [rows, columns].
  ///   - first: where they begin, the first row of a tile. A tile that they end in must be the matrix's last.
  package func store(_ source: MatrixView, at first: Int) {
    let target = rows(first..<first + source.rows)
    precondition(
      source.columns == columns && (source.rows % WeightType.tileRows == 0 || first + source.rows == rows),
      "\(source.rows) rows of \(source.columns) into weights of [\(rows), \(columns)] from \(first)")
    for row in stride(from: 0, to: source.rows, by: WeightType.tileRows) {
      let part = source.rows(row..<min(source.rows, row + WeightType.tileRows))
      let tile = target.tile(of: row)
      switch type {
      case .float32: ckTranspose(part.base, 4 * part.rowStride, part.rows, columns, tile, 16)
      case .bfloat16: Self.storePairs(part, tile)
      case .q8, .q4: ckQuantizeTile(type == .q4, part.floats, part.rowStride, part.rows, columns, tile)
      }
    }
  }

  /// A tile of pairs of bfloat16: rounded to rows of whole pairs, then transposed.
  private static func storePairs(_ source: MatrixView, _ tile: UnsafeMutableRawPointer) {
    let units = WeightType.bfloat16.units(source.columns)
    withUnsafeTemporaryAllocation(byteCount: 4 * units * source.rows, alignment: 64) { memory in
      // The last half of an odd row is zero.
      memory.initializeMemory(as: UInt8.self, repeating: 0)
      let pairs = MatrixView(
        memory.baseAddress!, rows: source.rows, columns: source.columns, rowStride: 2 * units, type: .bfloat16)
      convert(source, to: pairs)
      ckTranspose(pairs.base, 4 * units, source.rows, units, tile, 16)
    }
  }

  /// Writes the values of one row to `target`, [columns].
  package func copyRow(_ row: Int, to target: UnsafeMutablePointer<Float>) {
    precondition(row >= 0 && row < rows, "row \(row) of \(rows) weights")
    let lane = row % WeightType.tileRows
    let tile = tile(of: row)
    switch type {
    case .float32:
      let values = tile.assumingMemoryBound(to: Float.self) + lane
      for column in 0..<columns { target[column] = values[16 * column] }
    case .bfloat16:
      let values = tile.assumingMemoryBound(to: UInt16.self) + 2 * lane
      for column in 0..<columns {
        target[column] = BFloat16(bitPattern: values[32 * (column / 2) + column % 2]).float
      }
    case .q8, .q4: ckDequantizeRow(type == .q4, tile, lane, columns, target)
    }
  }
}
