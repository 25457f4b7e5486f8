import CPUEngine
import Compute
import Evaluation
import Foundation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization

/// `minimind eval ceval`: questions of four answers, as C-Eval and C-MMLU ask them.
let evalChoicesCommand: Command = {
  let data = Option.required(
    "data", "DIR",
    help:
      "A test of four answers a question, in the layout of C-Eval and C-MMLU: a directory for each split, in it a CSV "
      + "file for each subject with the columns question, A, B, C, D and answer.")
  let split = Option.text("split", "NAME", default: "val", help: "The directory below DIR with the questions.")
  let shots = Option.integer(
    "shots", default: 0, in: 0...1000,
    help:
      "Puts N solved questions from the directory dev before each question, as turns of a conversation; where --context "
      + "has no room for all, the first ones are left out.")
  let context = Option.optionalInteger(
    "context", in: 16...1 << 20, defaultText: "the model's own",
    help: "Most tokens of a prompt with its examples. A question alone is never cut.")
  let subjects = Option.list("subjects", "NAME", help: "Only these subjects, by the names of their files.")
  let output = Option.optional("output", "FILE", help: "Writes the table of subjects as CSV.")
  let answers = Option.optional(
    "answers", "FILE",
    help: "Writes a CSV row for each question: the right answer, the chosen one, the letters' logits.")
  return Command(
    "eval", "ceval", summary: "asks a model C-Eval's questions, or others of four answers",
    options: [
      GenerateOptions.model, data, split, shots, context, subjects, output, answers, EvaluationOptions.device,
      EvaluationOptions.precision, Option.json, Option.threads,
    ],
    example: "minimind eval ceval --model my-chat --data ceval --output ceval.csv"
  ) { invocation in
    let set = try QuestionSet(
      directory: invocation[data], split: invocation[split], exampleSplit: invocation[shots] > 0 ? "dev" : nil,
      subjects: invocation[subjects])
    let directory = try resolveModelDirectory(invocation[GenerateOptions.model])
    let tokenizer = try modelTokenizer(directory)
    let prompt = try ChoicePrompt(tokenizer, try ChatTemplate(TokenizerFiles(directory)))
    let parameters = try Parameters(modelDirectory: directory)
    try parameters.configuration.requireLogits(directory)
    try checkVocabulary(tokenizer, parameters.configuration.vocabularySize, directory)
    // A path that cannot be written is reported before the work.
    let outputFile = try invocation[output].map { try AtomicFile($0) }
    let answersFile = try invocation[answers].map { try AtomicFile($0) }

    let length = invocation[context] ?? parameters.configuration.contextLength
    try parameters.configuration.checkContext(length)
    let test = try ChoiceTest(set, prompt, exampleCount: invocation[shots], maximumTokens: length)
    let start = monotonicSeconds()
    let result = try ask(test, parameters, set, invocation)
    let seconds = monotonicSeconds() - start

    try outputFile?.write(result.subjectsCSV())
    try answersFile?.write(result.answersCSV())
    try AtomicFile.commit([outputFile, answersFile].compactMap(\.self))
    let report = ChoiceReport(result, shots: invocation[shots], promptTokens: test.tokenCount, seconds: seconds)
    if invocation[Option.json] {
      try printJSON(report)
    } else {
      try Console.standardOutput.write(table(result) + "\n" + report.summary)
    }
  }
}()

private func ask(
  _ test: ChoiceTest, _ parameters: Parameters, _ set: QuestionSet, _ invocation: Invocation
) throws -> ChoiceResult {
  let progress = ProgressLine(
    "answering", total: set.questionCount, unit: .things("questions"), console: .standardError)
  defer { progress.finish() }
  Interruption.watch()
  let engines = try EvaluationOptions.engines(invocation)
  let answers = try test.run(
    parameters, precision: EvaluationOptions.precision(invocation), engines: engines.provider
  ) { questions in
    try Interruption.check()
    progress.update(completed: questions)
  }
  try engines.check()
  return ChoiceResult(set, answers)
}

