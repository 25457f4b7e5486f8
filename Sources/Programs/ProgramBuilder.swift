/// Writes a program, an operation at a time, through the tensors that it gives out (`Tensor`).
///
/// A program that cannot be is a mistake in the code that writes it: it ends the process with what does not fit.
package final class ProgramBuilder {
  private var inputs: [Program.Input] = []
  private var instructions: [Program.Instruction] = []
  /// Of the program.
  let replicas: Int

  package init(replicas: Int = 1) { self.replicas = replicas }

  /// A tensor from outside.
  package func input(_ name: String, _ type: TensorType) -> Tensor {
    inputs.append(Program.Input(name: name, type: type))
    return append(.input(inputs.count - 1), [], declared: type)
  }

  /// The same number everywhere.
  package func constant(_ value: Double, _ type: TensorType) -> Tensor { append(.constant(value), [], declared: type) }

  /// Each element's index along an axis.
  package func iota(_ type: TensorType, axis: Int) -> Tensor { append(.iota(axis: axis), [], declared: type) }

  func append(_ operation: Operation, _ operands: [Tensor], declared: TensorType? = nil) -> Tensor {
    guard operands.allSatisfy({ $0.builder === self }) else { fatalError("\(operation) of another program's tensor") }
    do {
      let type = try operation.result(operands.map(\.type), declared: declared)
      instructions.append(Program.Instruction(operation: operation, operands: operands.map(\.index), type: type))
      return Tensor(builder: self, index: instructions.count - 1, type: type)
    } catch {
      fatalError(error.description)
    }
  }

  /// The program that gives these tensors; what none of them needs is left out.
  ///
  /// - Parameter donated: for inputs, by name, the output that may take their memory; of the same type.
  package func program(_ outputs: [Tensor], donated: [String: Int] = [:]) -> Program {
    for (name, output) in donated {
      guard let place = inputs.firstIndex(where: { $0.name == name }), inputs[place].type == outputs[output].type
      else { fatalError("output \(output) cannot take the memory of '\(name)'") }
      inputs[place].output = output
    }
    var isNeeded = [Bool](repeating: false, count: instructions.count)
    for output in outputs { isNeeded[output.index] = true }
    for (index, instruction) in instructions.enumerated().reversed() {
      if case .input = instruction.operation { isNeeded[index] = true }
      if isNeeded[index] { for operand in instruction.operands { isNeeded[operand] = true } }
    }
    var places = [Int](repeating: 0, count: instructions.count)
    var kept: [Program.Instruction] = []
    for (index, var instruction) in instructions.enumerated() where isNeeded[index] {
      instruction.operands = instruction.operands.map { places[$0] }
      places[index] = kept.count
      kept.append(instruction)
    }
    return Program(
      replicas: replicas, inputs: inputs, instructions: kept, outputs: outputs.map { places[$0.index] })
  }
}
