import CPUEngine
import Compute
import Foundation
import Model
import TestSupport
import Testing

@Suite("Optimizer step")
struct OptimizerTests {
  /// v1's own run: five Adam steps on one batch, clipped.
  @Test(
    "losses, gradient norms and weights over five Adam steps are PyTorch's", arguments: [1, 2],
    GoldenFixture.Name.allCases)
  func goldenSteps(workers: Int, name: GoldenFixture.Name) throws {
    let fixture = try GoldenFixture(name)
    let parameters = try fixture.makeParameters()
    let team = WorkerTeam(count: workers)
    let tokens = try fixture.integers("input_ids")
    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: tokens.count, team: team)
    let optimizer = try Optimizer(parameters.table, .adamW, precision: .float32, workers: workers)
    let gradients = try #require(pass.gradients)
    let targets = try fixture.integers("target_ids")
    let weights = try fixture.integers("loss_mask").map(Float.init)
    func setting(_ name: String) throws -> Double { try #require(fixture.settings[name]?.doubleValue) }
    let betas = fixture.numbers("betas")
    let clip = try setting("grad_clip")

    for step in 1...5 {
      pass.zeroGradients()
      let sum = pass.forwardBackward(
        Batch(tokens: tokens, targets: targets, lossWeights: weights, documentOffsets: [0, 40, 80, 120]))
      let norm = optimizer.norm(of: gradients, team: team) / sum.weight
      #expect(relativeError(sum.loss / sum.weight, fixture.numbers("losses")[step - 1]) < 1e-4)
      #expect(relativeError(norm, fixture.numbers("grad_norms")[step - 1]) < 1e-4)
      optimizer.step(
        pass,
        OptimizerStep(
          number: step, gradientScale: min(1, clip / (norm + 1e-6)) / sum.weight,
          adamW: .init(
            learningRate: try setting("lr"), beta1: betas[0], beta2: betas[1], epsilon: try setting("eps"),
            weightDecay: 0),
          muon: .init(learningRate: 0, weightDecay: 0)),
        team: team)
    }
    for (key, expected) in fixture.parametersAfter {
      let found = parameters.copy(of: key)
      let difference = zip(found, expected).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
      let size = expected.reduce(0) { $0 + pow(Double($1), 2) }.squareRoot()
      #expect(difference / size < 1e-4, "\(key): \(difference / size)")
    }
  }

  private func relativeError(_ found: Double, _ expected: Double) -> Double { abs(found - expected) / abs(expected) }

  private func makePass(workers: Int, precision: ElementType = .bfloat16) throws -> TrainingPass {
    let configuration = ModelConfiguration(
      hiddenSize: 48, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 80, vocabularySize: 3001)
    let parameters = try Parameters(configuration: configuration, seed: 1)
    let pass = try TrainingPass(
      parameters, precision: precision, maximumTokens: 64, team: WorkerTeam(count: workers))
    var generator = SeededGenerator(seed: 2)
    for entry in parameters.table.entries {
      for index in entry.range { pass.gradients![index] = Float.random(in: -1...1, using: &generator) }
    }
    return pass
  }

  private let settings = OptimizerStep(
    number: 1, gradientScale: 0.5,
    adamW: .init(learningRate: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1),
    muon: .init(learningRate: 0.1, weightDecay: 0.1))

  @Test("norm and weights have the same bits for any number of workers", arguments: OptimizerKind.allCases)
  func anyWorkers(_ kind: OptimizerKind) throws {
    var results: [(norm: Double, weights: [Float], working: [BFloat16])] = []
    for workers in 1...3 {
      let pass = try makePass(workers: workers)
      let team = WorkerTeam(count: workers)
      let optimizer = try Optimizer(pass.parameters.table, kind, precision: .bfloat16, workers: workers)
      let norm = optimizer.norm(of: pass.gradients!, team: team)
      for step in 1...2 {
        var settings = settings
        settings.number = step
        optimizer.step(pass, settings, team: team)
      }
      let working = UnsafeBufferPointer(start: pass.workingWeights, count: pass.parameters.table.totalCount)
      results.append((norm, pass.parameters.allValues, Array(working)))
    }
    #expect(results.allSatisfy { $0 == results[0] })
  }

  @Test("the norm is that of all weights together, in Double")
  func norm() throws {
    let pass = try makePass(workers: 2)
    let gradients = UnsafeBufferPointer(start: pass.gradients, count: pass.parameters.table.totalCount)
    let expected = gradients.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    let found = try Optimizer(pass.parameters.table, .adamW, precision: .float32, workers: 1).norm(
      of: pass.gradients!, team: WorkerTeam(count: 2))
    #expect(abs(found - expected) / expected < 1e-6)
  }

  @Test("weight decay shrinks matrices and leaves norms alone", arguments: OptimizerKind.allCases)
  func decay(_ kind: OptimizerKind) throws {
    let pass = try makePass(workers: 1, precision: .float32)
    pass.zeroGradients()
    let before = Dictionary(
      uniqueKeysWithValues: pass.parameters.table.entries.map { ($0.key, pass.parameters.copy(of: $0.key)) })
    try Optimizer(pass.parameters.table, kind, precision: .float32, workers: 1).step(
      pass, settings, team: WorkerTeam(count: 1))
    for entry in pass.parameters.table.entries {
      let factor: Float = entry.role.isDecayed ? 1 - 0.1 * 0.1 : 1
      for (found, old) in zip(pass.parameters.copy(of: entry.key), before[entry.key]!) {
        #expect(abs(found - old * factor) <= abs(old) * 1e-6)
      }
    }
  }

  @Test("Muon moves the matrices of the layers, each by its own rows; AdamW the rest, as without it")
  func muonsShare() throws {
    let (pass, other) = (try makePass(workers: 1, precision: .float32), try makePass(workers: 1, precision: .float32))
    let table = pass.parameters.table
    let before = Dictionary(uniqueKeysWithValues: table.entries.map { ($0.key, pass.parameters.copy(of: $0.key)) })
    let team = WorkerTeam(count: 1)
    let muon = try Optimizer(table, .muon, precision: .float32, workers: 1)
    muon.step(pass, settings, team: team)
    try Optimizer(table, .adamW, precision: .float32, workers: 1).step(other, settings, team: team)
    for entry in table.entries {
      let found = pass.parameters.copy(of: entry.key)
      guard entry.isMovedByMuon(.muon) else {
        #expect(found == other.parameters.copy(of: entry.key), "\(entry.key)")
        continue
      }
      // Singular values near 1: the squares of a [rows, columns] update add up to about the shorter side.
      let (rows, columns) = (entry.shape[0], entry.shape[1])
      let moves = zip(found, before[entry.key]!).map { Double($0) - Double($1) * (1 - 0.1 * 0.1) }
      let rate = 0.1 * 0.2 * Double(max(rows, columns)).squareRoot()
      let squares = moves.reduce(0) { $0 + $1 * $1 } / (rate * rate) / Double(min(rows, columns))
      #expect((0.6...1.3).contains(squares), "\(entry.key): \(squares)")
    }
    for entry in table.entries {
      #expect(muon.keeps(.firstMoment, of: entry) && muon.keeps(.secondMoment, of: entry) != entry.isMovedByMuon(.muon))
    }
    let bytes = Optimizer.byteCount(table, .muon, precision: .float32, workers: 1)
    #expect(bytes < Optimizer.byteCount(table, .adamW, precision: .float32, workers: 1))
  }
}
