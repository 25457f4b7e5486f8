/// Why a program cannot be.
package struct ProgramError: Error, Equatable, CustomStringConvertible {
  package var description: String

  init(_ operation: Operation, _ operands: [TensorType], _ fault: String) {
    description = "\(operation) of \(operands.map(\.description).joined(separator: ", ")): \(fault)"
  }
}

extension Operation {
  /// The type of what the operation makes of operands of these types. Says which operands it takes: everything that the
  /// builder of programs accepts passes here.
  ///
  /// - Parameter declared: the result's type where the operands do not say it: of an input, a constant, an iota.
  /// - Throws: `ProgramError`.
  package func result(_ operands: [TensorType], declared: TensorType? = nil) throws(ProgramError) -> TensorType {
    func check(_ condition: Bool, _ fault: @autoclosure () -> String) throws(ProgramError) {
      if !condition { throw ProgramError(self, operands, fault()) }
    }
    func count(_ expected: Int) throws(ProgramError) {
      try check(operands.count == expected, "\(operands.count) operands in place of \(expected)")
    }
    func source() throws(ProgramError) -> TensorType {
      try count(0)
      guard let declared else { throw ProgramError(self, operands, "no type is declared") }
      try check(declared.shape.allSatisfy { $0 > 0 }, "\(declared) is empty")
      return declared
    }
    func axes(_ axes: [Int], of type: TensorType) throws(ProgramError) {
      try check(
        Set(axes).count == axes.count && axes.allSatisfy(type.shape.indices.contains),
        "\(axes) are not axes of \(type)")
    }
    /// Of rows of a table, by a list of numbers.
    func rows() throws(ProgramError) {
      try check(!operands[0].shape.isEmpty, "\(operands[0]) has no rows")
      try check(
        operands[1].element == .int32 && operands[1].shape.count == 1, "\(operands[1]) is not a list of int32")
    }

    switch self {
    case .input: return try source()
    case .constant:
      let type = try source()
      try check(type.element != .boolean, "a boolean")
      return type
    case .iota(let axis):
      let type = try source()
      try axes([axis], of: type)
      try check(type.element != .boolean, "booleans")
      return type
    case .convert(let element):
      try count(1)
      try check(element != .boolean, "a number is no boolean; compare it")
      return TensorType(element, operands[0].shape)
    case .reshape(let shape):
      try count(1)
      let result = TensorType(operands[0].element, shape)
      try check(
        shape.allSatisfy { $0 > 0 } && result.count == operands[0].count,
        "\(operands[0].count) elements in place of \(result.count)")
      return result
    case .transpose(let order):
      try count(1)
      try axes(order, of: operands[0])
      try check(order.count == operands[0].shape.count, "\(order) leaves axes out")
      return TensorType(operands[0].element, order.map { operands[0].shape[$0] })
    case .broadcast(let shape, let places):
      try count(1)
      let result = TensorType(operands[0].element, shape)
      try axes(places, of: result)
      try check(
        places.count == operands[0].shape.count && zip(places, operands[0].shape).allSatisfy { shape[$0] == $1 },
        "does not fit \(result) at the axes \(places)")
      return result
    case .slice(let ranges):
      try count(1)
      try check(
        ranges.count == operands[0].shape.count
          && zip(ranges, operands[0].shape).allSatisfy { !$0.isEmpty && $0.lowerBound >= 0 && $0.upperBound <= $1 },
        "\(ranges) are not in it")
      return TensorType(operands[0].element, ranges.map(\.count))
    case .concatenate(let axis):
      try check(!operands.isEmpty, "nothing")
      try axes([axis], of: operands[0])
      var result = operands[0]
      for operand in operands.dropFirst() {
        var fitting = operand
        try check(operand.shape.count == result.shape.count, "different numbers of axes")
        fitting.shape[axis] = result.shape[axis]
        try check(fitting == result, "\(operand) does not fit \(operands[0]) beside axis \(axis)")
        result.shape[axis] += operand.shape[axis]
      }
      return result
    case .unary(let kind):
      try count(1)
      try check(operands[0].element.isFloat || kind == .negate && operands[0].element == .int32, "not floats")
      return operands[0]
    case .binary(let kind):
      try count(2)
      try check(operands[0] == operands[1], "different types")
      try check(
        (operands[0].element == .boolean) == (kind == .and) && (operands[0].element == .int32 || !kind.isOfBits),
        "elements that it is not defined for")
      return operands[0]
    case .compare:
      try count(2)
      try check(operands[0] == operands[1], "different types")
      try check(operands[0].element != .boolean, "booleans")
      return TensorType(.boolean, operands[0].shape)
    case .select:
      try count(3)
      try check(operands[1] == operands[2], "different types")
      try check(operands[0] == TensorType(.boolean, operands[1].shape), "no boolean for each element")
      return operands[1]
    case .reduce(_, let reduced):
      try count(1)
      try axes(reduced, of: operands[0])
      try check(operands[0].element != .boolean, "booleans")
      let kept = operands[0].shape.indices.filter { !reduced.contains($0) }
      return TensorType(operands[0].element, kept.map { operands[0].shape[$0] })
    case .product(let paired):
      try count(2)
      let (left, right) = (operands[0], operands[1])
      try check(left.element == right.element && left.element.isFloat, "not floats of one type")
      try axes(paired.leftBatch + paired.leftContracted, of: left)
      try axes(paired.rightBatch + paired.rightContracted, of: right)
      for (ours, theirs) in [(paired.leftBatch, paired.rightBatch), (paired.leftContracted, paired.rightContracted)] {
        try check(
          ours.map { left.shape[$0] } == theirs.map { right.shape[$0] }, "axes \(ours) and \(theirs) differ in length")
      }
      return TensorType(
        .float32,
        paired.leftBatch.map { left.shape[$0] } + paired.free(left: left).map { left.shape[$0] }
          + paired.free(right: right).map { right.shape[$0] })
    case .gatherRows:
      try count(2)
      try rows()
      return TensorType(operands[0].element, operands[1].shape + operands[0].shape.dropFirst())
    case .scatterAddRows:
      try count(3)
      try rows()
      try check(operands[0].element != .boolean, "booleans")
      try check(
        operands[2] == TensorType(operands[0].element, operands[1].shape + operands[0].shape.dropFirst()),
        "\(operands[2]) is not a row of \(operands[0]) for each number")
      return operands[0]
    case .barrier:
      try count(2)
      return operands[0]
    case .attention(let pass, let longest):
      try count(pass.operandCount)
      try check(operands[0].element.isFloat, "not floats")
      try check(operands[0].shape.count == 3 && operands[1].shape.count == 3, "not [tokens, heads, size]")
      let shape = AttentionShape(operands)
      try check(operands == shape.operands(pass), "operands that do not fit each other")
      try check(shape.heads % shape.groups == 0, "\(shape.heads) heads of queries for \(shape.groups) of keys")
      try check(longest > 0, "documents of \(longest) tokens")
      return shape.result(pass)
    case .exchange(let kind, let replicas):
      try count(1)
      let operand = operands[0]
      try check(operand.element == .float32, "not of float32")
      try check(replicas > 0, "\(replicas) replicas")
      if kind == .sum { return operand }
      try check(operand.shape.count == 1, "no list")
      if kind == .all { return TensorType(.float32, [replicas * operand.count]) }
      try check(operand.count % replicas == 0, "no whole part for each of \(replicas) replicas")
      return TensorType(.float32, [operand.count / replicas])
    }
  }
}
