import Foundation
import ModelFiles
import Storage
import TestSupport
import Testing
import Training

@Suite("Training on disks that cannot do everything")
struct DiskTests {
  private func settings(_ tiny: TinyRun) -> TrainingSettings {
    var settings = tiny.settings()
    settings.steps = 4
    settings.checkpointInterval = 2
    settings.evalInterval = 2
    settings.keepCheckpoints = 1
    return settings
  }

  @Test(
    "a run killed at any call that publishes loses nothing, and ends with the same bits", arguments: DiskKind.allCases)
  func killed(_ kind: DiskKind) throws {
    try TinyRun.inFolder { tiny in
      let (whole, path) = try tiny.train(settings(tiny), output: "whole")
      let expected = try RunOutcome(path, step: 4)
      let snapshots = try Snapshots(of: tiny.folder + "/run", in: tiny.folder + "/snapshots")
      let (_, observed) = try DiskCalls.$current.withValue(kind.calls.observed { snapshots.take() }) {
        try tiny.train(settings(tiny), output: "run")
      }
      #expect(try RunOutcome(observed, step: 4) == expected)
      #expect(snapshots.paths.count > 20)
      // The first ones have no record yet.
      for snapshot in snapshots.paths where FileManager.default.fileExists(atPath: snapshot + "/training.json") {
        let checkpoints = (try? FileManager.default.contentsOfDirectory(atPath: snapshot + "/checkpoints")) ?? []
        let entries = try FileManager.default.contentsOfDirectory(atPath: snapshot)
        let isPublished = !Set(entries).isDisjoint(with: ["model", "model.partial-old", "model.partial-new"])
        // Every command that reads a model finds a whole one, before the run goes on.
        let names = checkpoints.filter { !$0.contains(".partial-") }.map { "/checkpoints/" + $0 }
        for name in names + (isPublished ? [""] : []) {
          #expect(throws: Never.self, "\(snapshot)\(name)") {
            try StoredModel(modelDirectory: resolveModelDirectory(snapshot + name))
          }
        }
        let summary = try DiskCalls.$current.withValue(kind.calls) { try tiny.resume(snapshot) }
        #expect(try RunOutcome(snapshot, step: 4) == expected, "\(snapshot)")
        let best = try #require(summary.best)
        #expect(best == whole.best)
        #expect(AtomicLink.target(of: snapshot + "/checkpoints/best") == "step-\(best.step)")
        let left = try #require(FileManager.default.enumerator(atPath: snapshot)).compactMap { $0 as? String }
        #expect(left.allSatisfy { !$0.contains(".partial-") }, "\(snapshot)")
      }
    }
  }

  @Test(
    "a run goes on after it was moved to another kind of disk, and back", arguments: [DiskKind.withoutLinks, .overlay])
  func moved(_ kind: DiskKind) throws {
    try TinyRun.inFolder { tiny in
      var settings = settings(tiny)
      settings.steps = 8
      let expected = try RunOutcome(try tiny.train(settings, output: "whole").path, step: 8)
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 3)
      for (disk, stop) in [(kind, 5), (.complete, 7)] {
        try DiskCalls.$current.withValue(disk.calls) { _ = try tiny.resume(path, stopAfter: stop) }
        let best = try resolveModelDirectory(path + "/checkpoints/best")
        #expect(try StoredModel(modelDirectory: best).table.totalCount > 0)
      }
      // A copy that has followed the links.
      let best = path + "/checkpoints/best"
      let target = try #require(AtomicLink.target(of: best))
      try FileManager.default.removeItem(atPath: best)
      try FileManager.default.copyItem(atPath: "\(path)/checkpoints/\(target)", toPath: best)
      try DiskCalls.$current.withValue(kind.calls) { _ = try tiny.resume(path) }
      #expect(try RunOutcome(path, step: 8) == expected)
      #expect(AtomicLink.target(of: best) != nil)
    }
  }

  @Test(
    "a tokenizer whose chat templates are in a directory of their own is published with them",
    arguments: DiskKind.allCases)
  func templates(_ kind: DiskKind) throws {
    try TinyRun.inFolder { tiny in
      let (_, base) = try tiny.train(settings(tiny), output: "base")
      let templates = base + "/model/additional_chat_templates"
      try FileManager.default.createDirectory(atPath: templates, withIntermediateDirectories: true)
      try Data("{{ messages[0].content }}".utf8).write(to: URL(fileURLWithPath: templates + "/plain.jinja"))
      var asked = settings(tiny)
      asked.model = nil
      asked.from = base
      let (_, path) = try DiskCalls.$current.withValue(kind.calls) { try tiny.train(asked, output: "run") }
      #expect(try text(path + "/model/additional_chat_templates/plain.jinja") == "{{ messages[0].content }}")
    }
  }

  @Test("where `model` cannot share files, its room is asked for before the first step")
  func room() throws {
    try TinyRun.inFolder { tiny in
      let plan = try TrainingPlan(.pretrain, settings(tiny))
      try DiskCalls.$current.withValue(DiskKind.withoutLinks.calls) { try plan.checkDisk(tiny.folder + "/new/run") }
      #expect(!FileManager.default.fileExists(atPath: tiny.folder + "/new"))
    }
  }
}
