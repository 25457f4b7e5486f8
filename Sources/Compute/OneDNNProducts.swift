// The one place that chooses who computes matrix products: Package.swift defines MINIMIND_ONEDNN unless the build is to
// run anywhere.
#if MINIMIND_ONEDNN

  import COneDNN

  typealias ProductKernel = OneDNNProducts

  /// Matrix products by oneDNN on one thread.
  ///
  /// oneDNN compiles code for each shape; a compiled product is kept and used again. Products of bfloat16 it knows from
  /// AVX-512 on; on other processors our own kernel computes them.
  final class OneDNNProducts {
    /// What `info` calls these products.
    static var name: String {
      let version = cdVersion()
      let name = "oneDNN \(version / 10000).\(version / 100 % 100).\(version % 100)"
      return multipliesBFloat16 ? name : "\(name), in bf16 \(TiledProducts.name)"
    }

    /// Whether oneDNN takes bfloat16 on this processor: asked with the smallest product.
    private static let multipliesBFloat16: Bool = {
      var status: Int32 = 0
      let matrix = CDMatrix(type: CDBFloat16, rowStride: 1, columnStride: 1)
      let product = cdProductCreate(1, 1, 1, matrix, matrix, matrix, 0, &status)
      cdProductDestroy(product)
      return product != nil
    }()

    /// Computes products of bfloat16 where oneDNN does not.
    private let ownProducts = multipliesBFloat16 ? nil : TiledProducts()

    /// The library, and the products of a training run.
    static let codeBytes = 18 << 20

    /// From now on products that this thread makes and runs use this thread only.
    static func useOneThread() { cdUseOneThread() }

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

    /// Enough for every shape of a run; beyond it the cache is emptied, so that an endless series of new shapes does
    /// not fill the memory.
    private static let capacity = 1024
    private var compiled: [Key: OpaquePointer] = [:]

    deinit { compiled.values.forEach { cdProductDestroy($0) } }

    /// Computes the product; see `MatrixProducts.multiply`.
    func multiply(_ product: MatrixProduct) {
      if let ownProducts, product.a.type == .bfloat16 { return ownProducts.multiply(product) }
      let switches = [
        product.aTransposed, product.bTransposed, product.accumulates, product.a.type == .bfloat16,
        product.c.type == .bfloat16,
      ]
      let key = Key(
        rows: product.rows, inner: product.inner, columns: product.columns, aStride: product.a.rowStride,
        bStride: product.b.rowStride, cStride: product.c.rowStride,
        flags: switches.reduce(0) { $0 << 1 | ($1 ? 1 : 0) })
      let status = cdProductRun(compiled[key] ?? compile(product, key), product.a.base, product.b.base, product.c.base)
      precondition(status == 0, "oneDNN failed with code \(status)")
    }

    private func compile(_ product: MatrixProduct, _ key: Key) -> OpaquePointer {
      if compiled.count >= Self.capacity {
        compiled.values.forEach { cdProductDestroy($0) }
        compiled.removeAll(keepingCapacity: true)
      }
      func description(_ view: MatrixView, _ isTransposed: Bool) -> CDMatrix {
        CDMatrix(
          type: view.type == .bfloat16 ? CDBFloat16 : CDFloat32,
          rowStride: Int64(isTransposed ? 1 : view.rowStride), columnStride: Int64(isTransposed ? view.rowStride : 1))
      }
      var status: Int32 = 0
      let made = cdProductCreate(
        Int64(key.rows), Int64(key.inner), Int64(key.columns), description(product.a, product.aTransposed),
        description(product.b, product.bTransposed), description(product.c, false), product.accumulates ? 1 : 0,
        &status)
      guard let made else {
        preconditionFailure(
          "oneDNN refuses [\(key.rows), \(key.inner)]·[\(key.inner), \(key.columns)] with code \(status)")
      }
      compiled[key] = made
      return made
    }
  }

#else

  typealias ProductKernel = TiledProducts

#endif
