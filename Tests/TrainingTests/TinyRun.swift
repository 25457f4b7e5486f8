import CPUEngine
import Compute
import Corpus
import Foundation
import Generation
import Model
import ModelFiles
import TestSupport
import Tokenization
import Training

/// A tokenizer of 300 entries, learned from the words of `tinyDocuments`.
let tinyTokenizer: Tokenizer = {
  var trainer = try! TokenizerTrainer(vocabularySize: 300, threads: 1)
  for text in tinyDocuments { try! trainer.add(document: text) }
  return try! trainer.train { _ in }
}()

/// 120 documents of one to a dozen sentences about who sees whom: easily learned, and of many lengths.
let tinyDocuments: [String] = {
  var generator = SeededGenerator(seed: 5)
  let names = ["Anna", "Ben", "小明", "Dora"]
  let places = ["in the park", "at home", "by the river", "在学校"]
  return (0..<120).map { number in
    (0...number % 12).map { _ in
      "\(names.randomElement(using: &generator)!) sees \(names.randomElement(using: &generator)!) "
        + "\(places.randomElement(using: &generator)!)."
    }.joined(separator: " ")
  }
}()

/// 100 pairs of answers, of which the one at home is preferred.
private let tinyPreferences: [String] = (0..<100).map { number in
  let names = ["Anna", "Ben", "小明", "Dora"]
  let (one, other) = (names[number % 4], names[number / 4 % 4])
  let place = ["in the park", "by the river", "在学校"][number % 3]
  return """
    {"prompt": "who is number \(number)?", "chosen": "\(one) sees \(other) at home.", \
    "rejected": "\(one) sees \(other) \(place)."}
    """
}

/// 100 answers, of which those at home are wanted.
private let tinyJudged: [String] = (0..<100).map { number in
  let names = ["Anna", "Ben", "小明", "Dora"]
  let place = ["at home", "in the park", "at home", "by the river", "在学校"][number % 5]
  return """
    {"prompt": "who is number \(number)?", \
    "completion": "\(names[number % 4]) sees \(names[number / 4 % 4]) \(place).", "label": \(place == "at home")}
    """
}

/// A folder with prepared data for every stage and the configuration of a model with 3000 weights.
struct TinyRun {
  let folder: String
  /// Tokens that stand in each answer, after its second, as results of tools do.
  var insertedTokens = 0
  var pretrainData: String { folder + "/pretrain" }
  var conversations: String { folder + "/sft" }
  var preferences: String { folder + "/dpo" }
  var configuration: String { folder + "/model.json" }
  /// The same with four experts, two for each token, and a shared one.
  var mixtureConfiguration: String { folder + "/mixture.json" }

  static func inFolder<Result>(_ body: (TinyRun) throws -> Result) throws -> Result {
    try withTemporaryDirectory { folder in
      let run = TinyRun(folder: folder)
      try run.prepare("documents.txt", tinyDocuments.joined(separator: "\n"), .pretrain(PretrainFilters()), "pretrain")
      let rows = tinyDocuments.enumerated().map { number, text in
        "{\"q\": \"who is number \(number)?\", \"a\": \"\(text)\"}"
      }
      try run.prepare(
        "questions.jsonl", rows.joined(separator: "\n"), .sft(ConversationFilters(), ChatTemplate()), "sft")
      try run.prepare(
        "preferences.jsonl", tinyPreferences.joined(separator: "\n"),
        .dpo(maximumTokens: 64, ChatTemplate()), "dpo")
      try run.prepare(
        "judged.jsonl", tinyJudged.joined(separator: "\n"), .kto(maximumTokens: 64, ChatTemplate()), "kto")
      try run.prepareTasks()
      var configuration = ModelConfiguration(
        hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64, vocabularySize: 300)
      configuration.maximumSequenceLength = 128
      try Data(configuration.huggingFaceConfig().text().utf8).write(to: URL(fileURLWithPath: run.configuration))
      (configuration.expertCount, configuration.expertsPerToken, configuration.sharedExpertCount) = (4, 2, 1)
      try Data(configuration.huggingFaceConfig().text().utf8).write(to: URL(fileURLWithPath: run.mixtureConfiguration))
      return try body(run)
    }
  }

  /// The data of `pretrain` as another tokenizer has them.
  func prepareDocuments(tokenizer: Tokenizer, output: String) throws {
    try prepare(
      "documents.txt", tinyDocuments.joined(separator: "\n"), .pretrain(PretrainFilters()), output, tokenizer)
  }

