/// The text that compilers read: https://openxla.org/stablehlo/spec, in the form that its printer gives.
extension Program {
  /// A module whose function `main` takes the inputs and gives the outputs.
  ///
  /// - Precondition: the program has no `Operation.attention`.
  package var stableHLO: String {
    stableHLO { pass, _ in preconditionFailure("attention, \(pass), for a compiler that has no kernel of it") }
  }

  /// - Parameter kernel: what takes the place of `Operation.attention`.
  package func stableHLO(kernel: (AttentionPass, AttentionShape) throws -> KernelCall) rethrows -> String {
    var kernels: [KernelCall] = []
    /// [instructions] the place among `kernels`.
    let places = try instructions.map { instruction -> Int? in
      guard case .attention(let pass, _) = instruction.operation else { return nil }
      let call = try kernel(pass, AttentionShape(types(ofOperands: instruction)))
      if !kernels.contains(call) { kernels.append(call) }
      return kernels.firstIndex(of: call)
    }
    let arguments = inputs.enumerated().map { place, input in
      "%arg\(place): \(input.type)" + (input.output.map { " {tf.aliasing_output = \($0) : i32}" } ?? "")
    }
    let results = outputTypes.map(\.description).joined(separator: ", ")
    var lines = kernels.enumerated().map { "#kernel\($0) = \($1.literal)" }
    lines += [
      "module @program\(replicas > 1 ? " attributes {mhlo.num_replicas = \(replicas) : i32}" : "") {",
      "  func.func public @main(\(arguments.joined(separator: ", "))) -> (\(results)) {",
    ]
    for index in instructions.indices {
      if case .input = instructions[index].operation { continue }
      lines.append(
        contentsOf: statement(index, places[index].map { ("#kernel\($0)", kernels[$0]) }).map { "    \($0)" })
    }
    lines.append("    return \(outputs.map(name).joined(separator: ", ")) : \(results)")
    lines.append(contentsOf: ["  }", "}", ""])
    return lines.joined(separator: "\n")
  }

  private func name(_ index: Int) -> String {
    switch instructions[index].operation {
    case .input(let place): "%arg\(place)"
    case .barrier: "%\(index)#0"
    default: "%\(index)"
    }
  }

