import CPUEngine
import Foundation
import Storage
import TestSupport
import Testing
import Training

@Suite("Settings")
struct SettingTests {
  /// The error that a run's record gives when one of its options is set to `value`, or removed where that is nil.
  private func error(_ tiny: TinyRun, _ path: String, _ name: String, _ value: JSON?) throws -> String? {
    let file = path + "/training.json"
    let original = try text(file)
    defer { try? Data(original.utf8).write(to: URL(fileURLWithPath: file)) }
    guard case .object(var members) = try JSON(parsing: original),
      let place = members.firstIndex(where: { $0.key == "options" }), case .object(var options) = members[place].value
    else { return "no record" }
    options.removeAll { $0.key == name }
    if let value { options.append(JSON.Member(name, value)) }
    members[place].value = .object(options)
    try Data(JSON.object(members).text().utf8).write(to: URL(fileURLWithPath: file))
    do { _ = try RunHistory(path) } catch { return "\(error)".replacingOccurrences(of: file + ": ", with: "") }
    return nil
  }

  @Test("a record is held to the bounds and types of each option, and to the options of its stage")
  func records() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 1
      let (_, path) = try tiny.train(settings, output: "run")
      #expect(try error(tiny, path, "steps", .integer(2)) == nil)
      for (name, value, problem) in [
        ("beta2", JSON.number(1.5), "beta2 is 1.5; it must be between 0 and 0.999999."),
        ("steps", .integer(0), "steps is 0; it must be between 1 and 1000000000."),
        ("steps", .number(0.5), "steps is 0.5; it must be a whole number."),
        ("seed", .integer(-1), "seed is -1; it must be at least 0."),
        ("learning-rate", .string("high"), "learning-rate is \"high\"; it must be a number."),
        ("schedule", .string("linear"), "schedule is \"linear\"; it must be cosine, wsd, constant."),
        ("sample-prompt", .array([.integer(1)]), "sample-prompt is [1]; it must be a list of texts."),
        ("recompute-activations", .integer(1), "recompute-activations is 1; it must be true or false."),
        ("data", .null, "data is null; it must be a text."),
        ("depth", .integer(4), "\"depth\" is no option of minimind pretrain. A later version may have written it."),
        // Of another stage.
        ("beta", .number(0.1), "\"beta\" is no option of minimind pretrain. A later version may have written it."),
      ] {
        #expect(try error(tiny, path, name, value) == problem + " Correct it, or begin a new run.")
      }
      let missing = try error(tiny, path, "learning-rate", nil)
      #expect(missing?.contains("is not the record of a run: it lacks learning-rate.") == true)
    }
  }

  @Test("a whole number is the same setting whether a record has it with a decimal point or without")
  func wholeNumbers() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 2
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 1)
      let file = path + "/training.json"
      let changed = try text(file).replacingOccurrences(of: "\"gradient-clip\": 1.0", with: "\"gradient-clip\": 1")
      #expect(try changed != text(file))
      try Data(changed.utf8).write(to: URL(fileURLWithPath: file))
      #expect(try tiny.resume(path) { $0.gradientClip = 1 }.isComplete)
    }
  }

  @Test(
    "the options of a stage have names of their own, and their defaults are within their bounds", arguments: Stage.all)
  func declarations(_ stage: Stage) throws {
    let settings = stage.settings
    #expect(Set(settings.map(\.name)).count == settings.count)
    for setting in settings {
      #expect(!setting.help.isEmpty && setting.help.hasSuffix(".") || setting.name == "tensorboard", "\(setting.name)")
      // A default that is a value, and no rule, is one that could be given.
      guard let text = setting.defaultText(stage), !text.contains(" "), text != "all" else { continue }
      #expect(throws: Never.self, "\(setting.name)") { _ = try setting.kind.value(of: [text]) }
    }
  }

  @Test("a run that is asked for nothing has the defaults that the help page says", arguments: Stage.all)
  func defaults(_ stage: Stage) throws {
    let stage = stage.computed(by: CPUEngineProvider.self)
    #expect(stage.defaultPrecision == CPUEngineProvider.fastestPrecision)
    try TinyRun.inFolder { tiny in
      var base = tiny.settings()
      base.steps = 1
      var asked = TrainingSettings(data: tiny.folder + "/" + stage.dataKind.rawValue, threads: 1)
      // The tiny model reads 128 tokens.
      if !stage.readsDocuments { asked.answerTokens = 64 }
      if stage.modelsAnswer {
        asked.from = try tiny.train(base, output: "base").path
      } else {
        asked.model = tiny.configuration
      }
      let recorded = try TrainingPlan(stage, asked).settings.recorded
      for setting in stage.settings {
        // A rule, in several words, is checked elsewhere.
        guard let text = setting.defaultText(stage), !text.contains(" "), text != "all" else { continue }
        let value = recorded[setting.name]?.settingText
        // Those of an adapter, of a teacher, of a model that sees, of answers in some steps, and of one loss are recorded
        // where there is one.
        let isOfAdapter = setting.name.hasPrefix("lora-") && stage.defaultLoRARank == 0
        let needsAnother =
          setting.name.hasPrefix("distill-")
          || ["label-smoothing", "simpo-gamma", "clip-low", "clip-high", "train"].contains(setting.name)
          || stage.readsDocuments && ["on-policy", "temperature"].contains(setting.name)
        let hasNone = (isOfAdapter || needsAnother) && value == nil
        let isRight = value == text || hasNone || setting.name == "answer-tokens"
        #expect(isRight, "\(setting.name)")
      }
    }
  }

  @Test("every stage has the options that it resolves, by the same names on the command line and in the record")
  func stages() {
    let names = Stage.all.map { stage in Set(stage.settings.map(\.name)) }
    let common = names.reduce(names[0]) { $0.intersection($1) }
    let ofTeacher: Set = ["teacher", "distill-alpha", "distill-temperature", "distill-beta", "teacher-top"]
    let ofOwnAnswers: Set = ["on-policy", "answer-tokens", "temperature", "writing-precision"]
    let ofAdapter: Set = ["lora-rank", "lora-alpha", "lora-dropout", "lora-targets"]
    let ofSight: Set = ["tower", "train"]
    #expect(names[0].subtracting(common) == ofTeacher.union(ofSight).union(["model", "batch-tokens", "sample-prompt"]))
    #expect(
      names[1] == names[2].union(ofSight)
        && names[1].subtracting(common)
          == ofAdapter.union(ofTeacher).union(ofOwnAnswers).union(ofSight).union([
            "batch-tokens", "sample-prompt", "think-weight",
          ])
    )
    #expect(
      Stage.all.map { $0.startSettings.map(\.name) }
        == [["model", "from"]] + [[String]](repeating: ["from"], count: Stage.all.count - 1))
    #expect(
      names[3].subtracting(names[1]) == ["beta", "loss", "length-normalized", "label-smoothing", "simpo-gamma"])
    #expect(names[4].subtracting(names[1]) == ["beta", "desirable-weight", "undesirable-weight"])
    // A model that scores has no adapter and writes no samples.
    #expect(names[5] == common.union(["batch-tokens"]))
  }
}
