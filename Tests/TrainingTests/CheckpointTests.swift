import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing
import Tokenization
import Training

@Suite("Checkpoints")
struct CheckpointTests {
  private func names(_ path: String) throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: path))
  }

  @Test("the newest and the best are kept, `best` points to the latter, `model` is the newest")
  func kept() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 12
      settings.checkpointInterval = 2
      settings.schedule = .constant
      let (summary, path) = try tiny.train(settings, output: "run")
      let best = try #require(summary.best)
      #expect(try names(path + "/checkpoints") == ["step-10", "step-12", "step-\(best.step)", "best"])
      #expect(
        try FileManager.default.destinationOfSymbolicLink(atPath: path + "/checkpoints/best") == "step-\(best.step)")
      let model = try bytes(path + "/model/model.safetensors")
      #expect(try bytes(path + "/checkpoints/step-12/model/model.safetensors") == model)
      // Any of the three is a model that later commands can take.
      for directory in [path, path + "/checkpoints/best", path + "/checkpoints/step-10"] {
        let resolved = try resolveModelDirectory(directory)
        #expect(try Parameters(modelDirectory: resolved).configuration.vocabularySize == 300)
        #expect(try Tokenizer(directory: resolved).contentHash == tinyTokenizer.contentHash)
      }
    }
  }

  @Test("the best stays when it is not among the newest")
  func bestIsOld() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 30
      settings.checkpointInterval = 3
      settings.keepCheckpoints = 1
      settings.warmupSteps = 0
      // So high that the model forgets what it knows.
      settings.learningRate = 3
      settings.schedule = .constant
      let (summary, path) = try tiny.train(settings, output: "run")
      let best = try #require(summary.best)
      #expect(best.step < 30)
      #expect(try names(path + "/checkpoints") == ["step-\(best.step)", "step-30", "best"])
    }
  }

  @Test("what an interrupted write has left is no checkpoint, and is removed on resume")
  func leftovers() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 4
      settings.checkpointInterval = 2
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 3)
      for name in ["step-4.partial-17", "step-1.partial-removed"] {
        try FileManager.default.createDirectory(
          atPath: path + "/checkpoints/" + name + "/model", withIntermediateDirectories: true)
      }
      try FileManager.default.createDirectory(atPath: path + "/model.partial-17", withIntermediateDirectories: true)
      #expect(try RunDirectory(resuming: path).checkpointSteps == [2, 3])
      #expect(try names(path + "/checkpoints") == ["step-2", "step-3", "best"])
      #expect(try !names(path).contains("model.partial-17"))
    }
  }

  @Test("a run that ended between a checkpoint and its publication catches up")
  func unpublished() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 4
      settings.checkpointInterval = 2
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 3)
      try FileManager.default.removeItem(atPath: path + "/checkpoints/step-3")
      try FileManager.default.removeItem(atPath: path + "/model")
      try FileManager.default.removeItem(atPath: path + "/checkpoints/best")
      try tiny.resume(path, stopAfter: 2)
      let model = try bytes(path + "/model/model.safetensors")
      #expect(try bytes(path + "/checkpoints/step-2/model/model.safetensors") == model)
      #expect(try names(path + "/checkpoints") == ["step-2", "best"])
    }
  }

  @Test(
    "a damaged checkpoint is told by its file, whatever the damage", arguments: ["optimizer.safetensors", "state.json"])
  func damage(_ name: String) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 3
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 1)
      let file = path + "/checkpoints/step-1/" + name
      let whole = try bytes(file)
      for content in [Data(), whole.prefix(whole.count / 2), Data("{}".utf8)] {
        try content.write(to: URL(fileURLWithPath: file))
        do {
          try tiny.resume(path)
          Issue.record("\(content.count) bytes were accepted")
        } catch { #expect("\(error)".contains(file), "\(error)") }
      }
      try whole.write(to: URL(fileURLWithPath: file))
      #expect(try tiny.resume(path).isComplete)
    }
  }

  @Test(
    "numbers that no run can have are refused by their file",
    arguments: [
      ("training.json", "options", "threads", 0), ("training.json", "options", "checkpoint-interval", 0),
      ("training.json", "options", "sequence-length", -1), ("training.json", "options", "batch-tokens", Int.max),
      ("training.json", "options", "keep-checkpoints", 0), ("checkpoints/step-1/state.json", nil, "step", 4),
      ("checkpoints/step-1/state.json", nil, "tokens", Int.max),
      ("checkpoints/step-1/state.json", "position", "tokens", Int.max),
    ] as [(String, String?, String, Int)])
  func impossibleNumbers(file: String, object: String?, key: String, value: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 3
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 1)
      let url = URL(fileURLWithPath: path + "/" + file)
      var json = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
      if let object {
        var inner = try #require(json[object] as? [String: Any])
        inner[key] = value
        json[object] = inner
      } else {
        json[key] = value
      }
      try JSONSerialization.data(withJSONObject: json).write(to: url)
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path) }
      #expect(error?.description.hasPrefix("\(path)/\(file): ") == true, "\(error?.description ?? "accepted")")
    }
  }

  @Test("moments that are not finite are refused")
  func nonFiniteMoments() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 3
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 1)
      let file = path + "/checkpoints/step-1/optimizer.safetensors"
      var content = try bytes(file)
      content.replaceSubrange(content.count - 4..<content.count, with: [0, 0, 0xC0, 0x7F])
      try content.write(to: URL(fileURLWithPath: file))
      #expect(throws: TrainingError.self) { try tiny.resume(path) }
    }
  }
}

