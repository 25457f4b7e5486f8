import CPUEngine
import Compute
import Corpus
import Foundation
import Model
import TestSupport
import Testing
import Training

@Suite("KTO")
struct KTOTests {
  private let loss: KTOLoss = {
    var loss = KTOLoss(beta: 0.4)
    (loss.desirableWeight, loss.undesirableWeight) = (1.5, 0.5)
    return loss
  }()

  @Test("a half of the weight where nothing has changed; the derivative is that of the loss; nothing overflows")
  func byHand() {
    for isDesirable in [true, false] {
      let still = loss(0, isDesirable: isDesirable, divergence: 0)
      #expect(still.loss == (isDesirable ? 0.75 : 0.25) && abs(still.derivative - (isDesirable ? -0.15 : 0.05)) < 1e-15)
      for g in [-20, -1, 0, 0.3, 6] {
        let step = 1e-4
        func value(_ g: Double) -> Double { loss(g, isDesirable: isDesirable, divergence: 0.7).loss }
        let slope = (value(g + step) - value(g - step)) / (2 * step)
        let found = loss(g, isDesirable: isDesirable, divergence: 0.7).derivative
        #expect(abs(slope - found) < 1e-8, "at \(g)")
      }
      for g in [-1e6, 1e6] {
        let far = loss(g, isDesirable: isDesirable, divergence: 3)
        #expect(far.loss.isFinite && far.derivative == 0)
      }
    }
  }

  @Test("an answer after another prompt: the prompt's tokens, then the answer of the document before, cut at the end")
  func mismatched() throws {
    try TinyRun.inFolder { tiny in
      let split = try TokenShardDataset(directory: tiny.folder + "/kto").training
      func document(_ index: Int) -> (prompt: [Int32], answer: [Int32]) {
        let (shard, number) = split.locate(index)
        let tokens = shard.tokenRange(ofDocument: number)
        return (
          tokens.filter { !shard.isTrained($0) }.map(shard.token), tokens.filter(shard.isTrained).map(shard.token)
        )
      }
      for index in [0, 1, 7] {
        let other = document((index + split.documentCount - 1) % split.documentCount)
        let own = document(index)
        var batch = Batch()
        batch.removeAll(reserving: 256)
        split.appendMismatched(index, maximumTokens: 200, to: &batch)
        let expected = own.prompt + other.answer
        #expect(batch.tokens == Array(expected.dropLast()) && batch.targets == Array(expected.dropFirst()))
        #expect(batch.lossWeights.count { $0 == 1 } == other.answer.count && batch.documentNumbers == [index])
        #expect(batch.tokenCount == split.mismatchedTokenCount(index, maximumTokens: 200))
        batch.removeAll(reserving: 256)
        split.appendMismatched(index, maximumTokens: own.prompt.count + 1, to: &batch)
        #expect(batch.tokenCount == own.prompt.count + 1 && batch.lossWeights.count { $0 == 1 } == 2)
      }
    }
  }

  @Test("the gradient of the weights is that of the loss with the divergence held still")
  func gradient() throws {
    try TinyRun.inFolder { tiny in
      let split = try TokenShardDataset(directory: tiny.folder + "/kto").training
      let parameters = try Parameters(configuration: ModelConfiguration(huggingFaceConfig: tiny.configuration), seed: 3)
      for entry in parameters.table.entries where entry.role.isDecayed {
        for index in entry.range { parameters.values[index] *= 5 }
      }
      let engine = try CPUEngineProvider(threads: 2).makeEngine(
        .whole(parameters), EngineSettings(precision: .float32, maximumTokens: 512, optimizer: .adamW))
      var sequence = try BatchSequence(split, sequenceLength: 128, shuffleSeed: nil)
      var batch = Batch()
      _ = sequence.next(maximumTokens: 256, into: &batch)
      let others = MismatchedAnswers(split, sequenceLength: 128, batchTokens: 200)
      var generator = SeededGenerator(seed: 4)
      var reference = [Double](repeating: 0, count: split.documentCount)
      for (number, sum) in zip(batch.documentNumbers, engine.forward(batch, lossWeights: nil).documentSums(batch)) {
        reference[number] = -sum.loss + Double.random(in: -1...1, using: &generator)
      }
      // The model has moved by 0.5 nats an answer.
      var mismatched = [Double](repeating: 0, count: split.documentCount)
      let now = others.logProbabilities(batch.documentNumbers, by: engine)
      for (number, sum) in zip(batch.documentNumbers, now) { mismatched[number] = sum - 0.5 }
      func objective(_ mismatched: [Double]) -> KTOObjective {
        KTOObjective(loss, split, mismatched: others, reference: reference, mismatchedReference: mismatched)
      }
      engine.zeroGradients()
      var sums = objective(mismatched).noSums
      objective(mismatched).forwardBackward(engine, batch, addingTo: &sums)
      #expect(abs(try #require(sums.mean("kl")) - 0.5) < 1e-5)
      #expect(sums.weight("rewards/chosen") + sums.weight("rewards/rejected") == Double(batch.documentCount))
      let entries = engine.trained.entries
      let gradient = entries.map { engine.read(.gradients, of: $0) }
      let original = entries.map { engine.read(.weights, of: $0) }
      let norm = gradient.joined().reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      func value(_ step: Float) throws -> Double {
        for (index, entry) in entries.enumerated() {
          engine.write(
            .weights, of: entry, zip(original[index], gradient[index]).map { $0 + step * ($1 / Float(norm)) })
        }
        // The reference moves along, so that the divergence stays.
        var moved = mismatched
        let now = others.logProbabilities(batch.documentNumbers, by: engine)
        for (number, sum) in zip(batch.documentNumbers, now) { moved[number] = sum - 0.5 }
        var sums = objective(moved).noSums
        objective(moved).forward(engine, batch, addingTo: &sums)
        return sums.sum("loss")
      }
      func slope(_ step: Float) throws -> Double { (try value(step) - value(-step)) / Double(2 * step) }
      let found = (4 * (try slope(2e-3)) - (try slope(4e-3))) / 3
      #expect(abs(found - norm) < 5e-3 * norm, "\(found) against \(norm)")
    }
  }

  @Test("a run makes wanted answers likelier than others, and resumes with the same bits where its reference is lost")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings(threads: 2)
      settings.epochs = 5
      let (_, base) = try tiny.train(settings, output: "base")
      settings = tiny.settings(.kto, threads: 2)
      settings.from = base
      settings.learningRate = 2e-3
      settings.precision = .float32
      settings.evalTokens = 0
      settings.epochs = 4
      let events = EventList()
      let (summary, path) = try tiny.train(settings, stage: .kto, output: "whole", sinks: [events])
      let (first, last) = (try #require(events.evaluations.first), try #require(events.evaluations.last))
      #expect(summary.isComplete && abs(first.loss - 0.5) < 1e-4 && last.loss < 0.48)
      let chosen = try #require(last.sums.mean("rewards/chosen"))
      #expect(chosen > (try #require(last.sums.mean("rewards/rejected"))))
      let lines = try text(path + "/metrics.jsonl")
      #expect(lines.contains("\"train/kl\"") && lines.contains("\"eval/rewards/margins\""))
      let (_, part) = try tiny.train(settings, stage: .kto, output: "part", stopAfter: 3)
      try FileManager.default.removeItem(atPath: part + "/reference.json")
      try tiny.resume(part, stage: .kto)
      #expect(try bytes(part + "/reference.json") == bytes(path + "/reference.json"))
      #expect(try bytes(part + "/model/model.safetensors") == bytes(path + "/model/model.safetensors"))
    }
  }
}
