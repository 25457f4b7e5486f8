import Foundation
import Storage
import TestSupport
import Testing
import Training

@Suite("Runs with a teacher")
struct DistillationRunTests {
  private func settings(_ tiny: TinyRun, _ teacher: String) -> TrainingSettings {
    var settings = tiny.settings(threads: 2)
    settings.teacher = teacher
    settings.steps = 24
    return settings
  }

  @Test(
    "the model comes near its teacher; held-out documents are measured by their cross-entropy; both parts are reported")
  func learns() throws {
    try TinyRun.inFolder { tiny in
      var settings = self.settings(tiny, try tiny.teacher())
      settings.distillAlpha = 0.25
      let events = EventList()
      let (summary, path) = try tiny.train(settings, output: "student", sinks: [events])
      let (first, last) = (try #require(events.steps.first), try #require(events.steps.last))
      let far = try #require(first.sums.mean("divergence"))
      #expect(try #require(last.sums.mean("divergence")) < far / 2)
      for step in [first, last] {
        let parts =
          0.25 * (try #require(step.sums.mean("cross_entropy"))) + 0.75 * 2.25 * (step.sums.mean("divergence") ?? 0)
        #expect(abs((try #require(step.loss)) - parts) < 1e-5 * parts)
      }
      #expect(summary.heldOut?.bitsPerByte != nil)
      let record = try JSON(parsing: text(path + "/training.json"))
      #expect(record["teacherHash"]?.stringValue?.isEmpty == false)
    }
  }

  @Test("a stopped run ends with the same bits, an adapter's too", arguments: [false, true])
  func resumes(asAdapter: Bool) throws {
    try TinyRun.inFolder { tiny in
      let teacher = try tiny.teacher()
      let stage: Stage = asAdapter ? .lora : .pretrain
      var settings = self.settings(tiny, teacher)
      if asAdapter {
        settings = tiny.settings(.lora, threads: 2)
        (settings.from, settings.teacher, settings.steps) = (teacher, teacher, 12)
      }
      let file = asAdapter ? "/model/adapter_model.safetensors" : "/model/model.safetensors"
      let (_, whole) = try tiny.train(settings, stage: stage, output: "whole")
      let (_, part) = try tiny.train(settings, stage: stage, output: "part", stopAfter: 5)
      try tiny.resume(part, stage: stage)
      #expect(try bytes(part + file) == bytes(whole + file))
    }
  }

  @Test("another teacher, another vocabulary, another tokenizer, and options without a teacher are refused by name")
  func refusals() throws {
    try TinyRun.inFolder { tiny in
      let teacher = try tiny.teacher()
      func failure(_ change: (inout TrainingSettings) -> Void) -> String {
        var settings = self.settings(tiny, teacher)
        change(&settings)
        do {
          _ = try TrainingPlan(.pretrain, settings)
          return ""
        } catch { return "\(error)" }
      }
      #expect(failure { _ in } == "")
      #expect(
        failure {
          $0.teacher = nil
          $0.distillBeta = 0.5
        }.hasPrefix("--distill-beta says how to learn from a teacher."))
      let config = try text(tiny.configuration)
      let wide = tiny.folder + "/wide.json"
      try Data(config.replacingOccurrences(of: "\"vocab_size\": 300", with: "\"vocab_size\": 304").utf8).write(
        to: URL(fileURLWithPath: wide))
      #expect(
        failure { $0.model = wide }.hasPrefix("--teacher \(teacher) has 300 tokens (vocab_size), the model 304."))

      var settings = self.settings(tiny, teacher)
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 2)
      settings = tiny.settings(threads: 2)
      settings.steps = 2
      let (_, other) = try tiny.train(settings, output: "other")
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path) { $0.teacher = other } }
      #expect(error?.description.hasPrefix("\(other) is not the teacher that the run was begun with") == true)
    }
  }
}
