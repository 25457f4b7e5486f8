import CPUEngine
import Compute
import Model
import TestSupport
import Testing

@Suite("A pass that is repeated")
struct RepeatedPassTests {
  @Test("the loss of a batch has the same bits every time, with and without gradients")
  func sameBits() throws {
    var generator = SeededGenerator(seed: 3)
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 1, headCount: 2, keyValueHeadCount: 1, vocabularySize: 2048)
    let parameters = try Parameters(configuration: configuration, seed: 1)
    let pass = try TrainingPass(parameters, precision: .bfloat16, maximumTokens: 2048, team: WorkerTeam(count: 2))
    for tokenCount in [1100, 1537, 1900] {
      let batch = Batch(
        tokens: (0..<tokenCount).map { _ in Int32.random(in: 0..<2048, using: &generator) },
        targets: (0..<tokenCount).map { _ in Int32.random(in: 0..<2048, using: &generator) },
        lossWeights: [Float](repeating: 1, count: tokenCount),
        documentOffsets: Array(stride(from: Int32(0), to: Int32(tokenCount), by: 100)) + [Int32(tokenCount)])
      pass.zeroGradients()
      let expected = pass.forwardBackward(batch)
      for _ in 0..<20 { #expect(pass.forward(batch) == expected) }
    }
  }
}
