import Compute
import Model
import Reference
import TestSupport
import Testing
import VectorMath

/// Inputs of one case in Float, rounded to the element type, and what the fast kernels make of them.
struct AttentionCase {
  var shape: AttentionShape
  var type: ElementType
  var lengths: [Int]
  var queriesKeysValues: [Float]
  var dOutput: [Float]

  init(
    heads: Int = 4, keyValueHeads: Int = 2, headSize: Int, isCausal: Bool = true, type: ElementType, lengths: [Int],
    seed: UInt64 = 1, spread: Float = 1
  ) {
    shape = AttentionShape(
      headCount: heads, keyValueHeadCount: keyValueHeads, headSize: headSize, isCausal: isCausal)
    self.type = type
    self.lengths = lengths
    var generator = SeededGenerator(seed: seed)
    let tokens = lengths.reduce(0, +)
    func numbers(_ count: Int, _ spread: Float) -> [Float] {
      (0..<count).map { _ in
        let value = Float.random(in: -spread...spread, using: &generator)
        return type == .bfloat16 ? BFloat16(value).float : value
      }
    }
    queriesKeysValues = numbers(tokens * shape.fusedWidth, spread)
    dOutput = numbers(tokens * shape.outputWidth, 1)
  }

  var tokens: Int { lengths.reduce(0, +) }
  var offsets: [Int32] { lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + Int32($1)) } }

  var reference: Reference.AttentionShape {
    Reference.AttentionShape(
      headCount: shape.headCount, keyValueHeadCount: shape.keyValueHeadCount, headSize: shape.headSize,
      documentOffsets: offsets.map(Int.init), isCausal: shape.isCausal)
  }

  struct Result: Equatable {
    var output: [Float]
    var logSumExp: [Float]
    var gradient: [Float]
  }

  /// Runs both directions on matrices whose rows have gaps, and checks that the gaps and inputs stay as they were.
  func run(scratch: AttentionScratch? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws -> Result {
    let scratch = try scratch ?? AttentionScratch(shape: shape, maximumSequenceLength: lengths.max() ?? 1)
    let layout = Layout(gap: 3, offset: 1)
    func matrix(_ values: [Float]) -> GuardedMatrix {
      GuardedMatrix(values, rows: tokens, columns: values.count / tokens, type: type, layout: layout)
    }
    let fused = matrix(queriesKeysValues)
    let dOutput = matrix(self.dOutput)
    let output = matrix([Float](repeating: .nan, count: self.dOutput.count))
    let gradient = matrix([Float](repeating: .nan, count: queriesKeysValues.count))
    var logSumExp = [Float](repeating: .nan, count: tokens * shape.headCount)
    offsets.withUnsafeBufferPointer { offsets in
      for document in lengths.indices {
        for head in 0..<shape.keyValueHeadCount {
          attentionForward(
            queriesKeysValues: fused.view, shape: shape, documents: offsets, keyValueHead: head, document: document,
            output: output.view, logSumExp: &logSumExp, scratch: scratch)
        }
      }
      for document in lengths.indices {
        for head in 0..<shape.keyValueHeadCount {
          attentionBackward(
            dOutput: dOutput.view, output: output.view, queriesKeysValues: fused.view, logSumExp: logSumExp,
            shape: shape, documents: offsets, keyValueHead: head, document: document,
            dQueriesKeysValues: gradient.view, scratch: scratch)
        }
      }
    }
    #expect(areIntactOutside(fused, output, dOutput, gradient), "wrote outside", sourceLocation: sourceLocation)
    #expect(bits(fused.values) == bits(queriesKeysValues), sourceLocation: sourceLocation)
    #expect(bits(dOutput.values) == bits(self.dOutput), sourceLocation: sourceLocation)
    return Result(output: output.values, logSumExp: logSumExp, gradient: gradient.values)
  }
}

/// Bit patterns, by which a NaN equals itself.
private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

