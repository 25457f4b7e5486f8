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

  @Test("begins with a new tower, resumes with the same bits, and is a directory that sees")
  func newTower() throws {
    try TinyRun.inFolder { tiny in
      var settings = try settings(tiny)
      settings.tower = "new"
      let (_, whole) = try tiny.train(settings, output: "whole")
      let (_, path) = try tiny.train(settings, output: "parts", stopAfter: 2)
      try tiny.resume(path)
      #expect(try weights(path) == weights(whole))
      let model = try Parameters(modelDirectory: whole + "/model")
      let sight = try #require(model.configuration.sight)
      #expect(sight.rowsPerPicture == 16 && sight.placeholderIDs == [12])
      #expect(try RunRecord(of: RunDirectory(resuming: whole)).options.train == .everything)
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
      var preferences = tiny.settings(.dpo)
      preferences.from = path
      #expect(failure(preferences, .dpo).contains("sees"))
    }
  }
}
