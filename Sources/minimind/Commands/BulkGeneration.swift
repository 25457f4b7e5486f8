import Corpus
import Foundation
import Generation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization

/// `minimind generate --input … --output …`: the answers to all questions of a file, in the rows that `data sft` reads.
///
/// Until all are there, they are in `OUTPUT.partial`, a line an answer in the order of the questions, and what they were written
/// with is in `OUTPUT.partial.json`. The same command goes on after the last whole line.
struct BulkGeneration {
  static let input = Option.list(
    "input", "FILE",
    help:
      "Answers all questions of JSONL, JSON, CSV, Parquet or text files, many at once: rows as data sft reads them, of which "
      + "answers at the end are left out, or lines of text.")
  static let output = Option.optional(
    "output", "FILE",
    help: "With --input: the answers, as JSONL that data sft reads. The same command goes on where it stopped.")
  static let parallel = Option.integer(
    "parallel", default: 32, in: 1...256, help: "With --input: answers that are written at the same time.")
  static let options: [any OptionDescription] = [
    input, output, parallel, InputCommandOptions.encoding, TemplateOptions.variables,
  ]

  private let invocation: Invocation
  private let output: String
  private var partial: String { output + ".partial" }
  private var jobPath: String { output + ".partial.json" }

  /// - Parameter otherwise: options of the continuation of one text.
  /// - Returns: nil where no questions are given.
  /// - Throws: `UsageError` for options that do not belong together, `CommandError` where the output is there already.
  init?(_ invocation: Invocation, otherwise: [any OptionDescription]) throws {
    guard invocation.isGiven(Self.input) else {
      for option in Self.options.dropFirst()
      where invocation.isGiven(option) {
        throw UsageError("--\(option.name) is for the questions of --input FILE. Give them, or leave it out.")
      }
      return nil
    }
    guard let output = invocation[Self.output] else { throw UsageError("--input needs --output FILE for the answers.") }
    for option in otherwise where invocation.isGiven(option) {
      throw UsageError("--\(option.name) is for one text, and --input for many. Give one of them.")
    }
    self.invocation = invocation
    self.output = output
    guard !FileManager.default.fileExists(atPath: output) else {
      throw CommandError("\(output) is there already. Choose another --output, or remove it.")
    }
  }

  func run() throws {
    let loaded = try LoadedModel(invocation)
    let template = try TemplateOptions.template(invocation, of: loaded.directory)
    let reader = try QuestionReader(
      inputs: invocation[Self.input], try InputCommandOptions.read(invocation), template: template.jinja)
    let (all, broken) = try reader.questions()
    try warnOfBrokenRows(count: broken.count, broken.messages)
    let questions = try fitting(all, template, loaded)

    let job = try job(loaded, questions)
    var done = try resumed(job, questions)
    try AtomicFile.write(Array((job.text() + "\n").utf8), to: jobPath)
    let file = try GrowingFile(partial, replacingBy: done.text)
    done.text = ""

    let parallel = min(invocation[Self.parallel], loaded.model.limits.sequences)
    let engine = try BatchEngine(
      loaded.model, loaded.tokenizer, maximumSequences: parallel,
      cacheTokens: loaded.model.cacheTokens(
        sequences: parallel, byteLimit: (MachineMemory.availableBytes ?? 4 << 30) / 2))
    let thinking = try invocation[GenerateOptions.thinkingTokens].map { tokens in
      try [false, true].map { try ThinkingBudget(maximumTokens: tokens, isOpen: $0, loaded.tokenizer) }
    }
    Interruption.watch()
    let console = Console.standardError
    let progress = ProgressLine(
      "answering", total: questions.count - done.count, unit: .things("answers"), console: console)
    let start = monotonicSeconds()
    var answered = 0
    var tokens = 0
    let isComplete = try engine.writeAnswers(
      done.count..<questions.count,
      request: { index in
        var request = GenerationRequest(prompt: questions[index].prompt.tokens)
        request.sampling = GenerateOptions.sampling(invocation, loaded.defaults)
        request.sampling.seed &+= UInt64(index)
        request.maximumTokens = invocation[GenerateOptions.maximumTokens] ?? loaded.defaults.maximumTokens
        request.thinking = thinking?[questions[index].prompt.opensReasoning ? 1 : 0]
        request.stops = invocation[GenerateOptions.stop]
        return request
      },
      isWanted: { _, written in
        tokens = written
        let rate = Double(written) / max(1e-9, monotonicSeconds() - start)
        progress.update(completed: answered, detail: String(format: "%.0f tokens/s", rate))
        return !Interruption.isRequested
      },
      onAnswer: { index, answer in
        try file.write(questions[index].row(answer, template).compactText + "\n")
        answered += 1
      })
    try file.synchronize()
    progress.finish()
    guard isComplete else {
      throw Interrupted(
        "interrupted; \(done.count + answered) of \(questions.count) answers are in \(partial). "
          + "Go on with the same command.")
    }
    guard rename(partial, output) == 0 else { throw FileError("cannot rename", partial, errno: errno) }
    try? FileManager.default.removeItem(atPath: jobPath)
    let seconds = monotonicSeconds() - start
    try console.print(
      "\(formatCount(questions.count)) answers in \(output), \(formatCount(tokens)) tokens in \(formatDuration(seconds)), "
        + String(format: "%.0f tokens/s", Double(tokens) / max(1e-9, seconds)))
  }

