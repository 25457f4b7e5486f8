import CPUEngine
import Corpus
import Foundation
import Model
import Storage
import TestSupport
import Testing
import Training

@Suite("Runs with what a teacher has said")
struct StoredTeacherTests {
  private func preparation(
    _ tiny: TinyRun, _ teacher: String, data: String? = nil, top: Int = 8, temperature: Double = 1.5,
    sequenceLength: Int? = 128
  ) throws -> TeacherPreparation {
    try TeacherPreparation(
      teacher: teacher, data: data ?? tiny.pretrainData, top: top, temperature: temperature,
      sequenceLength: sequenceLength, precision: .float32, engines: CPUEngineProvider(threads: 2))
  }

  private func settings(_ tiny: TinyRun, data: String) -> TrainingSettings {
    var settings = tiny.settings(threads: 2)
    (settings.data, settings.steps, settings.precision) = (data, 12, .float32)
    return settings
  }

  private func losses(_ path: String) throws -> [Double] {
    try text(path + "/metrics.jsonl").split(separator: "\n").compactMap {
      try JSON(parsing: String($0))["train/loss"]?.doubleValue
    }
  }

  @Test(
    "a run by what is stored is that with the teacher in memory, but for rounding, of documents and of conversations in chunks",
    arguments: [Stage.pretrain, .sft])
  func sameRun(_ stage: Stage) throws {
    try TinyRun.inFolder { tiny in
      let teacher = try tiny.teacher()
      let data = stage == .pretrain ? tiny.pretrainData : tiny.conversations
      let stored = tiny.folder + "/stored"
      // Shorter than many documents, which are read in chunks.
      let length = 48
      let manifest = try #require(
        try preparation(tiny, teacher, data: data, sequenceLength: length).write(to: stored) { _ in true })
      #expect(manifest.teacher?.top == 8 && manifest.teacher?.sequenceLength == length)
      #expect(try DataManifest(directory: stored) == manifest)
      var settings = settings(tiny, data: data)
      if stage == .sft {
        settings = tiny.settings(.sft, threads: 2)
        (settings.from, settings.steps, settings.precision) = (teacher, 12, .float32)
      }
      (settings.sequenceLength, settings.distillAlpha, settings.distillBeta) = (length, 0.25, 0.3)
      settings.learningRate = 0.003
      var inMemory = settings
      (inMemory.teacher, inMemory.teacherTop) = (teacher, 8)
      let (_, one) = try tiny.train(inMemory, stage: stage, output: "memory")
      // The sequence length is the data's.
      (settings.data, settings.sequenceLength) = (stored, nil)
      let (_, other) = try tiny.train(settings, stage: stage, output: "disk")
      let (expected, found) = (try losses(one), try losses(other))
      #expect(expected.count == 12 && found.count == 12)
      for (left, right) in zip(found, expected) { #expect(abs(left - right) < 1e-4 * right) }
      let record = try JSON(parsing: text(other + "/training.json"))
      let ofMemory = try JSON(parsing: text(one + "/training.json"))
      #expect(record["teacherHash"] != nil && record["teacherHash"] == ofMemory["teacherHash"])
      #expect(record["options"]?["teacher-top"]?.integerValue == 8)
    }
  }