extension AttentionCase {
  /// For each element of output and gradient the sum of the magnitudes of the terms that make it up, in Double.
  func magnitudes() -> (output: [Double], gradient: [Double]) {
    let shape = reference
    let fused = queriesKeysValues.map(Double.init)
    var output = [Double](repeating: 0, count: dOutput.count)
    var gradient = [Double](repeating: 0, count: fused.count)
    let scale = 1 / Double(shape.headSize).squareRoot()
    for (first, end) in zip(shape.documentOffsets, shape.documentOffsets.dropFirst()) {
      for token in first..<end {
        let seen = shape.seen(by: token, first: first, end: end)
        for head in 0..<shape.headCount {
          let weights = Reference.attentionWeights(fused, shape, token: token, seen: seen, head: head)
          let query = shape.query(token, head: head)
          let place = shape.output(token, head: head)
          var products = weights
          for other in seen {
            var product = 0.0
            for index in 0..<shape.headSize {
              let value = fused[shape.value(other, head: head) + index].magnitude
              let dOut = Double(dOutput[place + index]).magnitude
              product += dOut * value
              output[place + index] += weights[other - first] * value
              gradient[shape.value(other, head: head) + index] += weights[other - first] * dOut
            }
            products[other - first] = product
          }
          let delta = zip(weights, products).reduce(0) { $0 + $1.0 * $1.1 }
          for other in seen {
            let key = shape.key(other, head: head)
            let dScore = weights[other - first] * (products[other - first] + delta) * scale
            for index in 0..<shape.headSize {
              gradient[query + index] += dScore * fused[key + index].magnitude
              gradient[key + index] += dScore * fused[query + index].magnitude
            }
          }
        }
      }
    }
    return (output, gradient)
  }

  /// log Σ e^score of each query, and the largest Σ|q·k|/√d behind it: [tokens, heads].
  func logSumExp() -> (values: [Double], magnitudes: [Double]) {
    let shape = reference
    let scale = 1 / Double(shape.headSize).squareRoot()
    var result: [Double] = []
    var magnitudes: [Double] = []
    for (first, end) in zip(shape.documentOffsets, shape.documentOffsets.dropFirst()) {
      for token in first..<end {
        let seen = shape.seen(by: token, first: first, end: end)
        for head in 0..<shape.headCount {
          var scores: [Double] = []
          var largest = 0.0
          for other in seen {
            var score = 0.0
            var magnitude = 0.0
            for index in 0..<shape.headSize {
              let product =
                Double(queriesKeysValues[shape.query(token, head: head) + index])
                * Double(queriesKeysValues[shape.key(other, head: head) + index])
              score += product
              magnitude += abs(product)
            }
            scores.append(score * scale)
            largest = max(largest, magnitude * scale)
          }
          let maximum = scores.max()!
          let sum = scores.reduce(0) { $0 + Reference.exponential($1 - maximum) }
          result.append(maximum + Reference.logarithm(sum))
          magnitudes.append(largest)
        }
      }
    }
    return (result, magnitudes)
  }

  /// What arithmetic may lose of a sum of such terms, apart from the result's own rounding. Every term carries a weight
  /// whose relative error is the score's absolute error, at most (d + 2)·u·Σ|q·k|/√d and by far less on average; a sum
  /// of n terms loses about √n·u. With bfloat16 three numbers on the way are rounded: the weight, the gradient of the
  /// score, and the output that delta is made of.
  var error: Double {
    floatRoundoff * Double(shape.headSize + 64) + (type == .bfloat16 ? 3 * type.roundoff : 0)
  }

  /// Compares with the plain twin in Double.
  func expectAgreement(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let result = try run(sourceLocation: sourceLocation)
    let fused = queriesKeysValues.map(Double.init)
    let magnitudes = magnitudes()
    expectClose(
      result.output, Reference.attentionForward(queriesKeysValues: fused, reference), storedAs: type,
      errors: magnitudes.output.map { $0 * error }, "output of \(shape), documents \(lengths)",
      sourceLocation: sourceLocation)
    expectClose(
      result.gradient,
      Reference.attentionBackward(dOutput: dOutput.map(Double.init), queriesKeysValues: fused, reference),
      storedAs: type, errors: magnitudes.gradient.map { $0 * error }, "gradient of \(shape), documents \(lengths)",
      sourceLocation: sourceLocation)
    let (logSumExp, scores) = logSumExp()
    expectClose(
      result.logSumExp, logSumExp, errors: scores.map { floatRoundoff * ($0 * Double(shape.headSize + 2) + 16) },
      "log-sum-exp of \(shape), documents \(lengths)", sourceLocation: sourceLocation)
  }
}