  // MARK: - Questions

  private struct PreparedQuestion {
    let question: Question
    let prompt: ChatPrompt

    /// The conversation with its answer.
    func row(_ answer: AnswerTokens, _ template: ChatTemplate) -> JSON {
      let reason: FinishReason = answer.isTruncated ? .length : .stop
      let messages = question.messages + [template.answer(answer.text, opensReasoning: prompt.opensReasoning)]
      let tools = question.tools.isEmpty ? [] : [JSON.Member("tools", .array(question.tools))]
      return .object(
        [.init("messages", .array(messages.map(\.json)))] + tools
          + [.init("finish_reason", .string(reason.rawValue))])
    }
  }

  /// The questions as the model reads them; those that leave no room for an answer are left out, and counted.
  private func fitting(
    _ questions: [Question], _ template: ChatTemplate, _ loaded: LoadedModel
  ) throws -> [PreparedQuestion] {
    var fitting: [PreparedQuestion] = []
    for question in questions {
      let prompt = try template.prompt(question.messages, tools: question.tools, with: loaded.tokenizer)
      if prompt.tokens.count < loaded.model.contextLength {
        fitting.append(PreparedQuestion(question: question, prompt: prompt))
      }
    }
    let left = questions.count - fitting.count
    if left > 0 {
      try Console.standardError.print(
        "\(left) \(left == 1 ? "question is" : "questions are") left out: with no room for an answer in the context of "
          + "\(loaded.model.contextLength) tokens.")
    }
    guard !fitting.isEmpty else {
      throw CommandError("no question fits into the model's context. Shorten them, or choose a larger --context.")
    }
    return fitting
  }

  // MARK: - Going on

  /// What decides the answers: the model, the questions, and the options.
  private func job(_ loaded: LoadedModel, _ questions: [PreparedQuestion]) throws -> JSON {
    // Where and how quickly the answers are computed does not matter, and the questions are known by what they say.
    let own: Set<String> = ["model", "input", "output", "threads", "parallel", "encoding"]
    let options = invocation.texts.filter { !own.contains($0.key) }.sorted { $0.key < $1.key }.map { name, texts in
      JSON.Member(name, .array(texts.map(JSON.string)))
    }
    let asked = JSON.array(questions.map { .array($0.question.messages.map(\.json) + $0.question.tools) }).compactText
    let digest = Array(asked.utf8).withUnsafeBytes { SHA256.hexadecimalDigest($0) }
    return .object([
      .init("model", .string(try ModelWeights.contentHash(of: loaded.directory))), .init("questions", .string(digest)),
      .init("options", .object(options)),
    ])
  }

  /// The whole lines that an earlier run of the same command has left.
  private func resumed(_ job: JSON, _ questions: [PreparedQuestion]) throws -> (count: Int, text: String) {
    guard FileManager.default.fileExists(atPath: partial) else { return (0, "") }
    guard let before = try? JSON(contentsOf: jobPath), before == job else {
      throw CommandError(
        "\(partial) holds answers of another command: the model, the input or an option differs. Give the same, or remove "
          + "\(partial).")
    }
    let text = try GrowingFile.text(of: partial)
    let end = text.utf8.lastIndex(of: UInt8(ascii: "\n")).map { text.utf8.index(after: $0) } ?? text.startIndex
    let whole = String(text[..<end])
    let count = whole.utf8.count { $0 == UInt8(ascii: "\n") }
    guard count <= questions.count else {
      throw CommandError("\(partial) has more answers than there are questions. Remove it.")
    }
    if count > 0 {
      try Console.standardError.print("going on after \(formatCount(count)) of \(formatCount(questions.count)) answers")
    }
    return (count, whole)
  }
}
