import Compute
import Foundation
import Model
import Reference
import TestSupport
import Testing

private let distillations = [
  Distillation(textShare: 0.5, temperature: 1.5, mixture: 0), Distillation(textShare: 0, temperature: 1, mixture: 1),
  Distillation(textShare: 0.25, temperature: 0.7, mixture: 0.5),
  Distillation(textShare: 0, temperature: 3, mixture: 0.1),
]

@Suite("Distillation by a teacher's likeliest tokens")
struct LargestDistillationTests {
  private static let range: Float = 9

  /// What a teacher's logits say, by a function of their own.
  private func largest(
    _ logits: [Float], vocabulary: Int, top: Int, temperature: Double
  ) -> (tokens: [Int32], logarithms: [Float]) {
    var (tokens, logarithms): ([Int32], [Float]) = ([], [])
    for start in stride(from: 0, to: logits.count, by: vocabulary) {
      var row = Array(logits[start..<start + vocabulary])
      var (ids, numbers) = ([Int32](repeating: -1, count: top), [Float](repeating: 7, count: top + 1))
      row.withUnsafeMutableBufferPointer {
        largestProbabilities(
          $0.baseAddress!, vocabulary: vocabulary, count: top, temperature: temperature, tokens: &ids,
          logarithms: &numbers)
      }
      #expect(row == Array(logits[start..<start + vocabulary]), "left as they were")
      tokens += ids
      logarithms += numbers
    }
    return (tokens, logarithms)
  }

