import Foundation
import Model

/// Runs programs in plain loops, an operation at a time, as their definitions say: what every other runner is compared with.
///
/// Movement of elements is a list of places to read from; what is computed is a loop over elements. Floats are added up in
/// fp32, in order.
package struct Interpreter {
  /// Of the programs that engines have it run.
  package let replicas: Int

  package init(replicas: Int = 1) { self.replicas = replicas }

  /// What a program of one replica makes of these inputs.
  ///
  /// - Precondition: the inputs are of the program's types.
  package func run(_ program: Program, _ inputs: [HostTensor]) -> [HostTensor] {
    run(program, inputs.map { [$0] }).map { $0[0] }
  }

  /// What the replicas of a program make of these inputs, of which each has its own.
  ///
  /// - Parameter inputs: [inputs] of [replicas], of the program's types.
  /// - Returns: [outputs] of [replicas].
  package func run(_ program: Program, _ inputs: [[HostTensor]]) -> [[HostTensor]] {
    precondition(
      zip(inputs, program.inputs).allSatisfy { tensors, input in
        tensors.count == program.replicas && tensors.allSatisfy { $0.type == input.type }
      } && inputs.count == program.inputs.count, "inputs of other types than the program's")
    var results = [[HostTensor]](repeating: [], count: program.instructions.count)
    for ((index, instruction), ended) in zip(program.instructions.enumerated(), program.lastUses) {
      let operands = instruction.operands.map { results[$0] }
      let values: [HostTensor.Values] =
        switch instruction.operation {
        case .input(let place): inputs[place].map(\.values)
        case .exchange(let kind, _): exchange(kind, operands[0].map(\.floats)).map { .floats($0) }
        default:
          (0..<program.replicas).map { replica in
            evaluate(instruction.operation, operands.map { $0[replica] }, instruction.type)
          }
        }
      results[index] = values.map { HostTensor(instruction.type, $0) }
      for index in ended { results[index] = [] }
    }
    return program.outputs.map { results[$0] }
  }

  /// What each replica gets of all replicas' operands.
  private func exchange(_ kind: Operation.Exchange, _ operands: [[Float]]) -> [[Float]] {
    let (replicas, count) = (operands.count, operands[0].count)
    func part(_ replica: Int, of numbers: [Float]) -> [Float] {
      Array(numbers[replica * count / replicas..<(replica + 1) * count / replicas])
    }
    switch kind {
    case .all: return Array(repeating: Array(operands.joined()), count: replicas)
    case .part: return operands.enumerated().map { part($0, of: $1) }
    case .sum, .partOfSum:
      let sum = operands.dropFirst().reduce(operands[0]) { zip($0, $1).map(+) }
      return (0..<replicas).map { kind == .sum ? sum : part($0, of: sum) }
    }
  }

  private func evaluate(_ operation: Operation, _ operands: [HostTensor], _ type: TensorType) -> HostTensor.Values {
    switch operation {
    case .input, .exchange: preconditionFailure("not computed by a replica alone")
    case .constant(let value):
      return type.element == .int32
        ? .integers([Int32](repeating: Int32(value), count: type.count))
        : .floats([Float](repeating: Float(value), count: type.count))
    case .iota(let axis):
      let places = Places(type.shape, strides: type.shape.indices.map { $0 == axis ? 1 : 0 }).list
      return type.element == .int32 ? .integers(places.map(Int32.init)) : .floats(places.map(Float.init))
    case .convert: return convert(operands[0].values, to: type.element)
    case .reshape, .barrier: return operands[0].values
    case .transpose(let axes):
      let strides = operands[0].type.strides
      return operands[0].values.picking(Places(type.shape, strides: axes.map { strides[$0] }).list)
    case .broadcast(_, let axes):
      var strides = [Int](repeating: 0, count: type.shape.count)
      for (axis, stride) in zip(axes, operands[0].type.strides) { strides[axis] = stride }
      return operands[0].values.picking(Places(type.shape, strides: strides).list)
    case .slice(let ranges):
      let strides = operands[0].type.strides
      let start = zip(ranges, strides).reduce(0) { $0 + $1.0.lowerBound * $1.1 }
      return operands[0].values.picking(Places(type.shape, strides: strides, start: start).list)
    case .concatenate(let axis): return concatenate(operands, axis)
    case .unary(let kind): return unary(kind, operands[0].values)
    case .binary(let kind): return binary(kind, operands[0].values, operands[1].values)
    case .compare(let kind): return .booleans(compare(kind, operands[0].values, operands[1].values))
    case .select: return select(operands[0].booleans, operands[1].values, operands[2].values)
    case .reduce(let kind, let axes): return reduce(kind, operands[0], axes)
    case .product(let axes): return .floats(product(operands[0], operands[1], axes))
    case .attention(let pass, _): return .floats(attention(pass, operands))
    case .gatherRows:
      let width = operands[0].type.strides[0]
      let last = Int32(operands[0].type.shape[0] - 1)
      return operands[0].values.picking(
        operands[1].integers.flatMap { number in
          let row = Int(min(max(number, 0), last))
          return row * width..<(row + 1) * width
        })
    case .scatterAddRows:
      switch (operands[0].values, operands[2].values) {
      case (.floats(let table), .floats(let rows)):
        return .floats(scatter(table, rows, operands[1].integers, width: operands[0].type.strides[0], +))
      case (.integers(let table), .integers(let rows)):
        return .integers(scatter(table, rows, operands[1].integers, width: operands[0].type.strides[0], &+))
      default: preconditionFailure("the builder refuses it")
      }
    }
  }

  // MARK: - Movement

  private func concatenate(_ operands: [HostTensor], _ axis: Int) -> HostTensor.Values {
    // Outside the axis the operands are alike: the result is pieces of each in turn.
    let outer = operands[0].type.shape[..<axis].reduce(1, *)
    func joined<Element>(_ arrays: [[Element]]) -> [Element] {
      (0..<outer).flatMap { piece in
        arrays.flatMap { array in
          let length = array.count / outer
          return array[piece * length..<(piece + 1) * length]
        }
      }
    }
    switch operands[0].values {
    case .floats: return .floats(joined(operands.map(\.floats)))
    case .integers: return .integers(joined(operands.map(\.integers)))
    case .booleans: return .booleans(joined(operands.map(\.booleans)))
    }
  }

  private func select(
    _ condition: [Bool], _ first: HostTensor.Values, _ second: HostTensor.Values
  ) -> HostTensor.Values {
    func chosen<Element>(_ left: [Element], _ right: [Element]) -> [Element] {
      condition.indices.map { condition[$0] ? left[$0] : right[$0] }
    }
    switch (first, second) {
    case (.floats(let left), .floats(let right)): return .floats(chosen(left, right))
    case (.integers(let left), .integers(let right)): return .integers(chosen(left, right))
    case (.booleans(let left), .booleans(let right)): return .booleans(chosen(left, right))
    default: preconditionFailure("the builder refuses it")
    }
  }

  private func scatter<Element>(
    _ table: [Element], _ rows: [Element], _ numbers: [Int32], width: Int, _ add: (Element, Element) -> Element
  ) -> [Element] {
    var table = table
    for (row, number) in numbers.enumerated() where number >= 0 && Int(number) < table.count / width {
      for column in 0..<width {
        table[Int(number) * width + column] = add(table[Int(number) * width + column], rows[row * width + column])
      }
    }
    return table
  }

  // MARK: - Elements

  private func convert(_ values: HostTensor.Values, to element: TensorElement) -> HostTensor.Values {
    switch values {
    case .floats(let floats): element == .int32 ? .integers(floats.map { Int32($0) }) : values
    case .integers(let integers): element == .int32 ? values : .floats(integers.map(Float.init))
    case .booleans(let booleans):
      element == .int32 ? .integers(booleans.map { $0 ? 1 : 0 }) : .floats(booleans.map { $0 ? 1 : 0 })
    }
  }

  private func unary(_ kind: Operation.Unary, _ values: HostTensor.Values) -> HostTensor.Values {
    if case .integers(let integers) = values { return .integers(integers.map { 0 &- $0 }) }
    guard case .floats(let x) = values else { preconditionFailure("the builder refuses it") }
    return switch kind {
    case .negate: .floats(x.map { -$0 })
    case .exponential: .floats(x.map { exp($0) })
    case .log: .floats(x.map { log($0) })
    case .logistic: .floats(x.map { 1 / (1 + exp(-$0)) })
    case .rsqrt: .floats(x.map { 1 / $0.squareRoot() })
    case .sqrt: .floats(x.map { $0.squareRoot() })
    }
  }

  private func binary(
    _ kind: Operation.Binary, _ left: HostTensor.Values, _ right: HostTensor.Values
  ) -> HostTensor.Values {
    func pairs<Element>(_ left: [Element], _ right: [Element], _ body: (Element, Element) -> Element) -> [Element] {
      left.indices.map { body(left[$0], right[$0]) }
    }
    switch (left, right) {
    case (.floats(let a), .floats(let b)):
      return switch kind {
      case .add: .floats(pairs(a, b, +))
      case .subtract: .floats(pairs(a, b, -))
      case .multiply: .floats(pairs(a, b, *))
      case .divide: .floats(pairs(a, b, /))
      case .maximum: .floats(pairs(a, b, max))
      case .minimum: .floats(pairs(a, b, min))
      case .and, .xor, .shiftRight: preconditionFailure("the builder refuses it")
      }
    case (.integers(let a), .integers(let b)):
      return switch kind {
      case .add: .integers(pairs(a, b, &+))
      case .subtract: .integers(pairs(a, b, &-))
      case .multiply: .integers(pairs(a, b, &*))
      case .divide: .integers(pairs(a, b, /))
      case .maximum: .integers(pairs(a, b, max))
      case .minimum: .integers(pairs(a, b, min))
      case .xor: .integers(pairs(a, b, ^))
      case .shiftRight: .integers(pairs(a, b) { Int32(bitPattern: UInt32(bitPattern: $0) >> UInt32(bitPattern: $1)) })
      case .and: preconditionFailure("the builder refuses it")
      }
    case (.booleans(let a), .booleans(let b)): return .booleans(a.indices.map { a[$0] && b[$0] })
    default: preconditionFailure("the builder refuses it")
    }
  }

  private func compare(_ kind: Operation.Comparison, _ left: HostTensor.Values, _ right: HostTensor.Values) -> [Bool] {
    func pairs<Element: Comparable>(_ left: [Element], _ right: [Element]) -> [Bool] {
      switch kind {
      case .equal: left.indices.map { left[$0] == right[$0] }
      case .less: left.indices.map { left[$0] < right[$0] }
      case .lessOrEqual: left.indices.map { left[$0] <= right[$0] }
      }
    }
    switch (left, right) {
    case (.floats(let a), .floats(let b)): return pairs(a, b)
    case (.integers(let a), .integers(let b)): return pairs(a, b)
    default: preconditionFailure("the builder refuses it")
    }
  }

  // MARK: - Sums

  private func reduce(_ kind: Operation.Reduction, _ operand: HostTensor, _ axes: [Int]) -> HostTensor.Values {
    let kept = Places(operand.type, axes: operand.type.shape.indices.filter { !axes.contains($0) }).list
    let reduced = Places(operand.type, axes: axes).list
    func folded<Element>(_ values: [Element], _ start: Element, _ body: (Element, Element) -> Element) -> [Element] {
      kept.map { first in reduced.reduce(start) { body($0, values[first + $1]) } }
    }
    let start = kind.start(operand.type.element)
    switch operand.values {
    case .floats(let values):
      return switch kind {
      case .sum: .floats(folded(values, Float(start), +))
      case .maximum: .floats(folded(values, Float(start), max))
      case .minimum: .floats(folded(values, Float(start), min))
      }
    case .integers(let values):
      return switch kind {
      case .sum: .integers(folded(values, Int32(start), &+))
      case .maximum: .integers(folded(values, Int32(start), max))
      case .minimum: .integers(folded(values, Int32(start), min))
      }
    case .booleans: preconditionFailure("the builder refuses it")
    }
  }

  private func product(_ left: HostTensor, _ right: HostTensor, _ axes: ProductAxes) -> [Float] {
    let batches = zip(
      Places(left.type, axes: axes.leftBatch).list, Places(right.type, axes: axes.rightBatch).list)
    let leftRows = Places(left.type, axes: axes.free(left: left.type)).list
    let rightRows = Places(right.type, axes: axes.free(right: right.type)).list
    let leftSummed = Places(left.type, axes: axes.leftContracted).list
    let rightSummed = Places(right.type, axes: axes.rightContracted).list
    let (a, b) = (left.floats, right.floats)
    var result: [Float] = []
    result.reserveCapacity(leftRows.count * rightRows.count)
    for (leftStart, rightStart) in batches {
      // The right operand with its contracted elements together, so that the inner loop is over neighbours.
      let columns = rightRows.map { row in rightSummed.map { b[rightStart + row + $0] } }
      for row in leftRows {
        let x = leftSummed.map { a[leftStart + row + $0] }
        for y in columns {
          var sum: Float = 0
          for index in x.indices { sum += x[index] * y[index] }
          result.append(sum)
        }
      }
    }
    return result
  }
}

/// The places in memory of a tensor's elements, by index along each axis, the last axis running fastest.
private struct Places {
  let list: [Int]

  init(_ shape: [Int], strides: [Int], start: Int = 0) {
    var list = [start]
    for (length, stride) in zip(shape, strides) {
      var longer: [Int] = []
      longer.reserveCapacity(list.count * length)
      for place in list { for index in 0..<length { longer.append(place + index * stride) } }
      list = longer
    }
    self.list = list
  }

  /// Along some axes only, at index 0 of the others.
  init(_ type: TensorType, axes: [Int]) {
    let strides = type.strides
    self.init(axes.map { type.shape[$0] }, strides: axes.map { strides[$0] })
  }
}
