import CPUEngine
import Compute
import Foundation
import Model
import Reference
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

@Suite("TrainingPass")
struct TrainingPassTests {
  @Test(
    "logits, losses and every gradient equal those of MiniMind v1's PyTorch code",
    arguments: GoldenFixture.Name.allCases)
  func golden(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: 120, team: WorkerTeam(count: 2))
    let tokens = try fixture.integers("input_ids")
    let mask = try fixture.integers("loss_mask").map(Float.init)
    let batch = Batch(
      tokens: tokens, targets: try fixture.integers("target_ids"), lossWeights: mask,
      documentOffsets: [0, 40, 80, 120])
    let logits = pass.logits(batch)
    #expect(relativeError(logits, try fixture.floats("logits")) < 1e-4)

    let sum = pass.forwardBackward(batch)
    let tokenLosses = try fixture.floats("token_loss")
    let expected = zip(tokenLosses, mask).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
    #expect(abs(sum.loss - expected) / expected < 1e-5)
    #expect(sum.weight == Double(mask.reduce(0, +)))
    for entry in parameters.table.entries {
      let gradient = pass.gradientValues[entry.range].map { $0 / Float(sum.weight) }
      let error = relativeError(gradient, try #require(fixture.gradients[entry.key]))
      #expect(error < 1e-4, "\(entry.key): relative error \(error)")
    }
  }

  @Test("the most likely next tokens are those that v1 generates", arguments: GoldenFixture.Name.allCases)
  func goldenGreedy(name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    for (key, values) in fixture.parametersAfter { _ = parameters[key].update(fromContentsOf: values) }
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: 64, team: WorkerTeam(count: 1), trains: false)
    var tokens = try fixture.integers("greedy_prompt")
    let expected = try fixture.integers("greedy_tokens")
    for _ in expected {
      let logits = pass.logits(Batch(prompts: [tokens]))
      let last = Array(logits.suffix(fixture.configuration.vocabularySize))
      tokens.append(Int32(last.indices.max { last[$0] < last[$1] }!))
    }
    #expect(tokens.suffix(expected.count) == expected[...])
  }

  @Test("the loss and its gradient equal the plain twin's in Double", arguments: ModelVariant.allCases)
  func twin(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let shape = parameters.configuration
    let batch = Batch(lengths: [5, 1, 17, 9], vocabulary: shape.vocabularySize, seed: 3)
    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: 40, team: WorkerTeam(count: 2))
    let sum = pass.forwardBackward(batch)
    var twin = ReferenceModel(parameters)
    let expected = twin.forwardBackward(batch)
    #expect(abs(sum.loss - expected.loss) / expected.loss < 1e-5)
    #expect(abs((pass.expertUse?.balance ?? 0) - expected.balance) <= 1e-5 * expected.balance)
    for entry in parameters.table.entries {
      // fp32 sums of some hundred terms each: a few hundred ulps of the terms' size.
      let error = relativeError(pass.gradientValues[entry.range], twin.gradients[entry.range].map(Float.init))
      #expect(error < 1e-4, "\(entry.key): relative error \(error)")
    }
  }

  @Test("documents packed into one batch give what they give one by one", arguments: [ModelVariant.tied, .mixture])
  func packing(variant: ModelVariant) throws {
    let parameters = try variant.parameters()
    let batch = Batch(lengths: [30, 7, 1, 50], vocabulary: 53, seed: 5)
    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: 100, team: WorkerTeam(count: 2))
    let together = pass.forwardBackward(batch)
    let packed = pass.gradientValues
    let balance = pass.expertUse?.balance ?? 0
    let shares = pass.expertUse?.shares
    pass.zeroGradients()
    var apart = LossSum()
    for document in 0..<4 { apart += pass.forwardBackward(batch.document(document)) }
    #expect(abs(together.loss - apart.loss) / apart.loss < 1e-6)
    #expect(together.weight == apart.weight && together.tokens == apart.tokens)
    #expect(relativeError(packed, pass.gradientValues) < 1e-5)
    #expect(abs(balance - (pass.expertUse?.balance ?? 0)) <= 1e-5 * balance)
    #expect(shares == pass.expertUse?.shares)
  }

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

  @Test("a batch without anything to train on has no loss and leaves the gradients alone")
  func nothingTrained() throws {
    let parameters = try ModelVariant.tied.parameters()
    let batch = Batch(lengths: [9], vocabulary: 53, seed: 9, trainedShare: 0)
    let pass = try TrainingPass(parameters, precision: .bfloat16, maximumTokens: 16, team: WorkerTeam(count: 2))
    #expect(pass.forwardBackward(batch) == LossSum(loss: 0, weight: 0, tokens: 9))
    #expect(pass.gradientValues.allSatisfy { $0 == 0 })
  }
}
