/// Matrix products on one thread: each worker of a team has its own.
///
/// Products accumulate in fp32 whatever the element types. `ProductKernel` computes them: oneDNN, or in a portable
/// build our own kernel.
package final class MatrixProducts {
  /// The library that computes the products, as "oneDNN 2.6.3".
  package static var kernelName: String { ProductKernel.name }

  /// What the code of the products takes in memory, libraries and compiled products included: measured.
  package static var codeBytes: Int { ProductKernel.codeBytes }

  private let kernel = ProductKernel()
  private var recorded: [MatrixProduct]?

  package init() {}

  /// c = a·b, or c += a·b.
  ///
  /// - Parameters:
  ///   - a: [rows, inner]; `aTransposed`: stored [inner, rows].
  ///   - b: [inner, columns] of the same type as `a`; `bTransposed`: stored [columns, inner], as weights are.
  ///   - c: [rows, columns], float32 or of the type of `a`, overwritten, or added to if `accumulates`; overlaps neither
  ///     `a` nor `b`. Nothing happens if `inner` is 0.
  package func multiply(
    _ a: MatrixView, aTransposed: Bool = false, _ b: MatrixView, bTransposed: Bool = false,
    into c: MatrixView, accumulates: Bool = false
  ) {
    let product = MatrixProduct(
      a: a, b: b, c: c, aTransposed: aTransposed, bTransposed: bTransposed, accumulates: accumulates)
    guard product.rows > 0, product.columns > 0, product.inner > 0 else { return }
    recorded?.append(product)
    kernel.multiply(product)
  }

  /// Records each product from now on, until `stopRecording`. For measuring what products alone would cost.
  package func startRecording() { recorded = [] }

  package func stopRecording() { recorded = nil }

  /// Computes the recorded products again, on the same memory: the same work with nothing around it.
  package func replay() { recorded?.forEach(kernel.multiply) }
}

/// A product that is to be computed: see `MatrixProducts.multiply`.
package struct MatrixProduct {
  package let a: MatrixView
  package let b: MatrixView
  package let c: MatrixView
  package let aTransposed: Bool
  package let bTransposed: Bool
  package let accumulates: Bool

  package var rows: Int { c.rows }
  package var inner: Int { aTransposed ? a.rows : a.columns }
  package var columns: Int { c.columns }

  package init(
    a: MatrixView, b: MatrixView, c: MatrixView, aTransposed: Bool, bTransposed: Bool, accumulates: Bool
  ) {
    self.a = a
    self.b = b
    self.c = c
    self.aTransposed = aTransposed
    self.bTransposed = bTransposed
    self.accumulates = accumulates
    let left = aTransposed ? (a.columns, a.rows) : (a.rows, a.columns)
    let right = bTransposed ? (b.columns, b.rows) : (b.rows, b.columns)
    precondition(
      left == (rows, inner) && right == (inner, columns) && a.type == b.type
        && (c.type == .float32 || c.type == a.type),
      "a product of \(a.type) \(left) and \(b.type) \(right) into \(c.type) \((c.rows, c.columns))")
  }
}
