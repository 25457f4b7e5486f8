import COneDNN

/// Matrix products by oneDNN on one thread: each worker of a team has its own.
///
/// oneDNN compiles code for each shape; a compiled product is kept and used again. Products accumulate in fp32
/// whatever the element types.
package final class MatrixProducts {
  private struct Key: Hashable {
    var rows: Int
    var inner: Int
    var columns: Int
    var aStride: Int
    var bStride: Int
    var cStride: Int
    /// Types and switches, one bit each.
    var flags: UInt8
  }

  /// Enough for every shape of a run; a stream of ever new shapes starts over here instead of filling the memory.
  private static let capacity = 1024
  private var products: [Key: OpaquePointer] = [:]

  /// A product that was computed, with the places it lies in.
  private struct Call {
    let product: OpaquePointer
    let a: UnsafeRawPointer
    let b: UnsafeRawPointer
    let c: UnsafeMutableRawPointer
  }
  private var recordedCalls: [Call]?

  package init() {}

  deinit { products.values.forEach { cdProductDestroy($0) } }

  /// c = a·b, or c += a·b.
  ///
  /// - Parameters:
  ///   - a: [rows, inner]; `aTransposed`: stored [inner, rows].
  ///   - b: [inner, columns] of the same type as `a`; `bTransposed`: stored [columns, inner], as weights are.
  ///   - c: [rows, columns], overwritten, or added to if `accumulates`; overlaps neither `a` nor `b`.
  package func multiply(
    _ a: MatrixView, aTransposed: Bool = false, _ b: MatrixView, bTransposed: Bool = false,
    into c: MatrixView, accumulates: Bool = false
  ) {
    let rows = aTransposed ? a.columns : a.rows
    let inner = aTransposed ? a.rows : a.columns
    let columns = bTransposed ? b.rows : b.columns
    precondition(
      inner == (bTransposed ? b.columns : b.rows) && rows == c.rows && columns == c.columns && a.type == b.type,
      "a product of [\(rows), \(inner)] and [\(bTransposed ? b.columns : b.rows), \(columns)] into [\(c.rows), \(c.columns)]"
    )
    guard rows > 0, columns > 0, inner > 0 else { return }
    let switches = [aTransposed, bTransposed, accumulates, a.type == .bfloat16, c.type == .bfloat16]
    let key = Key(
      rows: rows, inner: inner, columns: columns, aStride: a.rowStride, bStride: b.rowStride, cStride: c.rowStride,
      flags: switches.reduce(0) { $0 << 1 | ($1 ? 1 : 0) })
    let call = Call(
      product: products[key] ?? make(key, a, aTransposed, b, bTransposed, c, accumulates), a: a.base, b: b.base,
      c: c.base)
    recordedCalls?.append(call)
    run(call)
  }

  private func run(_ call: Call) {
    let status = cdProductRun(call.product, call.a, call.b, call.c)
    precondition(status == 0, "oneDNN failed with code \(status)")
  }

  /// From now on remembers each product, until `stopRecording`. For measuring what products alone would cost.
  package func startRecording() { recordedCalls = [] }

  package func stopRecording() { recordedCalls = nil }

  /// Computes the recorded products again, on the same memory: the same work with nothing around it.
  package func replay() { recordedCalls?.forEach(run) }

  private func make(
    _ key: Key, _ a: MatrixView, _ aTransposed: Bool, _ b: MatrixView, _ bTransposed: Bool, _ c: MatrixView,
    _ accumulates: Bool
  ) -> OpaquePointer {
    if products.count >= Self.capacity && recordedCalls == nil {
      products.values.forEach { cdProductDestroy($0) }
      products.removeAll(keepingCapacity: true)
    }
    func description(_ view: MatrixView, _ isTransposed: Bool) -> CDMatrix {
      CDMatrix(
        type: view.type == .bfloat16 ? CDBFloat16 : CDFloat32,
        rowStride: Int64(isTransposed ? 1 : view.rowStride), columnStride: Int64(isTransposed ? view.rowStride : 1))
    }
    var status: Int32 = 0
    let product = cdProductCreate(
      Int64(key.rows), Int64(key.inner), Int64(key.columns), description(a, aTransposed), description(b, bTransposed),
      description(c, false), accumulates ? 1 : 0, &status)
    guard let product else {
      preconditionFailure(
        "oneDNN refuses [\(key.rows), \(key.inner)]·[\(key.inner), \(key.columns)] with code \(status)")
    }
    products[key] = product
    return product
  }
}