  /// - Parameter kernel: of an operation that has one, with the name of its text.
  private func statement(_ index: Int, _ kernel: (text: String, call: KernelCall)?) -> [String] {
    let instruction = instructions[index]
    let operands = instruction.operands.map(name)
    let types = types(ofOperands: instruction)
    let (list, typeList) = (operands.joined(separator: ", "), types.map(\.description).joined(separator: ", "))
    let function = "(\(typeList)) -> \(instruction.type)"
    func one(_ text: String) -> [String] { ["%\(index) = \(text)"] }

    switch instruction.operation {
    case .input: return []
    case .constant(let value):
      return one("stablehlo.constant dense<\(literal(value, instruction.type.element))> : \(instruction.type)")
    case .iota(let axis): return one("stablehlo.iota dim = \(axis) : \(instruction.type)")
    case .convert: return one("stablehlo.convert \(list) : \(function)")
    case .reshape: return one("stablehlo.reshape \(list) : \(function)")
    case .transpose(let axes): return one("stablehlo.transpose \(list), dims = \(axes) : \(function)")
    case .broadcast(_, let axes): return one("stablehlo.broadcast_in_dim \(list), dims = \(axes) : \(function)")
    case .slice(let ranges):
      let bounds = ranges.map { "\($0.lowerBound):\($0.upperBound)" }.joined(separator: ", ")
      return one("stablehlo.slice \(list) [\(bounds)] : \(function)")
    case .concatenate(let axis): return one("stablehlo.concatenate \(list), dim = \(axis) : \(function)")
    case .unary(let kind): return one("stablehlo.\(kind.rawValue) \(list) : \(instruction.type)")
    case .binary(let kind): return one("stablehlo.\(kind.rawValue) \(list) : \(instruction.type)")
    case .compare(let kind): return one("stablehlo.compare \(kind.rawValue), \(list) : \(function)")
    case .select: return one("stablehlo.select \(list) : \(types[0]), \(types[1])")
    case .reduce(let kind, let axes):
      let scalar = TensorType(types[0].element, [])
      return [
        "%start\(index) = stablehlo.constant dense<\(literal(kind.start(types[0].element), scalar.element))> : \(scalar)",
        "%\(index) = stablehlo.reduce(\(list) init: %start\(index)) applies stablehlo.\(kind.rawValue)"
          + " across dimensions = \(axes) : (\(types[0]), \(scalar)) -> \(instruction.type)",
      ]
    case .product(let axes):
      let batch = axes.leftBatch.isEmpty ? "" : "batching_dims = \(axes.leftBatch) x \(axes.rightBatch), "
      // Without this a GPU multiplies fp32 in TF32, with 11 bits.
      let precision = types[0].element == .float32 ? ", precision = [HIGHEST, HIGHEST]" : ""
      return one(
        "stablehlo.dot_general \(list), \(batch)contracting_dims = \(axes.leftContracted) x \(axes.rightContracted)"
          + "\(precision) : \(function)")
    case .gatherRows:
      let row = types[0].shape.dropFirst()
      return indexed(index, operands[1], types[1]) { numbers, type in
        "\"stablehlo.gather\"(\(operands[0]), \(numbers)) <{dimension_numbers = #stablehlo.gather<"
          + "offset_dims = \(Array(row.indices)), collapsed_slice_dims = [0], start_index_map = [0], "
          + "index_vector_dim = 1>, slice_sizes = array<i64: \(([1] + row).map(String.init).joined(separator: ", "))>, "
          + "indices_are_sorted = false}> : (\(types[0]), \(type)) -> \(instruction.type)"
      }
    case .scatterAddRows:
      let scalar = TensorType(types[0].element, [])
      return indexed(index, operands[1], types[1]) { numbers, type in
        "\"stablehlo.scatter\"(\(operands[0]), \(numbers), \(operands[2])) <{scatter_dimension_numbers = "
          + "#stablehlo.scatter<update_window_dims = \(Array(types[0].shape.dropFirst().indices)), "
          + "inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>, "
          + "indices_are_sorted = false, unique_indices = false}> \(sum(scalar)) : "
          + "(\(types[0]), \(type), \(types[2])) -> \(instruction.type)"
      }
    case .barrier:
      return ["%\(index):2 = stablehlo.optimization_barrier \(list) : \(typeList)"]
    case .attention:
      return one(kernel!.call.statement(kernel!.text, zip(operands, types).map { ($0, $1) }, instruction.type))
    case .exchange(.part, _):
      let number = TensorType(.int32, [])
      return [
        "%replica\(index) = stablehlo.replica_id : tensor<ui32>",
        "%number\(index) = stablehlo.convert %replica\(index) : (tensor<ui32>) -> \(number)",
        "%length\(index) = stablehlo.constant dense<\(instruction.type.count)> : \(number)",
        "%start\(index) = stablehlo.multiply %number\(index), %length\(index) : \(number)",
        "%\(index) = stablehlo.dynamic_slice \(list), %start\(index), sizes = [\(instruction.type.count)] : "
          + "(\(types[0]), \(number)) -> \(instruction.type)",
      ]
    case .exchange(let kind, let replicas):
      let all = "[[\((0..<replicas).map(String.init).joined(separator: ", "))]]"
      let axis = [.all: "all_gather_dim = 0 : i64, ", .partOfSum: "scatter_dimension = 0 : i64, "][kind, default: ""]
      return one(
        "\"stablehlo.\(kind.rawValue)\"(\(list)) <{\(axis)replica_groups = dense<\(all)> : tensor<1x\(replicas)xi64>}> "
          + (kind == .all ? "" : sum(TensorType(.float32, [])) + " ") + ": \(function)")
    }
  }

  /// The region of an operation that adds elements up.
  private func sum(_ scalar: TensorType) -> String {
    "({ ^bb0(%left: \(scalar), %right: \(scalar)): "
      + "%sum = stablehlo.add %left, %right : \(scalar) stablehlo.return %sum : \(scalar) })"
  }

  /// Gather and scatter take numbers of rows as vectors of one: [count, 1].
  private func indexed(
    _ index: Int, _ numbers: String, _ type: TensorType, _ body: (String, TensorType) -> String
  ) -> [String] {
    let column = TensorType(.int32, type.shape + [1])
    return [
      "%rows\(index) = stablehlo.reshape \(numbers) : (\(type)) -> \(column)",
      "%\(index) = " + body("%rows\(index)", column),
    ]
  }

  /// A number as MLIR reads it: floats have a point, infinities are bit patterns.
  private func literal(_ value: Double, _ element: TensorElement) -> String {
    switch element {
    case .int32, .boolean: return "\(Int(value))"
    case .float32, .bfloat16:
      guard value.isFinite else {
        let bits = Float(value).bitPattern >> (element == .float32 ? 0 : 16)
        return "0x" + String(bits, radix: 16, uppercase: true)
      }
      let text = "\(Float(value))"
      guard !text.contains("."), let exponent = text.firstIndex(of: "e") else { return text }
      return text[..<exponent] + ".0" + text[exponent...]
    }
  }
}

extension Operation.Reduction {
  /// What leaves every number as it is.
  func start(_ element: TensorElement) -> Double {
    switch self {
    case .sum: 0
    case .maximum: element == .int32 ? Double(Int32.min) : -.infinity
    case .minimum: element == .int32 ? Double(Int32.max) : .infinity
    }
  }
}
