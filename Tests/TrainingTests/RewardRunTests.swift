import CPUEngine
import Corpus
import Foundation
import Model
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("Reward models")
struct RewardRunTests {
  private func base(_ tiny: TinyRun, mixture: Bool = false) throws -> String {
    var settings = tiny.settings(threads: 2)
    if mixture { settings.model = tiny.mixtureConfiguration }
    settings.epochs = 3
    return try tiny.train(settings, output: "base").path
  }

  private func settings(_ tiny: TinyRun, _ from: String) -> TrainingSettings {
    var settings = tiny.settings(.reward, threads: 2)
    settings.data = tiny.preferences
    settings.from = from
    settings.learningRate = 3e-3
    settings.precision = .float32
    settings.evalTokens = 0
    return settings
  }

  @Test("a batch for scores has every token, and a weight at the last one of each document")
  func batches() throws {
    try TinyRun.inFolder { tiny in
      let split = try TokenShardDataset(directory: tiny.preferences).training
      var sequence = try BatchSequence(
        split, sequenceLength: split.longestInput + 1, documentsPerSample: 2, scores: true,
        shuffleSeed: nil)
      var batch = Batch()
      var tokens = 0
      var documents = 0
      while sequence.next(maximumTokens: 256, into: &batch) {
        for document in 0..<batch.documentCount {
          let (shard, number) = split.locate(documents + document)
          let rows = batch.rows(ofDocument: document)
          #expect(
            Array(batch.tokens[rows]) == shard.tokenRange(ofDocument: number).map(shard.token))
          #expect(
            batch.lossWeights[rows].dropLast().allSatisfy { $0 == 0 }
              && batch.lossWeights[rows.upperBound - 1] == 1)
        }
        #expect(batch.tokenCount <= 256 && batch.documentCount % 2 == 0)
        tokens += batch.tokenCount
        documents += batch.documentCount
      }
      #expect(tokens == split.tokenCount && documents == split.documentCount)
    }
  }

  @Test(
    "a model learns to score the wanted answer higher, saves a directory that scores alike, and resumes with the same bits",
    arguments: [false, true])
  func learns(mixture: Bool) throws {
    try TinyRun.inFolder { tiny in
      // A mixture of Ernie's kind has no class in transformers that scores.
      let base = try base(tiny, mixture: mixture)
      guard !mixture else {
        let error = #expect(throws: TrainingError.self) {
          try TrainingPlan(.reward, self.settings(tiny, base))
        }
        #expect(
          error?.description.contains(
            "Ernie4_5_MoeForCausalLM, of which transformers knows no model") == true)
        return
      }
      var settings = self.settings(tiny, base)
      settings.epochs = 6
      let events = EventList()
      let (summary, path) = try tiny.train(
        settings, stage: .reward, output: "whole", sinks: [events])
      let (first, last) = (
        try #require(events.evaluations.first), try #require(events.evaluations.last)
      )
      #expect(summary.isComplete && first.loss > 0.6 && last.loss < 0.3)
      #expect(try #require(last.sums.mean("accuracy")) > 0.9 && (last.sums.mean("margin") ?? 0) > 1)

      let parameters = try Parameters(modelDirectory: path + "/model")
      #expect(
        parameters.configuration.scoresTexts
          && parameters.table.entry("score.weight")?.shape == [1, 32])
      #expect(parameters.table.totalCount > 0 && parameters.table.entry("lm_head.weight") == nil)
      let model = try RewardModel(
        parameters, precision: .float32, batchTokens: 300, engines: CPUEngineProvider(threads: 2))
      let heldOut = try TokenShardDataset(directory: tiny.preferences).heldOut
      let texts = (0..<heldOut.documentCount).map { index in
        let (shard, document) = heldOut.locate(index)
        return shard.tokenRange(ofDocument: document).map(shard.token)
      }
      let scores = try model.scores(of: texts)
      let margins = stride(from: 0, to: scores.count, by: 2).map { scores[$0] - scores[$0 + 1] }
      #expect(
        abs(margins.reduce(0, +) / Double(margins.count) - (last.sums.mean("margin") ?? 0)) < 1e-3)

      let (_, part) = try tiny.train(settings, stage: .reward, output: "part", stopAfter: 7)
      try tiny.resume(part, stage: .reward)
      #expect(
        try bytes(part + "/model/model.safetensors") == bytes(path + "/model/model.safetensors"))
      // A reward model can be trained further, and cannot learn to write.
      settings.from = path
      settings.epochs = 1
      #expect(try TrainingPlan(.reward, settings).configuration == parameters.configuration)
      var writing = tiny.settings(.sft, threads: 2)
      writing.from = path
      let error = #expect(throws: ConfigurationError.self) { try TrainingPlan(.sft, writing) }
      #expect(error?.description.hasPrefix("\(path) is a reward model") == true)
    }
  }

  @Test("the gradient of the weights is that of the loss of the pairs")
  func gradient() throws {
    try TinyRun.inFolder { tiny in
      let split = try TokenShardDataset(directory: tiny.preferences).training
      let configuration = try ModelConfiguration(huggingFaceConfig: tiny.configuration).scoring
      let parameters = try Parameters(configuration: configuration, seed: 3)
      for entry in parameters.table.entries where entry.role.isDecayed {
        for index in entry.range { parameters.values[index] *= 5 }
      }
      let engine = try CPUEngineProvider(threads: 2).makeEngine(
        .whole(parameters),
        EngineSettings(precision: .float32, maximumTokens: 256, optimizer: .adamW))
      var sequence = try BatchSequence(
        split, sequenceLength: 64, documentsPerSample: 2, scores: true, shuffleSeed: nil)
      var batch = Batch()
      _ = sequence.next(maximumTokens: 256, into: &batch)
      let objective = RewardObjective()
      engine.zeroGradients()
      var sums = objective.noSums
      objective.forwardBackward(engine, batch, addingTo: &sums)
      let entries = engine.trained.entries
      let gradient = entries.map { engine.read(.gradients, of: $0) }
      let original = entries.map { engine.read(.weights, of: $0) }
      let norm = gradient.joined().reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      func value(_ step: Float) -> Double {
        for (index, entry) in entries.enumerated() {
          engine.write(
            .weights, of: entry,
            zip(original[index], gradient[index]).map { $0 + step * ($1 / Float(norm)) })
        }
        var sums = objective.noSums
        objective.forward(engine, batch, addingTo: &sums)
        return sums.sum("loss")
      }
      func slope(_ step: Float) -> Double { (value(step) - value(-step)) / Double(2 * step) }
      let found = (4 * slope(2e-3) - slope(4e-3)) / 3
      #expect(abs(found - norm) < 5e-3 * norm, "\(found) against \(norm)")
    }
  }
}
