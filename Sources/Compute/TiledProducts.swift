import CKernels
import Machine
import Model

/// Our own matrix products on one thread, for machines without oneDNN.
///
/// After Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a panel of `b`, 64 columns
/// wide, is brought into the order in which `ckTileProduct` reads it and stays in the first two caches while many rows
/// of `a` pass by. Rows of `a` are read where they lie, unless they are stored as columns.
///
/// Each element of `c` is summed up in one order, which depends on `inner` alone: cutting rows or columns into parts
/// changes no bit. Sizes are counted in units of four bytes, a float or two bfloat16, as in `ckTileProduct`.
package final class TiledProducts {
  /// What `info` calls these products.
  static let name = "own kernel"

  /// These products are part of the program, and take half a megabyte a worker.
  static let codeBytes = 1 << 20

  /// Does nothing: these products never start threads.
  static func useOneThread() {}

  /// Rows of `a` that pass by a packed panel: packing it costs a few hundredths of what they do with it.
  private static let blockRows = 384
  /// Units along the sum in a panel: 64 KiB.
  private static let blockUnits = 256
  private static let panelColumns = 64
  /// Units of `a` that are transposed at a time.
  private static let stripUnits = 16

  /// A block of `a` by rows: [blockRows, blockUnits].
  private let packedRows: UnsafeMutablePointer<Float>
  /// A strip of `a` on the way there: [stripUnits, blockRows].
  private let strip: UnsafeMutablePointer<Float>
  /// [blockUnits, panelColumns].
  private let panel: UnsafeMutablePointer<Float>
  /// Sums that do not fit `c` as they are: [blockRows, panelColumns].
  private let sums: UnsafeMutablePointer<Float>

  package init() {
    func allocate(_ rows: Int, _ columns: Int) -> UnsafeMutablePointer<Float> {
      let memory = UnsafeMutableRawPointer.allocate(byteCount: 4 * rows * columns, alignment: 4096)
      return memory.initializeMemory(as: Float.self, repeating: 0, count: rows * columns)
    }
    packedRows = allocate(Self.blockRows, Self.blockUnits)
    strip = allocate(Self.stripUnits, Self.blockRows)
    panel = allocate(Self.blockUnits, Self.panelColumns)
    sums = allocate(Self.blockRows, Self.panelColumns)
  }

  deinit {
    for memory in [packedRows, strip, panel, sums] { memory.deallocate() }
  }

  /// Computes the product; see `MatrixProducts.multiply`.
  package func multiply(_ product: MatrixProduct) {
    // Floats go into `c` itself where whole vectors fit: all columns in one go, so that `a` is packed once. Elsewhere
    // sums go to scratch memory first, one panel at a time.
    let direct = product.c.type == .float32 ? product.columns / 16 * 16 : 0
    for rowStart in stride(from: 0, to: product.rows, by: Self.blockRows) {
      let rows = rowStart..<min(product.rows, rowStart + Self.blockRows)
      if direct > 0 { multiply(product, rows, 0..<direct, into: product.c) }
      for start in stride(from: direct, to: product.columns, by: Self.panelColumns) {
        let columns = start..<min(product.columns, start + Self.panelColumns)
        let target = product.c.rows(rows).columns(columns)
        let aside = MatrixView(sums, rows: rows.count, columns: columns.count, rowStride: Self.panelColumns)
        if product.accumulates { convert(target, to: aside) }
        multiply(product, rows, columns, into: nil)
        convert(aside, to: target)
      }
    }
  }

  /// One block of rows and some columns, into these places of `c`, or else into `sums`.
  private func multiply(_ product: MatrixProduct, _ rows: Range<Int>, _ columns: Range<Int>, into c: MatrixView?) {
    let unit = product.a.type == .bfloat16 ? 2 : 1
    var start = 0
    while start < product.inner {
      // An odd last bfloat16 is a block by itself, in which the other half of its unit is zero.
      let count = min(Self.blockUnits * unit, max(1, (product.inner - start) / unit * unit))
      let inner = start..<start + count
      let units = (count + unit - 1) / unit
      let isPacked = product.aTransposed || count % unit != 0
      if isPacked { packRows(product, rows, inner) }
      let a =
        isPacked
        ? UnsafeMutableRawPointer(packedRows) : product.a.row(rows.lowerBound) + start * product.a.type.byteCount
      let aStride = isPacked ? 4 * Self.blockUnits : product.a.rowStride * product.a.type.byteCount
      for column in stride(from: columns.lowerBound, to: columns.upperBound, by: Self.panelColumns) {
        let part = column..<min(columns.upperBound, column + Self.panelColumns)
        packPanel(product, part, inner)
        let target = c.map { $0.row(rows.lowerBound, of: Float.self) + column } ?? sums
        ckTileProduct(
          unit == 2, rows.count, units, (part.count + 15) / 16, a, aStride, panel, Self.panelColumns, target,
          c?.rowStride ?? Self.panelColumns, product.accumulates || inner.lowerBound > 0)
      }
      start += count
    }
  }

  /// Some rows of `a`, units along the sum side by side, into `packedRows`.
  private func packRows(_ product: MatrixProduct, _ rows: Range<Int>, _ inner: Range<Int>) {
    guard product.aTransposed else {
      return packLastHalves(product.a.rows(rows), inner.lowerBound, into: packedRows, stride: Self.blockUnits)
    }
    let source = product.a.columns(rows)
    let unit = source.type == .bfloat16 ? 2 : 1
    for start in stride(from: inner.lowerBound, to: inner.upperBound, by: Self.stripUnits * unit) {
      let count = min(inner.upperBound - start, Self.stripUnits * unit)
      let units = (count + unit - 1) / unit
      ckInterleaveRows(
        unit == 2, source.row(start), source.rowStride * source.type.byteCount, count, rows.count, strip,
        Self.blockRows, units * unit)
      ckTranspose(
        strip, 4 * Self.blockRows, units, rows.count, packedRows + (start - inner.lowerBound) / unit, Self.blockUnits)
    }
  }

  /// Some columns of `b`, units along the sum one below the other, into `panel`. Zero up to whole vectors.
  private func packPanel(_ product: MatrixProduct, _ columns: Range<Int>, _ inner: Range<Int>) {
    let b = product.b
    let unit = b.type == .bfloat16 ? 2 : 1
    let stride = b.rowStride * b.type.byteCount
    if !product.bTransposed {
      let paddedCount = inner.count.roundedUp(to: unit)
      ckInterleaveRows(
        unit == 2, b.row(inner.lowerBound) + columns.lowerBound * b.type.byteCount, stride, inner.count, columns.count,
        panel, Self.panelColumns, paddedCount)
    } else if inner.count % unit == 0 {
      ckTranspose(
        b.row(columns.lowerBound) + inner.lowerBound * b.type.byteCount, stride, columns.count, inner.count / unit,
        panel, Self.panelColumns)
    } else {
      panel.update(repeating: 0, count: Self.panelColumns)
      packLastHalves(b.rows(columns), inner.lowerBound, into: panel, stride: 1)
    }
  }

  /// The bfloat16 in one column, each as a unit whose other half is zero.
  private func packLastHalves(
    _ source: MatrixView, _ column: Int, into target: UnsafeMutablePointer<Float>, stride: Int
  ) {
    for row in 0..<source.rows {
      let bits = source.row(row, of: BFloat16.self)[column].bitPattern
      target[row * stride] = Float(bitPattern: UInt32(bits))
    }
  }
}
