import Programs
import Testing

/// What the builder of programs refuses: shapes and types are checked before anything runs.
@Suite("Errors in programs")
struct ProgramErrorTests {
  private static let matrix = TensorType(.float32, [2, 3])
  private static let list = TensorType(.int32, [4])
  private static let flags = TensorType(.boolean, [2, 3])
  private static let half = TensorType(.bfloat16, [2, 3])
  private static func heads(_ count: Int) -> TensorType { TensorType(.float32, [4, count, 16]) }

  struct Case: CustomTestStringConvertible {
    var operation: Operation
    var operands: [TensorType]
    var fault: String
    var testDescription: String { "\(operation) of \(operands)" }
  }

  static let cases: [Case] = [
    Case(operation: .constant(1), operands: [], fault: "no type is declared"),
    Case(operation: .convert(.boolean), operands: [matrix], fault: "compare it"),
    Case(operation: .reshape([4]), operands: [matrix], fault: "6 elements in place of 4"),
    Case(operation: .transpose(axes: [0, 0]), operands: [matrix], fault: "[0, 0] are not axes of tensor<2x3xf32>"),
    Case(operation: .transpose(axes: [1]), operands: [matrix], fault: "leaves axes out"),
    Case(operation: .broadcast([3, 2], axes: [0, 1]), operands: [matrix], fault: "does not fit tensor<3x2xf32>"),
    Case(operation: .slice([0..<2, 1..<4]), operands: [matrix], fault: "are not in it"),
    Case(operation: .slice([0..<2]), operands: [matrix], fault: "are not in it"),
    Case(operation: .concatenate(axis: 0), operands: [matrix, half], fault: "does not fit"),
    Case(operation: .concatenate(axis: 0), operands: [matrix, list], fault: "different numbers of axes"),
    Case(operation: .concatenate(axis: 2), operands: [matrix], fault: "[2] are not axes"),
    Case(operation: .unary(.exponential), operands: [list], fault: "not floats"),
    Case(operation: .binary(.add), operands: [matrix, half], fault: "different types"),
    Case(operation: .binary(.add), operands: [flags, flags], fault: "not defined for"),
    Case(operation: .binary(.and), operands: [matrix, matrix], fault: "not defined for"),
    Case(operation: .binary(.add), operands: [matrix], fault: "1 operands in place of 2"),
    Case(operation: .compare(.less), operands: [matrix, list], fault: "different types"),
    Case(operation: .select, operands: [matrix, matrix, matrix], fault: "no boolean for each element"),
    Case(operation: .reduce(.sum, axes: [2]), operands: [matrix], fault: "[2] are not axes"),
    Case(operation: .reduce(.maximum, axes: [0]), operands: [flags], fault: "booleans"),
    Case(
      operation: .product(ProductAxes(leftContracted: [1], rightContracted: [0])), operands: [matrix, matrix],
      fault: "axes [1] and [0] differ in length"),
    Case(
      operation: .product(ProductAxes(leftContracted: [1], rightContracted: [1])), operands: [matrix, half],
      fault: "not floats of one type"),
    Case(operation: .gatherRows, operands: [matrix, matrix], fault: "is not a list of int32"),
    Case(operation: .gatherRows, operands: [TensorType(.float32, []), list], fault: "has no rows"),
    Case(operation: .scatterAddRows, operands: [matrix, list, matrix], fault: "is not a row of"),
    Case(
      operation: .attention(.forward, longest: 8), operands: [heads(4), heads(2)], fault: "2 operands in place of 4"),
    Case(
      operation: .attention(.forward, longest: 8), operands: [heads(4), heads(2), heads(4), list],
      fault: "operands that do not fit each other"),
    Case(
      operation: .attention(.forward, longest: 8), operands: [heads(4), heads(3), heads(3), list],
      fault: "4 heads of queries for 3 of keys"),
    Case(operation: .attention(.forward, longest: 8), operands: [matrix, matrix, matrix, list], fault: "not [tokens"),
    Case(operation: .barrier, operands: [matrix], fault: "1 operands in place of 2"),
  ]

  @Test("what does not fit is refused, with the operation, its operands and why", arguments: cases)
  func refused(test: Case) throws {
    let error = try #require(throws: ProgramError.self) { try test.operation.result(test.operands) }
    #expect(error.description.contains(test.fault), "\(error)")
    for operand in test.operands { #expect(error.description.contains(operand.description), "\(error)") }
  }

  @Test("a program that cannot be ends the process and says what does not fit")
  func builder() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      let builder = ProgramBuilder()
      let x = builder.input("x", TensorType(.float32, [2, 3]))
      _ = x + builder.input("y", TensorType(.float32, [2]))
    }
    #expect(
      String(decoding: result.standardErrorContent, as: UTF8.self).contains(
        "tensor<2xf32> does not broadcast to [2, 3]"))
  }
}
