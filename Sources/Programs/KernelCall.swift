/// A kernel in place of an operation, as XLA calls it on NVIDIA's GPUs (`__gpu$xla.gpu.ptx`): its arguments are the addresses of
/// the operands and of the result, whose last axes are contiguous.
package struct KernelCall: Hashable, Sendable {
  /// Of the function.
  package var name: String
  /// The text that the card's driver compiles.
  package var ptx: String
  /// Blocks along two axes, and the threads of each.
  package var columns, rows, threads: Int

  package init(name: String, ptx: String, columns: Int, rows: Int, threads: Int) {
    (self.name, self.ptx) = (name, ptx)
    (self.columns, self.rows, self.threads) = (columns, rows, threads)
  }

  /// The call as StableHLO has it.
  ///
  /// - Parameters:
  ///   - text: what names the kernel's text in the module.
  ///   - operands: names and types, after another.
  func statement(_ text: String, _ operands: [(name: String, type: TensorType)], _ result: TensorType) -> String {
    func layout(_ type: TensorType) -> String {
      "dense<\(Array(type.shape.indices.reversed()))> : tensor<\(type.shape.count)xindex>"
    }
    let numbers = [
      ("grid_x", columns), ("grid_y", rows), ("grid_z", 1), ("block_x", threads), ("block_y", 1), ("block_z", 1),
      ("shared_mem_bytes", 0),
    ].map { "\($0) = \($1) : i32" }.joined(separator: ", ")
    let types = operands.map(\.type.description).joined(separator: ", ")
    return "stablehlo.custom_call @\"__gpu$xla.gpu.ptx\"(\(operands.map(\.name).joined(separator: ", "))) "
      + "{api_version = 4 : i32, backend_config = {name = \"\(name)\", kernel_type = \"ptx\", kernel_data = \(text), "
      + "\(numbers), output_indices = [\(operands.count) : i32]}, "
      + "operand_layouts = [\(operands.map { layout($0.type) }.joined(separator: ", "))], "
      + "result_layouts = [\(layout(result))]} : (\(types)) -> \(result)"
  }

  /// The kernel's text as MLIR writes one.
  var literal: String {
    var literal = "\""
    for character in ptx.unicodeScalars {
      switch character {
      case "\"", "\\": literal += "\\" + String(character)
      case "\n": literal += "\\n"
      case "\t": literal += "\\t"
      default: literal.unicodeScalars.append(character)
      }
    }
    return literal + "\""
  }
}