  @Test(
    "the likeliest tokens are those of a sorted row, with the logarithms of softmax and of the rest",
    arguments: [1, 2, 16, 40])
  func selection(top: Int) {
    var generator = SeededGenerator(seed: UInt64(top))
    for vocabulary in [top + 1, 50, 1000] where vocabulary > top {
      for temperature in [0.5, 1, 2] {
        var logits = randomFloats(vocabulary, in: -6...6, using: &generator)
        // Equal ones: the first come first.
        for index in stride(from: 0, to: vocabulary, by: 3) { logits[index] = logits[index].rounded() }
        let found = largest(logits, vocabulary: vocabulary, top: top, temperature: temperature)
        let order = logits.indices.sorted { (logits[$0], -$0) > (logits[$1], -$1) }
        #expect(found.tokens == order.prefix(top).sorted().map(Int32.init))
        let exponentials = logits.map { exp(Double($0) / temperature) }
        let sum = exponentials.reduce(0, +)
        let expected =
          found.tokens.map { log(exponentials[Int($0)] / sum) }
          + [log(order.dropFirst(top).reduce(0) { $0 + exponentials[$1] } / sum)]
        for (one, other) in zip(found.logarithms, expected) { #expect(abs(Double(one) - other) < 1e-4) }
      }
    }
  }

  @Test("the plain twin's gradient is that of its losses", arguments: distillations)
  func finiteDifferences(_ distillation: Distillation) {
    var distillation = distillation
    distillation.top = 3
    var generator = SeededGenerator(seed: 2)
    let (rows, vocabulary) = (2, 7)
    let logits = randomFloats(rows * vocabulary, in: -3...3, using: &generator).map(Double.init)
    let teacher = randomFloats(rows * vocabulary, in: -3...3, using: &generator).map(Double.init)
    let weights = [0.5, 2]
    func run(_ logits: [Double]) -> (losses: [Double], crossEntropies: [Double], dLogits: [Double]) {
      Reference.distillation(
        distillation, logits: logits, teacher: teacher, targets: [3, 0], lossWeights: weights, vocabulary: vocabulary)
    }
    func value(_ logits: [Double]) -> Double { zip(run(logits).losses, weights).reduce(0) { $0 + $1.0 * $1.1 } }
    let gradient = run(logits).dLogits
    for index in logits.indices {
      var (more, less) = (logits, logits)
      more[index] += 1e-4
      less[index] -= 1e-4
      #expect(abs((value(more) - value(less)) / 2e-4 - gradient[index]) < 1e-7)
    }
  }

  @Test("losses and gradients agree with the plain twin", arguments: [3, 17, 65, 1000], distillations)
  func agrees(vocabulary: Int, _ distillation: Distillation) {
    var generator = SeededGenerator(seed: UInt64(vocabulary))
    let rows = 3
    let targets = (0..<rows).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &generator) }
    let weights: [Float] = [0.5, 0, 2]
    func matrix() -> GuardedMatrix {
      GuardedMatrix(
        randomFloats(rows * vocabulary, in: -Self.range...Self.range, using: &generator), rows: rows,
        columns: vocabulary)
    }
    let (logits, teacher) = (matrix(), matrix())
    for top in Set([1, 2, min(16, vocabulary - 1), vocabulary - 1]) {
      var distillation = distillation
      distillation.top = top
      let expected = Reference.distillation(
        distillation, logits: logits.doubles, teacher: teacher.doubles, targets: targets.map(Int.init),
        lossWeights: weights.map(Double.init), vocabulary: vocabulary)
      if top == vocabulary - 1 {
        // The others together are one token: nothing is lost.
        var whole = distillation
        whole.top = nil
        let all = Reference.distillation(
          whole, logits: logits.doubles, teacher: teacher.doubles, targets: targets.map(Int.init),
          lossWeights: weights.map(Double.init), vocabulary: vocabulary)
        #expect(zip(all.losses, expected.losses).allSatisfy { abs($0 - $1) < 1e-9 })
      }
      let said = largest(teacher.values, vocabulary: vocabulary, top: top, temperature: distillation.temperature)
      // As of the loss by all logits: DistillationTests.
      let exponent = 2 * Double(Self.range) / min(1, distillation.temperature)
      let square = max(1, distillation.temperature * distillation.temperature)
      let error = (2 * exponent + Double(vocabulary) / 64 + 40) * floatRoundoff * (1 + exponent) * square
      expectDistillation(of: logits, expected, error: error, using: &generator) { losses, crossEntropies, dLogits in
        distillationLoss(
          distillation, logits: logits.view, tokens: said.tokens, logarithms: said.logarithms, count: top,
          targets: targets, lossWeights: weights, losses: losses, crossEntropies: crossEntropies, dLogits: dLogits)
      }
    }
  }

  @Test("a teacher that says the same teaches nothing; probabilities of 0 on either side stay finite; NaN shows")
  func extremes() {
    func run(_ student: [Float], _ teacher: [Float], _ distillation: Distillation) -> (Float, [Float]) {
      let logits = GuardedMatrix(student, rows: 1, columns: student.count)
      var row = teacher
      let top = distillation.top!
      var (tokens, logarithms) = ([Int32](repeating: 0, count: top), [Float](repeating: 0, count: top + 1))
      row.withUnsafeMutableBufferPointer {
        largestProbabilities(
          $0.baseAddress!, vocabulary: student.count, count: top, temperature: distillation.temperature,
          tokens: &tokens, logarithms: &logarithms)
      }
      var (loss, crossEntropy): (Float, Float) = (0, 0)
      distillationLoss(
        distillation, logits: logits.view, tokens: tokens, logarithms: logarithms, count: top, targets: [0],
        lossWeights: [1], losses: &loss, crossEntropies: &crossEntropy, dLogits: logits.view)
      return (loss, logits.values)
    }
    let values = (0..<37).map { Float($0 % 5) }
    for mixture in [0, 0.3, 1] {
      let distillation = Distillation(textShare: 0, temperature: 1, mixture: mixture, top: 6)
      let (same, still) = run(values, values, distillation)
      #expect(abs(same) < 1e-5 && still.allSatisfy { abs($0) < 1e-6 })
      var far = values
      far[3] = 400
      for (loss, gradient) in [run(values, far, distillation), run(far, values, distillation)] {
        #expect(loss.isFinite && loss > 0 && gradient.allSatisfy(\.isFinite))
      }
      // All others together have a probability of 0.
      let sure = values.indices.map { $0 < 6 ? Float($0) : -400 }
      for (loss, gradient) in [run(values, sure, distillation), run(sure, values, distillation)] {
        #expect(loss.isFinite && loss > 0 && gradient.allSatisfy(\.isFinite))
      }
      var broken = values
      broken[20] = .nan
      #expect(run(broken, values, distillation).0.isNaN && run(values, broken, distillation).0.isNaN)
    }
  }
}