  /// Conversations, pairs and answers with labels as another tokenizer has them, in directories that begin with "seen-".
  func prepareAnswers(tokenizer: Tokenizer) throws {
    let template = ChatTemplate()
    let rows = tinyDocuments.enumerated().map { "{\"q\": \"who is number \($0)?\", \"a\": \"\($1)\"}" }
    for (name, rows, task) in [
      ("questions.jsonl", rows, DataPreparation.Task.sft(ConversationFilters(), template)),
      ("preferences.jsonl", tinyPreferences, .dpo(maximumTokens: 128, template)),
      ("judged.jsonl", tinyJudged, .kto(maximumTokens: 128, template)),
    ] { try prepare(name, rows.joined(separator: "\n"), task, "seen-\(task.kind.rawValue)", tokenizer) }
  }

  /// Conversations with thoughts, and documents, by a tokenizer that has tokens for the tags.
  func prepareThoughts(documents: String, conversations: String) throws {
    var trainer = try TokenizerTrainer(vocabularySize: 300, threads: 1, layout: .miniMind3)
    for text in tinyDocuments { try trainer.add(document: text) }
    let tokenizer = try trainer.train { _ in }
    try prepareDocuments(tokenizer: tokenizer, output: documents)
    let rows = tinyDocuments.enumerated().map { number, text in
      """
      {"messages": [{"role": "user", "content": "who is number \(number)?"}, {"role": "assistant", "content": "\(text)", \
      "reasoning_content": "number \(number)"}]}
      """
    }
    let template = try ChatTemplate(tokenizerDirectory: folder + "/" + documents)
    try prepare(
      "thoughts.jsonl", rows.joined(separator: "\n"), .sft(ConversationFilters(), template), conversations, tokenizer)
  }

