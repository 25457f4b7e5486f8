import CKernels

/// Calls `body` for `0 ..< count` in steps of sixteen: with the place and 16, and at the end with what is left over.
///
/// The body is compiled twice, so that only the last step has a mask. Pass a local function marked
/// `@inline(__always)`: a closure stays a call for each step, in Swift 6.3.
@inlinable
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
  @usableFromInline var a: SIMD16<Float>
  @usableFromInline var b: SIMD16<Float>
  @usableFromInline var c: SIMD16<Float>
  @usableFromInline var d: SIMD16<Float>

  @inlinable
  @inline(__always)
  package init() { (a, b, c, d) = (.zero, .zero, .zero, .zero) }

  /// Calls `body` as `forEachSixteen` does, each time with the sum to add to. The order depends on `count` only.
  @inlinable
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
  @inlinable
  @inline(__always)
  package var lanes: SIMD16<Float> { (a + b) + (c + d) }

  @inlinable
  @inline(__always)
  package var total: Float { ckSum(lanes) }
}
