import CPUEngine
import Compute
import Corpus
import Foundation
import Model
import ModelFiles
import TestSupport
import Testing
import Training

@Suite("A run that trains an adapter")
struct LoRARunTests {
  /// A base that knows the sentences, and settings for an adapter on it that is to learn the form of an answer.
  private func settings(_ tiny: TinyRun, _ stage: Stage = .lora) throws -> TrainingSettings {
    var base = tiny.settings()
    base.steps = 60
    var settings = tiny.settings(stage)
    settings.from = try tiny.train(base, output: "base").path
    settings.steps = 40
    settings.precision = .bfloat16
    settings.learningRate = 0.02
    return settings
  }

  @Test("learns with a fraction of the values, leaves the base alone, and is a MODEL like any other")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.loraRank = 4
      let basePath = tiny.folder + "/base/model/model.safetensors"
      let before = try bytes(basePath)
      let events = EventList()
      let (summary, path) = try tiny.train(settings, stage: .lora, output: "adapter", sinks: [events])
      let losses = events.evaluations.map(\.loss)
      #expect(try #require(losses.last) < 0.8 * losses[0], "\(losses)")
      #expect(try bytes(basePath) == before)

      // What is read from the run is base and adapter in one: its held-out loss is the run's last.
      let directory = try resolveModelDirectory(path)
      #expect(directory == path + "/model")
      let merged = try Parameters(modelDirectory: directory)
      let plan = try TrainingPlan(.lora, settings)
      let engine = try CPUEngineProvider(threads: 1).makeEngine(
        .whole(merged), EngineSettings(precision: .float32, maximumTokens: 256, optimizer: nil))
      var batch = Batch()
      var sums = MetricSums()
      _ = try plan.dataset.heldOut.forEachBatch(sequenceLength: 128, batchTokens: 256, using: &batch) { batch in
        CrossEntropyObjective().forward(engine, batch, addingTo: &sums)
      }
      let loss = try #require(sums.mean("loss"))
      #expect(abs(loss - (try #require(summary.heldOut)).loss) < 0.02 * loss)
      let model = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
      #expect(model == ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"])
    }
  }

  @Test("fine-tuning with a rank is the same run as lora; without one it trains the whole model")
  func sameLoop() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.steps = 4
      settings.loraRank = 8
      let (_, lora) = try tiny.train(settings, stage: .lora, output: "lora")
      let (_, sft) = try tiny.train(settings, stage: .sft, output: "fine")
      #expect(try bytes(lora + "/model/adapter_model.safetensors") == bytes(sft + "/model/adapter_model.safetensors"))
      settings.loraRank = 0
      let (_, whole) = try tiny.train(settings, stage: .sft, output: "whole")
      #expect(FileManager.default.fileExists(atPath: whole + "/model/model.safetensors"))
    }
  }

  @Test("an adapter is not trained on another one, nor resumed on other weights than its base's")
  func wrongBases() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.steps = 4
      let (_, path) = try tiny.train(settings, stage: .lora, output: "lora", stopAfter: 2)
      var second = settings
      second.from = path
      let nested = #expect(throws: TrainingError.self) { try TrainingPlan(.lora, second) }
      #expect(nested?.description.contains("minimind merge --adapter \(path) --to DIR") == true)
      // Fine-tuning the whole model from an adapter is another matter: it begins with the two merged.
      second.loraRank = nil
      _ = try TrainingPlan(.sft, second)

      let base = tiny.folder + "/base/model"
      let parameters = try Parameters(modelDirectory: base)
      parameters.values[3] += 1
      try parameters.save(modelDirectory: base, tokenizerDirectory: tiny.conversations)
      let error = #expect(throws: ModelFileError.self) { try tiny.resume(path, stage: .lora) }
      #expect(error?.description.contains("was trained on other weights") == true)
      let read = #expect(throws: ModelFileError.self) { try Parameters(modelDirectory: path + "/model") }
      #expect(read?.description.contains("was trained on other weights") == true)
    }
  }

  @Test("in a mixture of experts attention is adapted, and the experts where they are asked for")
  func mixture() throws {
    try TinyRun.inFolder { tiny in
      var base = tiny.settings()
      base.model = tiny.mixtureConfiguration
      base.steps = 2
      var settings = tiny.settings(.lora)
      settings.from = try tiny.train(base, output: "base").path
      settings.steps = 2
      let plan = try TrainingPlan(.lora, settings)
      #expect(plan.settings.lora?.targets == [.query, .key, .value, .attentionOutput])
      try tiny.train(settings, stage: .lora, output: "adapter")
      settings.loraTargets = [.query, .down]
      let path = try tiny.train(settings, stage: .lora, output: "experts").path
      let names = Set(try PEFTAdapter(directory: path + "/model").modules.keys)
      let keys = ParameterKey.Layer(0)
      #expect(names.isSuperset(of: [keys.query, keys.expert(0).down, keys.expert(1).down]))
      #expect(!names.contains(keys.expert(0).up))
    }
  }

  @Test("settings of an adapter without a rank, or without a layer, are refused")
  func refusedSettings() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny, .sft)
      settings.loraDropout = 0.2
      let error = #expect(throws: TrainingError.self) { try TrainingPlan(.sft, settings) }
      #expect(error?.description.contains("need a --lora-rank above 0") == true)
      settings.loraRank = 2
      settings.loraTargets = []
      #expect(throws: TrainingError.self) { try TrainingPlan(.sft, settings) }
      settings.loraTargets = [.value]
      settings.optimizer = .muon
      #expect(throws: TrainingError.self) { try TrainingPlan(.sft, settings) }
      settings.optimizer = .adamW
      #expect(try TrainingPlan(.sft, settings).trainedParameterCount == 2 * 2 * (32 + 16))
    }
  }
}