  /// 60 questions, to which an answer is right that is about home.
  private func prepareTasks() throws {
    let rows = (0..<60).map { number in
      """
      {"messages": [{"role": "user", "content": "who is number \(number)?"}], "check": {"kind": "pattern", "pattern": "at home"}}
      """
    }
    let path = folder + "/tasks.jsonl"
    try Data(rows.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    var preparation = TaskPreparation(paths: [path], template: ChatTemplate(), tokenizer: tinyTokenizer)
    preparation.heldOutFraction = 0.1
    _ = try preparation.write(to: folder + "/grpo", programVersion: "test")
  }

  private func prepare(
    _ name: String, _ content: String, _ task: DataPreparation.Task, _ output: String,
    _ tokenizer: Tokenizer = tinyTokenizer
  ) throws {
    try Data(content.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
    var preparation = DataPreparation(
      task: task, files: try InputFiles([folder + "/" + name]).files, tokenizer: tokenizer)
    preparation.heldOutFraction = 0.1
    _ = try preparation.write(to: folder + "/" + output, programVersion: "test")
  }

  /// Settings that make a step of a pretraining epoch's tenth or so.
  func settings(_ stage: Stage = .pretrain, threads: Int = 1) -> TrainingSettings {
    var settings = TrainingSettings(data: folder + "/" + stage.dataKind.rawValue, threads: threads)
    if stage == .pretrain { settings.model = configuration }
    if stage.readsDocuments {
      settings.batchTokens = 512
      settings.sequenceLength = 128
    }
    settings.microBatchTokens = 256
    // The same on every processor.
    settings.precision = .bfloat16
    // The same for both stages; tests that are about Muon ask for it.
    settings.optimizer = .adamW
    settings.learningRate = 0.01
    return settings
  }

  /// The directory of a model that knows how the conversations look.
  func chatModel(mixture: Bool = false) throws -> String {
    var settings = settings(threads: 2)
    if mixture { settings.model = mixtureConfiguration }
    settings.epochs = 5
    let (_, base) = try train(settings, output: "base")
    settings = self.settings(.sft, threads: 2)
    settings.from = base
    settings.epochs = 2
    return try train(settings, stage: .sft, output: "chat").path
  }

  /// A model that has read the text often enough to be another's teacher: its run.
  func teacher() throws -> String {
    var settings = settings(threads: 2)
    settings.epochs = 6
    return try train(settings, output: "teacher").path
  }

  /// Settings of a model that learns from its own short answers.
  func learning(_ stage: Stage, from model: String, steps: Int) -> TrainingSettings {
    var settings = settings(stage, threads: 2)
    settings.from = model
    settings.precision = .float32
    settings.learningRate = 1e-3
    (settings.steps, settings.answerTokens, settings.microBatchTokens) = (steps, 16, 512)
    return settings
  }

  /// Trains to the end, or until `stopAfter` steps are done, and gives back the run's directory.
  @discardableResult
  func train(
    _ settings: TrainingSettings, stage: Stage = .pretrain, output: String, stopAfter: Int = .max,
    sinks: [any MetricsSink] = [], sampler: Trainer.Continuations? = nil, engines: (any TrainingEngineProvider)? = nil
  ) throws -> (summary: TrainingSummary, path: String) {
    try train(settings, stage: stage, output: output, sinks: sinks, sampler: sampler, engines: engines) {
      $0 >= stopAfter
    }
  }

  /// Trains to the end, or until `isStopRequested`, which gets the steps that are done.
  func train(
    _ settings: TrainingSettings, stage: Stage = .pretrain, output: String, sinks: [any MetricsSink] = [],
    sampler: Trainer.Continuations? = nil, engines: (any TrainingEngineProvider)? = nil,
    isStopRequested: (_ stepsDone: Int) -> Bool
  ) throws -> (summary: TrainingSummary, path: String) {
    let plan = try TrainingPlan(stage, settings)
    let run = try RunDirectory(creating: folder + "/" + output)
    try plan.record(programVersion: "test").write(to: run)
    return (try train(plan, run, sinks: sinks, sampler: sampler, engines, isStopRequested), run.path)
  }

  /// Goes on with a run, possibly with changed settings.
  @discardableResult
  func resume(
    _ path: String, stage: Stage = .pretrain, stopAfter: Int = .max, engines: (any TrainingEngineProvider)? = nil,
    change: (inout TrainingSettings) -> Void = { _ in }
  ) throws -> TrainingSummary {
    let run = try RunDirectory(resuming: path)
    let record = try RunRecord(of: run)
    var settings = record.options
    change(&settings)
    let plan = try TrainingPlan(resuming: run, record: record, stage, settings)
    try plan.extendedRecord?.write(to: run)
    return try train(plan, run, sinks: [], sampler: nil, engines) { $0 >= stopAfter }
  }

  private func train(
    _ plan: TrainingPlan, _ run: RunDirectory, sinks: [any MetricsSink], sampler: Trainer.Continuations?,
    _ engines: (any TrainingEngineProvider)?, _ isStopRequested: (_ stepsDone: Int) -> Bool
  ) throws -> TrainingSummary {
    let trainer = try Trainer(
      plan, run: run, engines: engines ?? CPUEngineProvider(threads: plan.settings.threads), sinks: sinks,
      continuations: sampler, writer: TinyWriter(threads: plan.settings.threads, insertedTokens: insertedTokens))
    return try trainer.train { isStopRequested(trainer.state.step) }
  }
}

/// Writes answers as the program does, with fp32 weights.
final class TinyWriter: RolloutWriter {
  private let team: WorkerTeam

  private let insertedTokens: Int

  init(threads: Int, insertedTokens: Int = 0) {
    team = WorkerTeam(count: threads)
    self.insertedTokens = insertedTokens
  }

  func write(
    _ requests: [AnswerRequest], with engine: any TrainingEngine, progress: (_ ended: Int) throws -> Void
  ) throws -> [AnswerTokens] {
    let model = try CPUInferenceEngine(engine, type: .float32, team: team)
    let writer = try BatchEngine(model, tinyTokenizer, answers: requests.count, longest: 128)
    let answers = try writer.answers(
      to: requests.map { asked in
        var request = GenerationRequest(prompt: asked.prompt)
        request.maximumTokens = asked.maximumTokens
        request.sampling.temperature = Float(asked.temperature)
        (request.sampling.topK, request.sampling.topP) = (asked.topK, Float(asked.topP))
        request.sampling.seed = asked.seed
        return request
      }, progress: progress)
    return answers.map { answer in
      guard insertedTokens > 0, answer.tokens.count > 2 else { return answer }
      var answer = answer
      answer.tokens.insert(contentsOf: repeatElement(7, count: insertedTokens), at: 2)
      answer.logProbabilities.insert(contentsOf: repeatElement(0, count: insertedTokens), at: 2)
      answer.inserted = [2..<2 + insertedTokens]
      return answer
    }
  }
}

/// Keeps all events.
final class EventList: MetricsSink {
  private(set) var events: [TrainingEvent] = []
  func record(_ event: TrainingEvent) { events.append(event) }

  var steps: [StepReport] { events.compactMap { if case .step(let report) = $0 { report } else { nil } } }
  var evaluations: [Evaluation] {
    events.compactMap { if case .evaluation(let evaluation, _) = $0 { evaluation } else { nil } }
  }
  var samples: [SampleReport] { events.compactMap { if case .samples(let report) = $0 { report } else { nil } } }
}

func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

func text(_ path: String) throws -> String { String(decoding: try bytes(path), as: UTF8.self) }
