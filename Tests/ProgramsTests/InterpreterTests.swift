import Foundation
import Model
import Programs
import Testing

/// What each primitive operation means, on numbers small enough to check by hand.
@Suite("Interpreter")
struct InterpreterTests {
  /// What `body` makes of tensors of these numbers.
  private func run(_ inputs: HostTensor..., body: ([Tensor]) -> Tensor) -> HostTensor {
    let builder = ProgramBuilder()
    let tensors = inputs.enumerated().map { builder.input("\($0)", $1.type) }
    return Interpreter().run(builder.program([body(tensors)]), inputs)[0]
  }

  /// 0, 1, 2, … of a shape.
  private func counting(_ shape: Int...) -> HostTensor {
    HostTensor((0..<shape.reduce(1, *)).map(Float.init), shape)
  }

  @Test("constants and indices")
  func sources() {
    let x = counting(2, 3)
    #expect(run(x) { $0[0].filled(2.5) } == HostTensor([Float](repeating: 2.5, count: 6), [2, 3]))
    #expect(run(x) { $0[0].indices(0) } == HostTensor(integers: [0, 0, 0, 1, 1, 1], [2, 3]))
    #expect(run(x) { $0[0].indices(1) } == HostTensor(integers: [0, 1, 2, 0, 1, 2], [2, 3]))
    #expect(run(x) { $0[0].indices(1).float32 } == HostTensor([0, 1, 2, 0, 1, 2], [2, 3]))
  }

  @Test("bfloat16 is rounded to nearest, ties to even; booleans become 0 and 1")
  func convert() {
    let x = HostTensor([1, 1.003_906_25, 1.011_718_75, -3.3], [4])
    let rounded = run(x) { $0[0].converted(to: .bfloat16) }
    #expect(rounded.floats == [1, 1, 1.015_625, BFloat16(-3.3).float])
    #expect(run(rounded) { $0[0].float32 }.floats == rounded.floats)
    #expect(run(x) { ($0[0] .< $0[0].filled(1.01)).float32 }.floats == [1, 1, 0, 1])
    #expect(run(x) { ($0[0] .< $0[0].filled(1.01)).converted(to: .int32) }.integers == [1, 1, 0, 1])
    #expect(run(x) { $0[0].converted(to: .int32) }.integers == [1, 1, 1, -3])
  }

  @Test("shapes: reshape, transpose, slice, concatenate, split")
  func shapes() {
    let x = counting(2, 3)
    #expect(run(x) { $0[0].reshaped([3, 2]) } == counting(3, 2))
    #expect(run(x) { $0[0].transposed([1, 0]) } == HostTensor([0, 3, 1, 4, 2, 5], [3, 2]))
    #expect(run(counting(2, 3, 2)) { $0[0].transposed([2, 0, 1]) }.floats == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11])
    #expect(run(x) { $0[0].slice(1, 1..<3) } == HostTensor([1, 2, 4, 5], [2, 2]))
    #expect(run(x) { .concatenated([$0[0], $0[0].slice(1, 0..<1)], 1) }.floats == [0, 1, 2, 0, 3, 4, 5, 3])
    #expect(run(x) { .concatenated([$0[0], $0[0].slice(0, 1..<2)], 0) }.floats == [0, 1, 2, 3, 4, 5, 3, 4, 5])
    #expect(run(x) { $0[0].split(1, [1, 2])[1] } == HostTensor([1, 2, 4, 5], [2, 2]))
  }

  @Test("shapes are aligned at their last axes, and axes of length 1 repeated")
  func broadcast() {
    let (x, row, column) = (counting(2, 3), HostTensor([10, 20, 30], [3]), HostTensor([100, 200], [2, 1]))
    #expect(run(x, row) { $0[0] + $0[1] }.floats == [10, 21, 32, 13, 24, 35])
    #expect(run(x, column) { $0[0] + $0[1] }.floats == [100, 101, 102, 203, 204, 205])
    #expect(run(row, column) { $0[0] + $0[1] }.floats == [110, 120, 130, 210, 220, 230])
    #expect(run(x) { $0[0] * 2 - 1 }.floats == [-1, 1, 3, 5, 7, 9])
  }

