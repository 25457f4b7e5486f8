import Corpus
import Foundation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization
import Training

/// `minimind eval reward`: the scores that a reward model gives to answers.
let evalRewardCommand: Command = {
  let inputs = Option.list(
    "input", "FILE", isRequired: true,
    help:
      "Conversations as data sft takes them, whose last answer is scored, or pairs as data dpo does. "
      + InputCommandOptions.files)
  let output = Option.optional(
    "output", "FILE",
    help:
      "Writes a line for each row: {\"score\": …}, or {\"chosen\": …, \"rejected\": …} of a pair.")
  return Command(
    "eval", "reward", summary: "scores answers by a reward model",
    options: [
      GenerateOptions.model, inputs, output, InputCommandOptions.encoding,
      TemplateOptions.variables, EvaluationOptions.device,
      EvaluationOptions.precision, Option.json, Option.threads,
    ],
    example:
      "minimind eval reward --model my-reward --input preferences.jsonl --output scores.jsonl"
  ) { invocation in
    let directory = try resolveModelDirectory(invocation[GenerateOptions.model])
    let parameters = try Parameters(modelDirectory: directory)
    let configuration = parameters.configuration
    guard configuration.scoresTexts else {
      throw CommandError(
        "\(directory) writes and has no score. Train a reward model by: minimind reward --from MODEL"
      )
    }
    let reader = try AnswerReader(
      inputs: invocation[inputs], try InputCommandOptions.read(invocation),
      tokenizer: try modelTokenizer(directory),
      template: try TemplateOptions.template(invocation, of: directory),
      maximumTokens: configuration.contextLength)
    // A path that cannot be written is reported before the work.
    let file = try invocation[output].map { try AtomicFile($0) }
    let (rows, dropped, broken) = try reader.rows()
    try warnOfBrokenRows(count: broken.count, broken.messages)
    for reason in DropReason.allCases {
      if let count = dropped[reason.rawValue] {
        try Console.standardError.print("\(count) left out: \(reason.inWords)")
      }
    }

    Interruption.watch()
    let texts = rows.flatMap { $0 }
    let engines = try EvaluationOptions.engines(invocation)
    let model = try RewardModel(
      parameters, precision: EvaluationOptions.precision(invocation),
      batchTokens: max(2048, texts.map(\.count).max() ?? 0), engines: engines.provider)
    let progress = ProgressLine(
      "scoring", total: texts.count, unit: .things("answers"), console: Console.standardError)
    defer { progress.finish() }
    let scores = try model.scores(of: texts) {
      progress.update(completed: $0)
      try Interruption.check()
    }
    progress.finish()
    try engines.check()

    var next = 0
    var (pairs, right, margins) = (0, 0, 0.0)
    for row in rows {
      let found = Array(scores[next..<next + row.count])
      next += row.count
      if row.count == 2 {
        pairs += 1
        right += found[0] > found[1] ? 1 : 0
        margins += found[0] - found[1]
      }
      let names = row.count == 2 ? ["chosen", "rejected"] : ["score"]
      let json = JSON.object(zip(names, found).map { JSON.Member($0, .number($1)) })
      try file?.write(json.compactText + "\n")
    }
    try file?.commit()
    let report = RewardReport(
      answers: texts.count, meanScore: scores.reduce(0, +) / Double(scores.count), pairs: pairs,
      accuracy: pairs > 0 ? Double(right) / Double(pairs) : nil,
      margin: pairs > 0 ? margins / Double(pairs) : nil)
    if invocation[Option.json] { return try printJSON(report) }
    try Console.standardOutput.write(renderPairs(report.lines))
  }
}()

private struct RewardReport: Encodable {
  let answers: Int
  let meanScore: Double
  let pairs: Int
  /// The share of pairs whose chosen answer has the higher score.
  let accuracy: Double?
  let margin: Double?

  enum CodingKeys: String, CodingKey {
    case answers, pairs, accuracy, margin
    case meanScore = "mean_score"
  }

  var lines: [(name: String, value: String)] {
    var lines = [
      (name: "answers", value: formatCount(answers)),
      (name: "mean score", value: String(format: "%.4f", meanScore)),
    ]
    if let accuracy, let margin {
      lines += [
        ("pairs", formatCount(pairs)), ("accuracy", String(format: "%.4f", accuracy)),
        ("margin", String(format: "%.4f, mean over pairs", margin)),
      ]
    }
    return lines
  }
}
