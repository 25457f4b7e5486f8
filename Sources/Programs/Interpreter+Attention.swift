import Foundation
import Model

extension Interpreter {
  /// `Operation.attention`, a query and a head at a time.
  func attention(_ pass: AttentionPass, _ operands: [HostTensor]) -> [Float] {
    let shape = AttentionShape(operands.map(\.type))
    let (tokens, heads, groups, size) = (shape.tokens, shape.heads, shape.groups, shape.size)
    let (queries, keys, values) = (operands[0].floats, operands[1].floats, operands[2].floats)
    let documents = operands[3].integers
    let rest = operands.dropFirst(4).map(\.floats)
    let scale = 1 / Float(size).squareRoot()
    var result = [Float](repeating: 0, count: shape.result(pass).count)

    func product(_ left: [Float], _ leftStart: Int, _ right: [Float], _ rightStart: Int) -> Float {
      (0..<size).reduce(0) { $0 + left[leftStart + $1] * right[rightStart + $1] }
    }
    /// Adds a row times a number, which is rounded as an operand of a product is.
    func add(_ factor: Float, _ row: [Float], _ start: Int, to target: Int) {
      let factor = shape.element == .bfloat16 ? BFloat16(factor).float : factor
      for column in 0..<size { result[target + column] += factor * row[start + column] }
    }

    for query in 0..<tokens where documents[query] < tokens {
      var first = query
      while first > 0 && documents[first - 1] == documents[query] { first -= 1 }
      for head in 0..<heads {
        let row = query * heads + head
        func start(ofKey key: Int) -> Int { (key * groups + head / (heads / groups)) * size }
        let scores = (first...query).map { product(queries, row * size, keys, start(ofKey: $0)) * scale }
        if pass == .forward {
          let largest = scores.max()!
          let exponentials = scores.map { exp($0 - largest) }
          let sum = exponentials.reduce(0, +)
          for (key, exponential) in zip(first..., exponentials) {
            add(exponential / sum, values, start(ofKey: key), to: row * size)
          }
          result[shape.queries.count + row] = largest + log(sum)
          continue
        }
        let (dOutput, logs, averages) = (rest[0], rest[1], rest[2])
        for (key, score) in zip(first..., scores) {
          let weight = exp(score - logs[row])
          let dWeight = product(dOutput, row * size, values, start(ofKey: key))
          let dScore = weight * (dWeight - averages[row]) * scale
          if pass == .queries {
            add(dScore, keys, start(ofKey: key), to: row * size)
          } else {
            add(dScore, queries, row * size, to: start(ofKey: key))
            add(weight, dOutput, row * size, to: shape.keys.count + start(ofKey: key))
          }
        }
      }
    }
    return result
  }
}
