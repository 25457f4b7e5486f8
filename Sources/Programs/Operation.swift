/// The primitive operations of programs: everything that training a transformer is made of. Each is one of StableHLO's
/// (https://openxla.org/stablehlo/spec), of which this is the part that is used, except `attention`.
package enum Operation: Hashable, Sendable {
  /// A tensor from outside, by its place among the program's inputs.
  case input(Int)
  /// The same number everywhere.
  case constant(Double)
  /// Each element's index along an axis.
  case iota(axis: Int)
  /// The same numbers as another element type; floats become bfloat16 by rounding to nearest, ties to even.
  case convert(TensorElement)
  /// The same elements in the same order.
  case reshape([Int])
  /// Axis i of the result is axis `axes[i]` of the operand.
  case transpose(axes: [Int])
  /// Axis i of the operand is axis `axes[i]` of the result; along all others the operand is repeated.
  case broadcast([Int], axes: [Int])
  /// The elements in a range along each axis.
  case slice([Range<Int>])
  /// Operands one after another along an axis.
  case concatenate(axis: Int)
  case unary(Unary)
  case binary(Binary)
  /// A boolean for each pair of elements.
  case compare(Comparison)
  /// Of three operands: where the first is true the second, elsewhere the third.
  case select
  /// One number for all elements along the axes, which the result does not have.
  case reduce(Reduction, axes: [Int])
  /// Sums of products over the contracted axes, in float32. The result has the batch axes, then the left operand's other
  /// axes, then the right one's.
  case product(ProductAxes)
  /// Row i of the result is the row of the first operand that the second, [count] of int32, names at i. A row is all that
  /// has one index along the first axis. Numbers outside the table are taken for the nearest inside.
  case gatherRows
  /// The first operand, with each row of the third added to the row that the second, [count] of int32, names. Numbers
  /// outside the table are skipped.
  case scatterAddRows
  /// The first operand, not to be computed before the second: keeps a compiler from merging what is computed twice on
  /// purpose, to save memory, into one.
  case barrier
  /// What attention and its gradients come to, for compilers that have a kernel of it; see `AttentionPass`.
  ///
  /// - Parameter longest: the most tokens of a document, by which operations are counted.
  case attention(AttentionPass, longest: Int)
  /// What goes from replica to replica, float32: see `Program.replicas`.
  case exchange(Exchange, replicas: Int)

  package enum Unary: String, Sendable, CaseIterable {
    case negate, exponential, log, logistic, rsqrt, sqrt
  }

  /// `and` is of booleans, `xor` and `shiftRight` are of the bits of int32, the others of numbers. Those of int32 wrap around.
  package enum Binary: String, Sendable, CaseIterable {
    case add, subtract, multiply, divide, maximum, minimum, and, xor
    /// Zeros come in; by 0 to 31 places.
    case shiftRight = "shift_right_logical"

    var isOfBits: Bool { self == .xor || self == .shiftRight }
  }

  package enum Comparison: String, Sendable, CaseIterable {
    case equal = "EQ"
    case less = "LT"
    case lessOrEqual = "LE"
  }

  package enum Reduction: String, Sendable, CaseIterable {
    case sum = "add"
    case maximum, minimum
  }

  /// Operand and result are lists, [count], except those of `sum`. A part is one of as many equal ones as there are replicas.
  package enum Exchange: String, Sendable, CaseIterable {
    /// The sum of all replicas' operands.
    case sum = "all_reduce"
    /// Of that sum the replica's own part.
    case partOfSum = "reduce_scatter"
    /// All replicas' operands one after another.
    case all = "all_gather"
    /// Of the operand the replica's own part.
    case part
  }
}

/// Which axes of two operands a product pairs.
package struct ProductAxes: Hashable, Sendable {
  /// Axes that both have and the result keeps: a product for each index.
  package var leftBatch, rightBatch: [Int]
  /// Axes that are summed over.
  package var leftContracted, rightContracted: [Int]

  package init(
    leftBatch: [Int] = [], rightBatch: [Int] = [], leftContracted: [Int], rightContracted: [Int]
  ) {
    self.leftBatch = leftBatch
    self.rightBatch = rightBatch
    self.leftContracted = leftContracted
    self.rightContracted = rightContracted
  }

  /// The axes that are neither, in order.
  func free(left: TensorType) -> [Int] { left.shape.indices.filter { !(leftBatch + leftContracted).contains($0) } }
  func free(right: TensorType) -> [Int] { right.shape.indices.filter { !(rightBatch + rightContracted).contains($0) } }
}
