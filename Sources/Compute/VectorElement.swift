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

/// Calls `body` for `0 ..< count` in steps of sixteen: with the place and 16, and at the end with what is left over.
///
/// The body is compiled twice, so that only the last step has a mask. Pass a local function marked
/// `@inline(__always)`: a closure stays a call for each step, in Swift 6.3.
@inline(__always)
package func forEachSixteen(_ count: Int, _ body: (_ start: Int, _ lanes: Int) -> Void) {
  var start = 0
  while start &+ 16 <= count {
    body(start, 16)
    start &+= 16
  }
  if start < count { body(start, count &- start) }
}

/// Four sums of sixteen lanes, filled in turn: an addition need not wait for the one before it.
package struct FourSums {
  private var a = SIMD16<Float>.zero
  private var b = SIMD16<Float>.zero
  private var c = SIMD16<Float>.zero
  private var d = SIMD16<Float>.zero

  @inline(__always)
  package init() {}

  /// Calls `body` as `forEachSixteen` does, each time with the sum to add to. The order depends on `count` only.
  @inline(__always)
  package mutating func add(_ count: Int, _ body: (_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) -> Void) {
    var start = 0
    while start &+ 64 <= count {
      body(start, 16, &a)
      body(start &+ 16, 16, &b)
      body(start &+ 32, 16, &c)
      body(start &+ 48, 16, &d)
      start &+= 64
    }
    while start &+ 16 <= count {
      body(start, 16, &a)
      start &+= 16
    }
    if start < count { body(start, count &- start, &b) }
  }

  /// The sum of each lane.
  @inline(__always)
  package var lanes: SIMD16<Float> { (a + b) + (c + d) }

  @inline(__always)
  package var total: Float { ckSum(lanes) }
}