  @Test("elements: arithmetic, functions, comparisons, choices")
  func elements() {
    let (x, y) = (HostTensor([0.5, -2, 3], [3]), HostTensor([2, -2, -1], [3]))
    #expect(run(x, y) { $0[0] - $0[1] }.floats == [-1.5, 0, 4])
    #expect(run(x, y) { $0[0] * $0[1] }.floats == [1, 4, -3])
    #expect(run(x, y) { $0[0] / $0[1] }.floats == [0.25, 1, -3])
    #expect(run(x, y) { .maximum($0[0], $0[1]) }.floats == [2, -2, 3])
    #expect(run(x, y) { .minimum($0[0], $0[1]) }.floats == [0.5, -2, -1])
    #expect(run(x) { -$0[0] }.floats == [-0.5, 2, -3])
    #expect(run(x) { $0[0].exponential }.floats == x.floats.map { exp($0) })
    #expect(run(x) { ($0[0] * $0[0]).logarithm }.floats == x.floats.map { log($0 * $0) })
    #expect(run(x) { ($0[0] * $0[0]).squareRoot }.floats == [0.5, 2, 3])
    #expect(run(x) { ($0[0] * $0[0]).reciprocalSquareRoot }.floats == [2, 0.5, 1 / 3])
    #expect(run(x) { $0[0].sigmoid }.floats == x.floats.map { 1 / (1 + exp(-$0)) })
    #expect(run(x, y) { $0[0] .== $0[1] }.booleans == [false, true, false])
    #expect(run(x, y) { $0[0] .< $0[1] }.booleans == [true, false, false])
    #expect(run(x, y) { $0[0] .<= $0[1] }.booleans == [true, true, false])
    #expect(run(x, y) { ($0[0] .<= $0[1]) .& ($0[0] .== $0[1]) }.booleans == [false, true, false])
    #expect(run(x, y) { $0[0].kept(where: $0[0] .== $0[1], else: 7) }.floats == [7, -2, 7])
    let (i, j) = (HostTensor(integers: [7, -7, 5], [3]), HostTensor(integers: [2, 2, -3], [3]))
    #expect(run(i, j) { $0[0] / $0[1] }.integers == [3, -3, -1])
    #expect(run(i, j) { $0[0] * $0[1] - $0[0] }.integers == [7, -7, -20])
    #expect(run(i, j) { -Tensor.maximum($0[0], $0[1]) }.integers == [-7, -2, -5])
  }

  @Test("reductions keep their axis, with one element")
  func reductions() {
    let x = HostTensor([1, -2, 3, 4, 5, -6], [2, 3])
    #expect(run(x) { $0[0].sum(0) } == HostTensor([5, 3, -3], [1, 3]))
    #expect(run(x) { $0[0].sum(1) } == HostTensor([2, 3], [2, 1]))
    #expect(run(x) { $0[0].mean(1) }.floats == [2 * Float(1.0 / 3), 1])
    #expect(run(x) { $0[0].maximum(1) }.floats == [3, 5])
    #expect(run(x) { $0[0].minimum(0) }.floats == [1, -2, -6])
    let i = HostTensor(integers: [4, -1, 2, 8], [2, 2])
    #expect(run(i) { $0[0].minimum(1) }.integers == [-1, 2])
    #expect(run(i) { $0[0].cumulativeSum(0) }.integers == [4, -1, 6, 7])
    #expect(run(counting(7, 1)) { $0[0].cumulativeSum(0) }.floats == [0, 1, 3, 6, 10, 15, 21])
  }

  @Test("products pair the axes that they are told to")
  func products() {
    let (x, y) = (counting(2, 3), counting(2, 3))
    #expect(run(x, y) { $0[0].times($0[1], rightTransposed: true) } == HostTensor([5, 14, 14, 50], [2, 2]))
    #expect(run(x, y) { $0[0].times($0[1], transposed: true) }.floats == [9, 12, 15, 12, 17, 22, 15, 22, 29])
    #expect(run(x, counting(3, 1)) { $0[0].times($0[1]) }.floats == [5, 14])
    // Batch axis 1 on the left, 0 on the right: [3, 2] from [2, 3, 2] and [3, 2].
    let batched = run(counting(2, 3, 2), counting(3, 2)) {
      $0[0].product($0[1], ProductAxes(leftBatch: [1], rightBatch: [0], leftContracted: [2], rightContracted: [1]))
    }
    #expect(batched == HostTensor([1, 7, 13, 43, 41, 95], [3, 2]))
    // Two contracted axes.
    let both = ProductAxes(leftContracted: [1, 0], rightContracted: [1, 0])
    #expect(run(x, y) { $0[0].product($0[1], both) } == HostTensor([55], []))
    // Of bfloat16, added up in fp32.
    let half = run(HostTensor([256, 1], [1, 2], .bfloat16)) { $0[0].times($0[0].filled(1), rightTransposed: true) }
    #expect(half == HostTensor([257], [1, 1]))
  }

  @Test("rows by number: outside of the table the nearest is read and none is written")
  func rows() {
    let (table, numbers) = (counting(3, 2), HostTensor(integers: [2, 0, 2, 9, -1], [5]))
    #expect(run(table, numbers) { $0[0].rows($0[1]) } == HostTensor([4, 5, 0, 1, 4, 5, 4, 5, 0, 1], [5, 2]))
    let added = run(table, numbers, counting(5, 2)) { $0[0].adding($0[2], toRows: $0[1]) }
    #expect(added == HostTensor([2, 4, 2, 3, 8, 11], [3, 2]))
    let list = HostTensor(integers: [5, 6, 7], [3])
    #expect(run(list, numbers) { $0[0].rows($0[1]) }.integers == [7, 5, 7, 7, 5])
  }

  @Test("a barrier changes nothing; an input may be an output; what no output needs is left out")
  func plumbing() {
    let builder = ProgramBuilder()
    let x = builder.input("x", TensorType(.float32, [2]))
    let y = x * 3
    _ = x + 1
    let program = builder.program([y.after(x), x, y], donated: ["x": 0])
    let outputs = Interpreter().run(program, [HostTensor([1, 2], [2])])
    #expect(outputs.map(\.floats) == [[3, 6], [1, 2], [3, 6]])
    #expect(program.inputs[0].output == 0)
    // x, the constant 3, y and what the barrier passes on are 8 bytes each; 3 is gone after y.
    #expect(program.instructions.count == 4 && program.peakBytes == 3 * 8)
  }
}
