import AllocationCounter
import CPUEngine
import Compute
import Corpus
import Model
import TestSupport
import Testing
import Training

/// Counts what the threads of a team take from the heap.
///
/// To call several workers together takes one block, for the closure that they have to hold. These blocks are left out of
/// the count, which is why the number of calls must be known.
private struct TeamAllocations {
  let team: WorkerTeam
  private let counts: UnsafeMutableBufferPointer<UInt>

  init(_ team: WorkerTeam) {
    self.team = team
    counts = .allocate(capacity: team.count)
  }

  func deallocate() { counts.deallocate() }

  /// The blocks that all threads of the team take while `body` runs, which calls the team so many times.
  func during(teamCalls: Int, _ body: () -> Void) -> Int {
    func total() -> Int {
      team.run { worker in counts[worker] = acAllocations() }
      return Int(counts.reduce(0, +))
    }
    let before = total()
    body()
    return total() - before - (team.count > 1 ? teamCalls + 1 : 0)
  }
}

@Suite("What a training step takes from the heap")
struct StepAllocationTests {
  private static let maximumTokens = 320

  enum Variant: CaseIterable { case alone, together, recomputed, mixture }

  /// A batch with tokens from `range`, as many with a loss as `trainedShare` says, in documents of random lengths.
  private static func batch(
    _ range: ClosedRange<Int>, trainedShare: Double, _ generator: inout SeededGenerator
  ) -> Batch {
    var batch = Batch()
    batch.removeAll(reserving: maximumTokens)
    let count = Int.random(in: range, using: &generator)
    while batch.tokenCount < count {
      let length = min(count - batch.tokenCount, Int.random(in: 1...150, using: &generator))
      batch.append(
        document: (0...length).map { _ in Int32.random(in: 0..<300, using: &generator) },
        isTrained: { _ in Double.random(in: 0..<1, using: &generator) < trainedShare })
    }
    return batch
  }

  /// oneDNN puts the arguments of every call into a table that it makes for that call; what it takes for this is found
  /// by computing the step's products alone. Our own products take nothing.
  @Test(
    "nothing, whatever its documents, but what oneDNN takes inside a product",
    .enabled(if: acIsCounting(), "allocations are counted with glibc, without a sanitizer"),
    arguments: ElementType.allCases, Variant.allCases)
  func step(precision: ElementType, variant: Variant) throws {
    let workers = variant == .alone ? 1 : 2
    var generator = SeededGenerator(seed: 11)
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 3, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64, vocabularySize: 300)
    switch variant {
    case .alone, .together: break
    case .recomputed: configuration.normalizesQueriesAndKeys = true
    case .mixture:
      (configuration.expertCount, configuration.expertsPerToken, configuration.sharedExpertCount) = (4, 2, 1)
    }
    let team = WorkerTeam(count: workers)
    let parameters = try Parameters(configuration: configuration, seed: 1)
    let pass = try TrainingPass(
      parameters, precision: precision, maximumTokens: Self.maximumTokens, team: team,
      recomputes: variant == .recomputed)
    let optimizer = try Optimizer(
      parameters.table, variant == .alone ? .adamW : .muon, precision: precision, workers: workers)
    let gradients = try #require(pass.gradients)
    func step(_ batches: ArraySlice<Batch>, _ number: Int) {
      pass.zeroGradients()
      var sum = LossSum()
      for batch in batches { sum += pass.forwardBackward(batch) }
      let norm = optimizer.norm(of: gradients, team: team)
      optimizer.step(
        pass,
        OptimizerStep(
          number: number, gradientScale: min(1, 1 / norm) / sum.weight,
          // With weights that change, tokens would choose other experts, which makes other shapes of products.
          adamW: .init(
            learningRate: variant == .mixture ? 0 : 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1),
          muon: .init(learningRate: variant == .mixture ? 0 : 1e-3, weightDecay: 0.1)),
        team: team)
    }

    // Every number of rows, with and without a loss, that these batches can have: the shapes of products.
    let unit = 32 * workers
    let shapes = stride(from: unit, through: Self.maximumTokens, by: unit).flatMap { rows in
      stride(from: 0.02, through: 1, by: 0.14).map { share in
        Self.batch(rows - unit + 1...rows, trainedShare: share, &generator)
      }
    }
    for (index, batch) in shapes.enumerated() { step([batch], index + 1) }

    let batches = (0..<40).map { _ in
      Self.batch(1...Self.maximumTokens, trainedShare: Double.random(in: 0.1...1, using: &generator), &generator)
    }
    if variant == .mixture { step(batches[...], 1) }
    let counter = TeamAllocations(team)
    defer { counter.deallocate() }
    for start in stride(from: 0, to: batches.count, by: 4) {
      // The gradients are zeroed, the passes made, the norm found, the weights changed.
      let taken = counter.during(teamCalls: 1 + 4 + 1 + 1) { step(batches[start..<start + 4], start + 1) }
      team.products.forEach { $0.startRecording() }
      step(batches[start..<start + 4], start + 1)
      let ofProducts = counter.during(teamCalls: 1) { team.run { team.products[$0].replay() } }
      team.products.forEach { $0.stopRecording() }
      #expect(taken == ofProducts, "batches from \(start)")
      #expect(!MatrixProducts.kernelName.hasPrefix("own") || ofProducts == 0)
    }
  }

  @Test("nothing for the next batch of prepared data", .enabled(if: acIsCounting()))
  func batches() throws {
    try TinyRun.inFolder { tiny in
      let split = try TokenShardDataset(directory: tiny.pretrainData).training
      var documents = try BatchSequence(split, sequenceLength: 64, shuffleSeed: 3)
      var batch = Batch()
      _ = documents.next(maximumTokens: 256, into: &batch)
      let before = acAllocations()
      // Into the third epoch: a new order takes the place of the old one.
      while documents.position.epoch < 2 { _ = documents.next(maximumTokens: 256, into: &batch) }
      #expect(acAllocations() == before)
    }
  }
}
