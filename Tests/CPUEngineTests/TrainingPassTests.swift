import CPUEngine
import Compute
import Foundation
import Model
import TestSupport
import Testing

extension TrainingPass {
  var gradientValues: [Float] {
    Array(UnsafeBufferPointer(start: gradients, count: parameters.table.totalCount))
  }
}

/// ‖actual - expected‖ / ‖expected‖
func relativeError(_ actual: some Sequence<Float>, _ expected: some Sequence<Float>) -> Double {
  var difference = 0.0
  var size = 0.0
  for (left, right) in zip(actual, expected) {
    difference += pow(Double(left) - Double(right), 2)
    size += pow(Double(right), 2)
  }
  return size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}

/// What the processor's pass promises beyond the mathematics, which `TrainingEngineTests` check over all engines.
@Suite("TrainingPass")
struct TrainingPassTests {
  @Test(
    "a run repeats to the bit, and the number of workers changes only the rounding", arguments: [1, 2, 3],
    [ModelVariant.untied, .mixture])
  func workers(count: Int, variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 6)
    func run(_ workers: Int, _ precision: ElementType) throws -> (LossSum, [Float]) {
      let pass = try TrainingPass(
        parameters, precision: precision, maximumTokens: 80, team: WorkerTeam(count: workers))
      let sum = pass.forwardBackward(batch)
      return (sum, pass.gradientValues)
    }
    for precision in ElementType.allCases {
      let first = try run(count, precision)
      let second = try run(count, precision)
      #expect(first.0 == second.0 && first.1 == second.1)
      let single = try run(1, precision)
      #expect(relativeError(first.1, single.1) < (precision == .float32 ? 1e-5 : 1e-2))
    }
  }

  @Test(
    "bfloat16 follows fp32: the loss to some thousandths, the gradient to some percent",
    arguments: [ModelVariant.normalizedHeads, .mixtureOfOne, .mixture])
  func bfloat16(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 7)
    let team = WorkerTeam(count: 2)
    let exact = try TrainingPass(parameters, precision: .float32, maximumTokens: 80, team: team)
    let rounded = try TrainingPass(parameters, precision: .bfloat16, maximumTokens: 80, team: team)
    let exactSum = exact.forwardBackward(batch)
    let roundedSum = rounded.forwardBackward(batch)
    // Where two experts are nearly as likely, rounding sends a token to the other one: with random weights and a few dozen
    // tokens, one such token is seen.
    let (lossError, gradientError) = variant == .mixture ? (5e-3, 0.2) : (2e-3, 0.05)
    #expect(abs(exactSum.loss - roundedSum.loss) / exactSum.loss < lossError)
    #expect(relativeError(rounded.gradientValues, exact.gradientValues) < gradientError)
  }

  @Test(
    "a pass that does not train finds the same loss and logits with less memory",
    arguments: [ModelVariant.tied, .mixture])
  func forwardOnly(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 8)
    let team = WorkerTeam(count: 2)
    let training = try TrainingPass(parameters, precision: .float32, maximumTokens: 80, team: team)
    let reading = try TrainingPass(parameters, precision: .float32, maximumTokens: 80, team: team, trains: false)
    #expect(training.forward(batch) == reading.forward(batch))
    #expect(training.forwardBackward(batch) == reading.forward(batch))
    #expect(
      training.logits(batch) == reading.logits(batch))
    let small = try ModelConfiguration.named("small")
    func bytes(_ trains: Bool) -> Int {
      TrainingPass.memoryBytes(small, precision: .bfloat16, maximumTokens: 2048, workers: 2, trains: trains)
    }
    #expect(bytes(false) < bytes(true) / 3)
  }

  @Test("a vocabulary of 151 936 takes memory for some rows of logits, whatever the batch, and sums as a small one")
  func largeVocabulary() throws {
    var shape = ModelConfiguration(
      hiddenSize: 16, layerCount: 1, headCount: 2, keyValueHeadCount: 1, vocabularySize: 151_936)
    let parameters = try Parameters(configuration: shape, seed: 4)
    // More rows than one worker has at a time.
    let batch = Batch(lengths: [120, 110, 130], vocabulary: 151_936, seed: 6)
    let team = WorkerTeam(count: 1)
    let together = try TrainingPass(parameters, precision: .float32, maximumTokens: 384, team: team)
    let apart = try TrainingPass(parameters, precision: .float32, maximumTokens: 384, team: team)
    let sum = together.forwardBackward(batch)
    var sums = LossSum()
    for document in 0..<3 { sums += apart.forwardBackward(batch.document(document)) }
    #expect(abs(sum.loss - sums.loss) < 1e-5 * sum.loss)
    #expect(relativeError(together.gradientValues, apart.gradientValues) < 1e-5)
    func growth(_ vocabulary: Int) -> Int {
      shape.vocabularySize = vocabulary
      let bytes = [1024, 65536].map {
        TrainingPass.memoryBytes(shape, precision: .bfloat16, maximumTokens: $0, workers: 16)
      }
      return bytes[1] - bytes[0]
    }
    #expect(growth(151_936) == growth(6400))
    // Logits in fp32 and bf16 of all workers together.
    let memory = [1, 16].map {
      TrainingPass.memoryBytes(
        parameters.configuration, precision: .bfloat16, maximumTokens: 1024, workers: $0)
    }
    #expect(memory[1] - memory[0] < 768 << 20)
  }

  @Test(
    "activations that are found again on the way back give the same bits", arguments: ModelVariant.allCases, [1, 2, 3])
  func recomputation(variant: ModelVariant, workers: Int) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [40, 3, 25], vocabulary: 53, seed: 10)
    let team = WorkerTeam(count: workers)
    for precision in ElementType.allCases {
      var results: [(LossSum, [Float])] = []
      for recomputes in [false, true] {
        let pass = try TrainingPass(
          parameters, precision: precision, maximumTokens: 80, team: team, recomputes: recomputes)
        results.append((pass.forwardBackward(batch), pass.gradientValues))
      }
      #expect(results[0] == results[1])
    }
    let small = try ModelConfiguration.named("small")
    func bytes(_ recomputes: Bool) -> Int {
      TrainingPass.memoryBytes(small, precision: .bfloat16, maximumTokens: 8192, workers: 2, recomputes: recomputes)
    }
    #expect(bytes(true) < bytes(false) * 3 / 5)
  }
}
