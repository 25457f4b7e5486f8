/// A computation over tensors of fixed shapes: inputs in, outputs out, between them one operation after another. It holds no
/// numbers other than constants, so the same program runs anywhere: by `Interpreter`, or compiled from its text.
package struct Program: Hashable, Sendable {
  /// One operation. Its result is known by its place among the instructions.
  package struct Instruction: Hashable, Sendable {
    package var operation: Operation
    /// Instructions before this one.
    package var operands: [Int]
    package var type: TensorType
  }

  package struct Input: Hashable, Sendable {
    package var name: String
    package var type: TensorType
    /// The output that may take the input's memory, which is then gone.
    package var output: Int?
  }

  /// How many devices run it at the same time, each with inputs of its own; only `Operation.exchange` sees the others.
  package let replicas: Int
  package let inputs: [Input]
  package let instructions: [Instruction]
  /// Instructions whose results the program gives.
  package let outputs: [Int]

  package var outputTypes: [TensorType] { outputs.map { instructions[$0].type } }

  /// [instructions] which results nothing needs after each: an input that is never needed is with its own instruction.
  package var lastUses: [[Int]] {
    var last = Array(instructions.indices)
    for (index, instruction) in instructions.enumerated() {
      for operand in instruction.operands { last[operand] = index }
    }
    for output in outputs { last[output] = instructions.count }
    var uses = [[Int]](repeating: [], count: instructions.count + 1)
    for (index, use) in last.enumerated() { uses[use].append(index) }
    return Array(uses.dropLast())
  }

  /// The most bytes that inputs and results take together, each kept from its instruction to its last use. What a compiler
  /// that merges operations needs is less.
  package var peakBytes: Int {
    var (bytes, peak) = (0, 0)
    for (instruction, ended) in zip(instructions, lastUses) {
      bytes += instruction.type.byteCount
      peak = max(peak, bytes)
      for index in ended { bytes -= instructions[index].type.byteCount }
    }
    return peak
  }

  /// Of all inputs.
  package var argumentBytes: Int { inputs.reduce(0) { $0 + $1.type.byteCount } }

  /// Additions and multiplications of all products; those of `Operation.attention` for documents of the greatest length.
  package var productOperations: Int {
    instructions.reduce(0) { sum, instruction in
      let operands = types(ofOperands: instruction)
      switch instruction.operation {
      case .product(let axes):
        return sum + 2 * instruction.type.count * axes.leftContracted.reduce(1) { $0 * operands[0].shape[$1] }
      case .attention(let pass, let longest):
        return sum + 2 * operands[0].count * (longest + 1) / 2 * pass.products
      default: return sum
      }
    }
  }

  func types(ofOperands instruction: Instruction) -> [TensorType] {
    instruction.operands.map { instructions[$0].type }
  }
}
