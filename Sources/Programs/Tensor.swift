/// A value of the program that is being written: what an operation makes when the program runs. Arithmetic with tensors
/// writes operations.
///
/// In `+`, `-`, `*`, `/` and comparisons shapes need not be the same: they are aligned at their last axes, and an axis of
/// length 1, or one that is missing in front, is repeated, as in NumPy. Both sides have one element type. Reductions leave
/// an axis of length 1, so that `x / x.sum(1)` is what it looks like.
package struct Tensor {
  package let builder: ProgramBuilder
  let index: Int
  package let type: TensorType

  package var shape: [Int] { type.shape }

  // MARK: - Shapes

  package func converted(to element: TensorElement) -> Tensor {
    element == type.element ? self : builder.append(.convert(element), [self])
  }

  /// In the type in which everything but products is computed.
  package var float32: Tensor { converted(to: .float32) }

  package func reshaped(_ shape: [Int]) -> Tensor {
    shape == self.shape ? self : builder.append(.reshape(shape), [self])
  }

  /// Axis i of the result is axis `axes[i]` of this.
  package func transposed(_ axes: [Int]) -> Tensor { builder.append(.transpose(axes: axes), [self]) }

  /// Repeated to a shape, by NumPy's rule.
  package func broadcast(to target: [Int]) -> Tensor {
    guard target != shape else { return self }
    let skipped = target.count - shape.count
    guard skipped >= 0 else { fatalError("\(type) does not broadcast to \(target)") }
    // StableHLO repeats axes that the operand does not have; those of length 1 are taken out first.
    let kept = shape.indices.filter { shape[$0] == target[skipped + $0] }
    let dropped = shape.indices.filter { !kept.contains($0) }
    guard dropped.allSatisfy({ shape[$0] == 1 }) else { fatalError("\(type) does not broadcast to \(target)") }
    return builder.append(
      .broadcast(target, axes: kept.map { skipped + $0 }), [reshaped(kept.map { shape[$0] })])
  }

  /// The elements in a range along one axis.
  package func slice(_ axis: Int, _ range: Range<Int>) -> Tensor {
    guard range != 0..<shape[axis] else { return self }
    var ranges = shape.map { 0..<$0 }
    ranges[axis] = range
    return builder.append(.slice(ranges), [self])
  }

  /// The consecutive parts of these lengths along one axis.
  package func split(_ axis: Int, _ lengths: [Int]) -> [Tensor] {
    var start = 0
    return lengths.map { length in
      defer { start += length }
      return slice(axis, start..<start + length)
    }
  }

  /// Tensors one after another along an axis.
  package static func concatenated(_ tensors: [Tensor], _ axis: Int) -> Tensor {
    tensors.count == 1 ? tensors[0] : tensors[0].builder.append(.concatenate(axis: axis), tensors)
  }

  /// The same type with one number everywhere.
  package func filled(_ value: Double) -> Tensor { builder.constant(value, type) }

  /// int32, of this shape: each element's index along an axis.
  package func indices(_ axis: Int) -> Tensor { builder.iota(TensorType(.int32, shape), axis: axis) }

  /// This, not to be computed before another tensor is there.
  package func after(_ other: Tensor) -> Tensor { builder.append(.barrier, [self, other]) }

  // MARK: - Elements

  private func unary(_ kind: Operation.Unary) -> Tensor { builder.append(.unary(kind), [self]) }

  package var exponential: Tensor { unary(.exponential) }
  package var logarithm: Tensor { unary(.log) }
  /// 1 / (1 + e⁻ˣ)
  package var sigmoid: Tensor { unary(.logistic) }
  package var reciprocalSquareRoot: Tensor { unary(.rsqrt) }
  package var squareRoot: Tensor { unary(.sqrt) }

  package static prefix func - (x: Tensor) -> Tensor { x.unary(.negate) }

  private static func aligned(_ left: Tensor, _ right: Tensor) -> [Tensor] {
    let count = max(left.shape.count, right.shape.count)
    func padded(_ shape: [Int]) -> [Int] { [Int](repeating: 1, count: count - shape.count) + shape }
    let target = zip(padded(left.shape), padded(right.shape)).map { max($0, $1) }
    return [left.broadcast(to: target), right.broadcast(to: target)]
  }

  private static func binary(_ kind: Operation.Binary, _ left: Tensor, _ right: Tensor) -> Tensor {
    left.builder.append(.binary(kind), aligned(left, right))
  }

  package static func + (left: Tensor, right: Tensor) -> Tensor { binary(.add, left, right) }
  package static func - (left: Tensor, right: Tensor) -> Tensor { binary(.subtract, left, right) }
  package static func * (left: Tensor, right: Tensor) -> Tensor { binary(.multiply, left, right) }
  package static func / (left: Tensor, right: Tensor) -> Tensor { binary(.divide, left, right) }
  package static func + (left: Tensor, right: Double) -> Tensor { left + left.filled(right) }
  package static func - (left: Tensor, right: Double) -> Tensor { left - left.filled(right) }
  package static func - (left: Double, right: Tensor) -> Tensor { right.filled(left) - right }
  package static func * (left: Tensor, right: Double) -> Tensor { left * left.filled(right) }
  package static func * (left: Double, right: Tensor) -> Tensor { right * left }
  package static func / (left: Double, right: Tensor) -> Tensor { right.filled(left) / right }

  package static func maximum(_ left: Tensor, _ right: Tensor) -> Tensor { binary(.maximum, left, right) }
  package static func minimum(_ left: Tensor, _ right: Tensor) -> Tensor { binary(.minimum, left, right) }

  /// Of the bits of int32.
  package static func ^ (left: Tensor, right: Tensor) -> Tensor { binary(.xor, left, right) }

  /// The bits of int32 moved by some places towards the lowest, zeros coming in.
  package func shiftedRight(_ places: Int) -> Tensor { Self.binary(.shiftRight, self, filled(Double(places))) }

  private static func compare(_ kind: Operation.Comparison, _ left: Tensor, _ right: Tensor) -> Tensor {
    left.builder.append(.compare(kind), aligned(left, right))
  }

  package static func .== (left: Tensor, right: Tensor) -> Tensor { compare(.equal, left, right) }
  package static func .< (left: Tensor, right: Tensor) -> Tensor { compare(.less, left, right) }
  package static func .<= (left: Tensor, right: Tensor) -> Tensor { compare(.lessOrEqual, left, right) }
  package static func .& (left: Tensor, right: Tensor) -> Tensor { binary(.and, left, right) }

  /// This where `condition`, of this shape or one that broadcasts to it, is true, and another of this type elsewhere.
  package func kept(where condition: Tensor, else other: Tensor) -> Tensor {
    builder.append(.select, [condition.broadcast(to: shape), self, other])
  }

  package func kept(where condition: Tensor, else other: Double) -> Tensor {
    kept(where: condition, else: filled(other))
  }

  // MARK: - Reductions, which leave an axis of length 1

  private func reduced(_ kind: Operation.Reduction, _ axis: Int) -> Tensor {
    var shape = shape
    shape[axis] = 1
    return builder.append(.reduce(kind, axes: [axis]), [self]).reshaped(shape)
  }

  package func sum(_ axis: Int) -> Tensor { reduced(.sum, axis) }
  package func mean(_ axis: Int) -> Tensor { sum(axis) * (1 / Double(shape[axis])) }
  package func maximum(_ axis: Int) -> Tensor { reduced(.maximum, axis) }
  package func minimum(_ axis: Int) -> Tensor { reduced(.minimum, axis) }

  // MARK: - Replicas

  /// What an exchange with all other replicas gives.
  package func exchanged(_ kind: Operation.Exchange) -> Tensor {
    builder.append(.exchange(kind, replicas: builder.replicas), [self])
  }

  // MARK: - Products and rows

  /// Sums of products, float32: see `Operation.product`.
  package func product(_ right: Tensor, _ axes: ProductAxes) -> Tensor {
    builder.append(.product(axes), [self, right])
  }

  /// This matrix times another, either of them transposed first; float32.
  package func times(_ right: Tensor, transposed: Bool = false, rightTransposed: Bool = false) -> Tensor {
    product(right, ProductAxes(leftContracted: [transposed ? 0 : 1], rightContracted: [rightTransposed ? 1 : 0]))
  }

  /// For each of some row numbers, [count] of int32, the row of this.
  package func rows(_ numbers: Tensor) -> Tensor { builder.append(.gatherRows, [self, numbers]) }

  /// This, with `rows` added to the rows of these numbers; numbers outside are skipped.
  package func adding(_ rows: Tensor, toRows numbers: Tensor) -> Tensor {
    builder.append(.scatterAddRows, [self, numbers, rows])
  }

  /// See `AttentionPass`, which says what the operands after the queries, this, are.
  package func attention(_ pass: AttentionPass, _ operands: [Tensor], longest: Int) -> Tensor {
    builder.append(.attention(pass, longest: longest), [self] + operands)
  }

  /// The sums of all elements along an axis up to each, itself included: by doubling, so log₂ of the length additions.
  package func cumulativeSum(_ axis: Int) -> Tensor {
    var (sum, reach) = (self, 1)
    while reach < shape[axis] {
      let zeros = sum.slice(axis, 0..<reach).filled(0)
      sum = sum + Tensor.concatenated([zeros, sum.slice(axis, 0..<shape[axis] - reach)], axis)
      reach *= 2
    }
    return sum
  }
}
