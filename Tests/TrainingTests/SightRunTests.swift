import CPUEngine
import Foundation
import Model
import ModelFiles
import Processes
import TestSupport
import Testing
import Tokenization
import Training

@Suite("A run of a model that sees")
struct SightRunTests {
  /// A tokenizer with a token that stands for a picture.
  private static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 320, threads: 1, layout: .miniMind3)
    for text in tinyDocuments { try! trainer.add(document: text) }
    return try! trainer.train { _ in }
  }()

  private func settings(_ tiny: TinyRun) throws -> TrainingSettings {
    try tiny.prepareDocuments(tokenizer: Self.tokenizer, output: "seen")
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 3, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64, vocabularySize: 320)
    configuration.maximumSequenceLength = 128
    let path = tiny.folder + "/seeing.json"
    try Data(configuration.huggingFaceConfig().text().utf8).write(to: URL(fileURLWithPath: path))
    var settings = tiny.settings()
    settings.data = tiny.folder + "/seen"
    settings.model = path
    settings.steps = 4
    return settings
  }

  private func weights(_ path: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path + "/model/model.safetensors"))
  }

  @Test(
    "begins with a new tower, which stays as it is unless everything learns, resumes with the same bits, and is a directory that sees",
    arguments: [nil, SightTraining.everything])
  func newTower(train: SightTraining?) throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.tower = "new"
      settings.train = train
      let (_, whole) = try tiny.train(settings, output: "whole")
      let (_, path) = try tiny.train(settings, output: "parts", stopAfter: 2)
      try tiny.resume(path)
      #expect(try weights(path) == weights(whole))
      let model = try Parameters(modelDirectory: whole + "/model")
      let sight = try #require(model.configuration.sight)
      #expect(sight.rowsPerPicture == 16 && sight.placeholderIDs == [12])
      #expect(try RunRecord(of: RunDirectory(resuming: whole)).options.train == train ?? .allButTower)
      #expect(FileManager.default.fileExists(atPath: whole + "/model/preprocessor_config.json"))
    }
  }

  @Test("begins with a language model and another model's tower, of which the projector alone learns in pretraining")
  func givenTower() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      let (_, language) = try tiny.train(settings, output: "language")
      settings.tower = "new"
      let (_, seeing) = try tiny.train(settings, output: "seeing")
      settings.model = nil
      settings.from = language
      settings.tower = seeing + "/model"
      let (_, path) = try tiny.train(settings, output: "both")
      #expect(try RunRecord(of: RunDirectory(resuming: path)).options.train == .projector)
      let result = try Parameters(modelDirectory: path + "/model")
      let tower = try Parameters(modelDirectory: seeing + "/model")
      let text = try Parameters(modelDirectory: language + "/model")
      for entry in result.table.entries {
        switch entry.role {
        case .projector: break
        case .tower: #expect(result[entry.key].elementsEqual(tower[entry.key]), "\(entry.key)")
        default: #expect(result[entry.key].elementsEqual(text[entry.key]), "\(entry.key)")
        }
      }
    }
  }

  @Test("two processes learn what one does, where only some layers learn")
  func processes() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.tower = "new"
      settings.train = .projectorAndEnds
      settings.precision = .float32
      settings.learningRate = 0.003
      (settings.microBatchTokens, settings.batchTokens, settings.sequenceLength) = (128, 512, 64)
      for processes in [1, 2] {
        let run = try RunDirectory(creating: tiny.folder + "/\(processes)")
        _ = try ThreadProcessGroup.run(processes, timeLimit: 600) { [settings] exchange in
          let plan = try TrainingPlan(.pretrain, settings)
          if exchange.isFirst { try plan.record(programVersion: "test").write(to: run) }
          _ = exchange.any(false)
          let trainer = try Trainer(
            plan, run: exchange.isFirst ? run : RunDirectory(following: run.path),
            engines: CPUEngineProvider(threads: 1), exchange: exchange, sinks: [])
          return try trainer.train().step
        }
      }
      let (one, two) = (
        try Parameters(modelDirectory: tiny.folder + "/1/model"),
        try Parameters(modelDirectory: tiny.folder + "/2/model")
      )
      for index in 0..<one.table.totalCount { #expect(abs(one.values[index] - two.values[index]) < 1e-4) }
      let start = try Parameters(configuration: one.configuration, seed: 42)
      for entry in one.table.entries {
        let isSame = start[entry.key].elementsEqual(one[entry.key])
        if entry.layer == 1 || entry.role == .embedding { #expect(isSame, "\(entry.key)") }
        if entry.layer == 0 || entry.layer == 2 { #expect(!isSame, "\(entry.key)") }
      }
    }
  }

  @Test("what does not go together is refused by name")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      func failure(_ settings: TrainingSettings, _ stage: Stage = .pretrain) -> String {
        do { _ = try TrainingPlan(stage, settings) } catch { return "\(error)" }
        return "nothing was refused"
      }
      settings.train = .projector
      #expect(failure(settings).contains("--tower"))
      var others = tiny.settings()
      others.tower = "new"
      #expect(failure(others).contains("<|image_pad|>"))
      settings.train = nil
      settings.tower = "new"
      let (_, path) = try tiny.train(settings, output: "seeing")
      settings.model = nil
      settings.from = path
      #expect(failure(settings).contains("already"))
      settings.tower = nil
      settings.teacher = path
      #expect(failure(settings).contains("teacher"))
      for stage in [Stage.reward, .grpo, .ppo] {
        var others = tiny.settings(stage)
        others.from = path
        #expect(failure(others, stage).contains("lora, dpo or kto"), "\(stage.name)")
      }
      var adapter = tiny.settings(.lora)
      adapter.from = path
      adapter.train = .everything
      #expect(failure(adapter, .lora).contains("in place of all of them"))
      var whole = try self.settings(tiny)
      whole.tower = "new"
      whole.loraRank = 4
      #expect(failure(whole, .pretrain).contains("pretrain --tower"))
    }
  }

  /// A model that sees, and settings of a stage that begins with it.
  private func settings(_ tiny: TinyRun, _ stage: Stage) throws -> TrainingSettings {
    var base = try settings(tiny)
    base.tower = "new"
    let (_, path) = try tiny.train(base, output: "base")
    try tiny.prepareAnswers(tokenizer: Self.tokenizer)
    var settings = tiny.settings(stage)
    settings.from = path
    settings.data = tiny.folder + "/seen-\(stage.dataKind.rawValue)"
    settings.steps = 4
    return settings
  }

  @Test("an adapter of it resumes with the same bits, is a directory that sees, and leaves tower and projector alone")
  func adapter() throws {
    try TinyRun.inFolder { tiny in
      let settings = try settings(tiny, .lora)
      let (_, whole) = try tiny.train(settings, stage: .lora, output: "whole")
      let (_, parts) = try tiny.train(settings, stage: .lora, output: "parts", stopAfter: 2)
      try tiny.resume(parts, stage: .lora)
      func file(_ run: String, _ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: run + "/model/" + name))
      }
      #expect(try file(whole, "adapter_model.safetensors") == file(parts, "adapter_model.safetensors"))
      let names = try SafetensorsFile(whole + "/model/adapter_model.safetensors").tensors.map(\.name)
      #expect(names.allSatisfy { $0.hasPrefix("base_model.model.model.language_model.layers.") })
      let pattern = try PEFTConfiguration(directory: whole + "/model").targetPattern
      #expect(pattern?.contains("language_model") == true)
      #expect(try RunRecord(of: RunDirectory(resuming: whole)).options.train == nil)

      let base = try Parameters(modelDirectory: settings.from! + "/model")
      let merged = try Parameters(modelDirectory: whole + "/model")
      #expect(merged.configuration.sight == base.configuration.sight)
      for entry in merged.table.entries {
        let isSame = merged[entry.key].elementsEqual(base[entry.key])
        #expect(isSame == !entry.key.hasSuffix("_proj.weight") || entry.key.hasPrefix("vision_tower"), "\(entry.key)")
        if case .tower = entry.role { #expect(isSame, "\(entry.key)") }
      }
    }
  }

  @Test(
    "learns from preferences, of which the tower and what is chosen stay as they are", arguments: [Stage.dpo, .kto])
  func preferences(stage: Stage) throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny, stage)
      let (_, whole) = try tiny.train(settings, stage: stage, output: "whole")
      let (_, parts) = try tiny.train(settings, stage: stage, output: "parts", stopAfter: 2)
      try tiny.resume(parts, stage: stage)
      #expect(try weights(whole) == weights(parts))
      #expect(try RunRecord(of: RunDirectory(resuming: whole)).options.train == .allButTower)
      settings.train = .projector
      let (_, projector) = try tiny.train(settings, stage: stage, output: "projector")
      let base = try Parameters(modelDirectory: settings.from! + "/model")
      let (all, some) = (
        try Parameters(modelDirectory: whole + "/model"), try Parameters(modelDirectory: projector + "/model")
      )
      for entry in base.table.entries {
        func isSame(_ other: Parameters) -> Bool { base[entry.key].elementsEqual(other[entry.key]) }
        switch entry.role {
        case .tower: #expect(isSame(all) && isSame(some), "\(entry.key)")
        // Without pictures nothing but decay reaches it.
        case .projector: break
        default: #expect(isSame(some), "\(entry.key)")
        }
      }
      #expect(!base[ParameterKey.Layer(0).query].elementsEqual(all[ParameterKey.Layer(0).query]))
      settings.train = nil
      settings.loraRank = 4
      let (_, adapter) = try tiny.train(settings, stage: stage, output: "adapter")
      #expect(FileManager.default.fileExists(atPath: adapter + "/model/adapter_model.safetensors"))
    }
  }
}