private func table(_ result: ChoiceResult) -> String {
  var table = TextTable([
    ("subject", .left), ("correct", .right), ("total", .right), ("accuracy", .right), ("standard error", .right),
    ("chance", .right),
  ])
  for (name, score) in zip(result.set.subjects.map(\.name) + ["total"], result.scores + [result.total]) {
    table.add([
      name, "\(score.correct)", "\(score.total)", percent(score.accuracy), score.standardError.map(percent) ?? "",
      percent(ChoiceResult.chance),
    ])
  }
  return table.render()
}

private func percent(_ share: Double) -> String { String(format: "%.2f%%", 100 * share) }

/// What `--json` prints.
private struct ChoiceReport: Encodable {
  struct Score: Encodable {
    let accuracy: Double
    let standardError: Double?
    let correct: Int
    let total: Int

    init(_ score: ChoiceScore) {
      accuracy = score.accuracy
      standardError = score.standardError
      correct = score.correct
      total = score.total
    }

    enum CodingKeys: String, CodingKey {
      case accuracy, correct, total
      case standardError = "standard_error"
    }
  }

  let accuracy: Double
  let standardError: Double?
  let correct: Int
  let total: Int
  let chance: Double
  let subjects: [String: Score]
  /// How often each letter was right, and was chosen.
  let rightAnswers: [String: Int]
  let chosenAnswers: [String: Int]
  let shots: Int
  /// Examples of a prompt, on average: fewer than `shots` where they did not fit.
  let meanExamples: Double
  let promptTokens: Int
  let seconds: Double

  enum CodingKeys: String, CodingKey {
    case accuracy, correct, total, chance, subjects, shots, seconds
    case standardError = "standard_error"
    case rightAnswers = "right_answers"
    case chosenAnswers = "chosen_answers"
    case meanExamples = "mean_examples"
    case promptTokens = "prompt_tokens"
  }

  init(_ result: ChoiceResult, shots: Int, promptTokens: Int, seconds: Double) {
    let score = Score(result.total)
    (accuracy, standardError, correct, total) = (score.accuracy, score.standardError, score.correct, score.total)
    chance = ChoiceResult.chance
    subjects = Dictionary(uniqueKeysWithValues: zip(result.set.subjects.map(\.name), result.scores.map(Score.init)))
    let byLetter = { (counts: [Int]) in Dictionary(uniqueKeysWithValues: zip(ChoiceQuestion.letters, counts)) }
    rightAnswers = byLetter(result.rightCounts)
    chosenAnswers = byLetter(result.chosenCounts)
    self.shots = shots
    meanExamples = Double(result.answers.reduce(0) { $0 + $1.exampleCount }) / Double(result.answers.count)
    self.promptTokens = promptTokens
    self.seconds = seconds
  }

  var summary: String {
    func counts(_ byLetter: [String: Int]) -> String {
      ChoiceQuestion.letters.map { "\($0) \(byLetter[$0] ?? 0)" }.joined(separator: ", ")
    }
    let commonest = Double(rightAnswers.values.max() ?? 0) / Double(total)
    return renderPairs([
      (
        name: "accuracy",
        value: "\(percent(accuracy)) ± \(standardError.map(percent) ?? "?"), chance \(percent(chance))"
      ),
      (
        name: "right answers",
        value: "\(counts(rightAnswers)): always giving the commonest would reach \(percent(commonest))"
      ),
      (name: "chosen", value: counts(chosenAnswers)),
      (name: "examples", value: shots == 0 ? "none" : String(format: "%.1f of %d on average", meanExamples, shots)),
      (
        name: "time",
        value: "\(formatDuration(seconds)), \(formatCount(Int(Double(promptTokens) / max(seconds, 1e-9)))) tokens/s"
      ),
    ])
  }
}
