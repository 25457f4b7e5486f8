import Corpus
import Foundation
import Model
import TestSupport
import Testing
import Training

@Suite("A step's micro-batches")
struct StepShareTests {
  @Test("every document is one process's, and all have as many whole micro-batches", arguments: 1...5)
  func everyDocumentOnce(ranks: Int) throws {
    try TinyRun.inFolder { tiny in
      let plan = try TrainingPlan(.pretrain, tiny.settings())
      var sources = try (0..<ranks).map { _ in try plan.shardSource(position: BatchPosition()) }
      var whole = try plan.shardSource(position: BatchPosition())
      for step in 1...4 {
        var expected: [Int] = []
        var batch = Batch()
        for _ in whole.prepareStep() {
          whole.next(into: &batch)
          expected += batch.documentNumbers
        }
        var found: [Int] = []
        var wholeBatches = [Int](repeating: 0, count: ranks)
        var counts: Set<Int> = []
        for rank in 0..<ranks {
          let microBatches = sources[rank].prepareStep()
          let share = StepShare(microBatches, rank: rank, ranks: ranks)
          counts.insert(share.tokenCount)
          for index in microBatches.indices {
            guard share.contains(index) else {
              sources[rank].skip()
              continue
            }
            sources[rank].next(into: &batch)
            #expect(batch.tokenCount == microBatches[index])
            _ = share.keepOwn(of: &batch, index, documentsPerSample: 1)
            wholeBatches[rank] += index >= microBatches.count % ranks ? 1 : 0
            found += batch.documentNumbers
          }
        }
        #expect(Set(wholeBatches).count == 1 && counts.count == 1, "step \(step)")
        #expect(found.sorted() == expected.sorted() && !found.isEmpty, "step \(step)")
        #expect(sources.allSatisfy { $0.position == whole.position })
      }
    }
  }

  @Test("the steps of a source are those that the plan has counted, and passing over them reads the same")
  func steps() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.epochs = 2
      let plan = try TrainingPlan(.pretrain, settings)
      var read = try plan.shardSource(position: BatchPosition())
      var passed = read
      var batch = Batch()
      var steps = 0
      while !read.isAtEnd {
        for _ in read.prepareStep() { read.next(into: &batch) }
        passed.skipStep()
        #expect(read.position == passed.position)
        steps += 1
      }
      #expect(steps == plan.totalSteps)
    }
  }
}