  @Test("the model comes near its teacher; a stopped run ends with the same bits")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      let stored = tiny.folder + "/stored"
      _ = try preparation(tiny, try tiny.teacher()).write(to: stored) { _ in true }
      var settings = settings(tiny, data: stored)
      (settings.steps, settings.distillAlpha) = (24, 0)
      let events = EventList()
      let (summary, whole) = try tiny.train(settings, output: "whole", sinks: [events])
      let divergences = try events.steps.map { try #require($0.sums.mean("divergence")) }
      #expect(divergences.last! < divergences[0] / 2, "\(divergences)")
      #expect(summary.heldOut?.bitsPerByte != nil)
      let (_, part) = try tiny.train(settings, output: "part", stopAfter: 5)
      try tiny.resume(part)
      #expect(try bytes(part + "/model/model.safetensors") == bytes(whole + "/model/model.safetensors"))
    }
  }

  @Test("an interruption leaves nothing; the data themselves stay as they were")
  func interrupted() throws {
    try TinyRun.inFolder { tiny in
      let stored = tiny.folder + "/stored"
      let before = try bytes(tiny.pretrainData + "/manifest.json")
      let preparation = try preparation(tiny, try tiny.teacher())
      #expect(try preparation.write(to: stored) { _ in false } == nil)
      #expect(!FileManager.default.fileExists(atPath: stored))
      _ = try preparation.write(to: stored) { _ in true }
      #expect(try bytes(tiny.pretrainData + "/manifest.json") == before)
      #expect(try TokenShardDataset(directory: tiny.pretrainData).manifest.teacher == nil)
    }
  }

  @Test("what does not belong together is refused by name")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      let (teacher, stored) = (try tiny.teacher(), tiny.folder + "/stored")
      _ = try preparation(tiny, teacher, sequenceLength: 64).write(to: stored) { _ in true }
      func failure(_ stage: Stage = .pretrain, _ change: (inout TrainingSettings) -> Void) -> String {
        var settings = settings(tiny, data: stored)
        settings.sequenceLength = nil
        change(&settings)
        do {
          _ = try TrainingPlan(stage, settings)
          return ""
        } catch { return "\(error)" }
      }
      #expect(failure { _ in } == "")
      #expect(failure { $0.teacher = teacher }.hasPrefix("\(stored) holds what a teacher said ("))
      #expect(failure { $0.teacherTop = 9 }.hasPrefix("--teacher-top 9 is not that of \(stored), which holds 8 tokens"))
      #expect(
        failure { $0.distillTemperature = 2 }.hasPrefix(
          "--distill-temperature 2 is not that of \(stored), whose teacher"))
      #expect(
        failure { $0.device = .gpu }.hasPrefix("--device gpu computes with all of a teacher's probabilities, and"))
      #expect(
        failure { $0.sequenceLength = 128 }.hasPrefix(
          "the teacher of \(stored) read sequences of 64 tokens, and this run"))
      let config = try text(tiny.configuration)
      let wide = tiny.folder + "/wide.json"
      try Data(config.replacingOccurrences(of: "\"vocab_size\": 300", with: "\"vocab_size\": 304").utf8).write(
        to: URL(fileURLWithPath: wide))
      #expect(
        failure { $0.model = wide }.hasPrefix("the teacher of \(stored) has 300 tokens (vocab_size), the model 304."))
      #expect(
        failure {
          ($0.data, $0.teacher, $0.teacherTop) = (tiny.pretrainData, teacher, 300)
        }.hasPrefix("--teacher-top 300 leaves out none of the 300 tokens."))
      #expect(
        failure {
          ($0.data, $0.teacherTop) = (tiny.pretrainData, 3)
        }.hasPrefix("--teacher-top says how to learn from a teacher."))

      func refused(_ make: () throws -> TeacherPreparation) -> String {
        do {
          _ = try make()
          return ""
        } catch { return "\(error)" }
      }
      #expect(
        refused { try preparation(tiny, teacher, data: stored) }.hasPrefix(
          "\(stored) holds what a teacher said already."))
      #expect(
        refused { try preparation(tiny, teacher, data: tiny.preferences) }.contains(
          "was prepared for dpo, which learns from no teacher."))
      #expect(refused { try preparation(tiny, teacher, top: 300) }.hasPrefix("--top 300 leaves out none"))
      #expect(refused { try preparation(tiny, teacher, sequenceLength: 4096) }.contains("Lower --sequence-length."))

      // A file that is damaged, cut, or of other numbers than the manifest says.
      let file = try #require(
        try FileManager.default.contentsOfDirectory(atPath: stored).first { $0.hasSuffix(".teacher") })
      let path = stored + "/" + file
      let whole = try bytes(path)
      for place in [0, 10, 20, 30, 60, 127, 128, whole.count / 2, whole.count - 1] {
        var damaged = whole
        damaged[place] ^= 0x10
        try damaged.write(to: URL(fileURLWithPath: path))
        #expect(failure { _ in }.contains("minimind data teacher"), "\(place)")
      }
      for count in [0, 100, 128, whole.count - 1] {
        try whole.prefix(count).write(to: URL(fileURLWithPath: path))
        #expect(failure { _ in }.contains(path), "\(count)")
      }
      try FileManager.default.removeItem(atPath: path)
      #expect(failure { _ in }.contains(path))
    }
  }
}