@Suite("Run directory")
struct RunDirectoryTests {
  @Test("a directory that holds something is refused, with what to do")
  func occupied() throws {
    try withTemporaryDirectory { folder in
      try Data().write(to: URL(fileURLWithPath: folder + "/notes.txt"))
      let other = #expect(throws: TrainingError.self) { try RunDirectory(creating: folder) }
      #expect(other?.description == "\(folder) is not empty. Choose another --output, which will be created.")
      try Data("{}".utf8).write(to: URL(fileURLWithPath: folder + "/training.json"))
      for check in [{ _ = try RunDirectory(creating: folder) }, { try RunDirectory.checkIsFree(folder) }] {
        let run = #expect(throws: TrainingError.self) { try check() }
        #expect(
          run?.description == "\(folder) holds a training run already. Go on with it by --resume \(folder), "
            + "or choose another --output.")
      }
    }
  }

  @Test("a directory that is refused is left as it was")
  func untouched() throws {
    try withTemporaryDirectory { folder in
      try Data().write(to: URL(fileURLWithPath: folder + "/notes.txt"))
      for check in [{ _ = try RunDirectory(creating: folder) }, { try RunDirectory.checkIsFree(folder) }] {
        #expect(throws: TrainingError.self) { try check() }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["notes.txt"])
      }
    }
  }

  @Test("what a replacement that was cut short has moved aside is put back on resume")
  func putBack() throws {
    try withTemporaryDirectory { folder in
      try Data("{}".utf8).write(to: URL(fileURLWithPath: folder + "/training.json"))
      let directories = [
        "model.partial-old", "checkpoints/step-2", "checkpoints/step-2.partial-old", "checkpoints/step-3.partial-old",
      ]
      for name in directories {
        try FileManager.default.createDirectory(atPath: folder + "/" + name, withIntermediateDirectories: true)
      }
      #expect(try RunDirectory(resuming: folder).checkpointSteps == [2, 3])
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
          == [".lock", "checkpoints", "model", "training.json"])
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted() == ["step-2", "step-3"])
    }
  }

  @Test("two runs cannot have one directory")
  func locked() throws {
    try withTemporaryDirectory { folder in
      let first = try RunDirectory(creating: folder + "/run")
      let error = #expect(throws: FileError.self) { try RunDirectory(creating: folder + "/run/") }
      #expect(error?.description.contains("is in use by another minimind process") == true)
      withExtendedLifetime(first) {}
    }
  }

  @Test("a record that is no record is told by its file")
  func brokenRecord() throws {
    try withTemporaryDirectory { folder in
      for content in ["", "{}", "[1, 2", "{\"format\": 1}"] {
        try Data(content.utf8).write(to: URL(fileURLWithPath: folder + "/training.json"))
        let error = #expect(throws: TrainingError.self) { try RunRecord(of: try RunDirectory(resuming: folder)) }
        #expect(error?.description.hasPrefix(folder + "/training.json is not the record of a run") == true)
      }
    }
  }
}
