import CKernels
import Model

/// A stored number that kernels read and write sixteen at a time, as Floats.
///
/// Kernels are generic over it inside; at their entry they look once at the views' types and call the version that the
/// compiler has made for those.
package protocol VectorElement {
  /// The first `lanes` (1 to 16) elements, zero beyond; no memory beyond them is touched.
  static func load(_ source: UnsafePointer<Self>, _ lanes: Int) -> SIMD16<Float>
  /// Writes the first `lanes` (1 to 16) elements, rounded to nearest, ties to even.
  static func store(_ values: SIMD16<Float>, to target: UnsafeMutablePointer<Self>, _ lanes: Int)
}

extension Float: VectorElement {
  @inline(__always)
  package static func load(_ source: UnsafePointer<Float>, _ lanes: Int) -> SIMD16<Float> {
    ckLoadFloats(source, lanes)
  }

  @inline(__always)
  package static func store(_ values: SIMD16<Float>, to target: UnsafeMutablePointer<Float>, _ lanes: Int) {
    ckStoreFloats(values, target, lanes)
  }
}

extension BFloat16: VectorElement {
  @inline(__always)
  package static func load(_ source: UnsafePointer<BFloat16>, _ lanes: Int) -> SIMD16<Float> {
    ckFloatsFromBFloat16(ckLoadHalves(source, lanes))
  }

  @inline(__always)
  package static func store(_ values: SIMD16<Float>, to target: UnsafeMutablePointer<BFloat16>, _ lanes: Int) {
    ckStoreHalves(ckBFloat16FromFloats(values), target, lanes)
  }
}

extension MatrixView {
  /// The first element of a row, for a kernel that knows the type.
  @inline(__always)
  func row<Element: VectorElement>(_ row: Int, of: Element.Type) -> UnsafeMutablePointer<Element> {
    self.row(row).assumingMemoryBound(to: Element.self)
  }
}
