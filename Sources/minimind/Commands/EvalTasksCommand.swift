import CPUEngine
import Compute
import Evaluation
import Foundation
import Generation
import Machine
import Model
import ModelFiles
import Rewards
import Storage
import Tokenization

/// `minimind eval tasks`: how many tasks a model answers right.
let evalTasksCommand: Command = {
  let data = Option.required(
    "data", "FILE", help: "Tasks as data tasks makes them: a line of JSON each, with \"messages\" and \"check\".")
  let temperature = Option.number(
    "temperature", default: 0, in: 0...100, help: "0 takes the likeliest token always; above, answers are drawn.")
  let samples = Option.integer(
    "samples", default: 1, in: 1...1000, help: "Answers to each task; with more than one, give a --temperature.")
  let maximum = Option.integer(
    "max-tokens", default: 128, in: 1...1 << 20, help: "Most tokens of an answer, as far as the context allows.")
  let answers = Option.optional(
    "answers", "FILE", help: "Writes a line of JSON for each answer: the task, the text, whether it is right.")
  return Command(
    "eval", "tasks", summary: "asks a model tasks whose answers can be checked",
    options: [
      GenerateOptions.model, data, temperature, samples, maximum, answers, TemplateOptions.variables,
      GenerateOptions.type, GenerateOptions.context, RotaryOptions.mode, RotaryOptions.factor, Option.seed, Option.json,
      Option.threads,
    ],
    example: "minimind eval tasks --model my-chat --data my-tasks/held-out.jsonl"
  ) { invocation in
    guard invocation[samples] == 1 || invocation[temperature] > 0 else {
      throw UsageError(
        "--samples \(invocation[samples]) needs a --temperature above 0: without one they are all alike.")
    }
    let tasks = try VerifiableTask.read(invocation[data])
    try VerifiableTask.refusePictures(tasks, in: invocation[data])
    let loaded = try LoadedModel(invocation)
    let template = try TemplateOptions.template(invocation, of: loaded.directory)
    let file = try invocation[answers].map { try AtomicFile($0) }
    let prompts = try tasks.map { try $0.prompt(template, loaded.tokenizer) }
    let sessions = try tasks.map { try $0.session(template, loaded.tokenizer) }
    let context = loaded.model.contextLength
    if let place = prompts.firstIndex(where: { $0.tokens.count >= context }) {
      throw CommandError(
        "task \(place + 1) of \(invocation[data]) has \(prompts[place].tokens.count) tokens and the model's context "
          + "\(context), so there is no room for an answer. Leave it out, or choose a larger --context.")
    }
    let start = monotonicSeconds()
    var requests: [GenerationRequest] = []
    for prompt in prompts {
      for _ in 0..<invocation[samples] {
        var request = GenerationRequest(prompt: prompt.tokens)
        request.maximumTokens = invocation[maximum]
        request.sampling.temperature = Float(invocation[temperature])
        (request.sampling.topK, request.sampling.topP, request.sampling.minP) = (0, 1, 0)
        request.sampling.repetitionPenalty = 1
        request.sampling.seed = UInt64(invocation[Option.seed]) &+ UInt64(requests.count)
        requests.append(request)
      }
    }
    let tools = sessions.flatMap { Array(repeating: $0, count: invocation[samples]) }
    let written = try write(requests, tools, loaded, most: invocation[maximum])
    let scored = written.enumerated().map { index, answer in
      let place = index / invocation[samples]
      return AnswerToScore(
        tasks[place], text: answer.text, opensReasoning: prompts[place].opensReasoning,
        tokenCount: answer.chosenCount, tokenLimit: invocation[maximum], isTruncated: answer.isTruncated)
    }
    let isRight = CheckReward().scores(scored).map { $0 > 0 }
    let lines = scored.indices.map { index in
      JSON.object([
        .init("task", scored[index].task.json), .init("text", .string(written[index].earlierText + scored[index].text)),
        .init("right", .bool(isRight[index])), .init("truncated", .bool(scored[index].isTruncated)),
      ]).compactText + "\n"
    }
    try file?.write(lines.joined())
    try file?.commit()
    let scores = TaskScores(scored, isRight: isRight)
    let tokens = written.reduce(0) { $0 + $1.chosenCount }
    if invocation[Option.json] {
      try Console.standardOutput.print(json(scores, seconds: monotonicSeconds() - start).compactText)
    } else {
      let seconds = monotonicSeconds() - start
      let rate = "\(formatCount(Int(Double(tokens) / max(seconds, 1e-9)))) tokens/s"
      try Console.standardOutput.write(
        table(scores) + "\n" + renderPairs([("time", "\(formatDuration(seconds)), \(rate)")]))
    }
  }
}()

private func write(
  _ requests: [GenerationRequest], _ tools: [ToolSession?], _ loaded: LoadedModel, most: Int
) throws -> [AnswerTokens] {
  let longest = (requests.map(\.prompt.count).max() ?? 1) + most
  let engine = try BatchEngine(loaded.model, loaded.tokenizer, answers: requests.count, longest: longest)
  let progress = ProgressLine(
    "answering", total: requests.count, unit: .things("answers"), console: .standardError)
  defer { progress.finish() }
  Interruption.watch()
  return try TaskAnswers.write(requests, tools: tools, by: engine) { ended in
    try Interruption.check()
    progress.update(completed: ended)
  }
}

private func table(_ scores: TaskScores) -> String {
  var table = TextTable([
    ("task", .left), ("right", .right), ("answers", .right), ("accuracy", .right), ("standard error", .right),
    ("commonest", .right), ("cut", .right),
  ])
  func percent(_ share: Double) -> String { String(format: "%.2f%%", 100 * share) }
  for line in scores.lines + [scores.total] {
    table.add([
      line.name, "\(line.score.correct)", "\(line.score.total)", percent(line.score.accuracy),
      line.score.standardError.map(percent) ?? "", percent(line.commonest), "\(line.truncated)",
    ])
  }
  return table.render()
}

/// What `--json` prints.
private func json(_ scores: TaskScores, seconds: Double) -> JSON {
  func object(_ line: TaskScores.Line) -> JSON {
    .object([
      .init("accuracy", .number(line.score.accuracy)),
      .init("standard_error", line.score.standardError.map(JSON.number) ?? .null),
      .init("correct", .integer(line.score.correct)), .init("total", .integer(line.score.total)),
      .init("commonest", .number(line.commonest)), .init("truncated", .integer(line.truncated)),
    ])
  }
  let tasks = JSON.object(scores.lines.map { .init($0.name, object($0)) })
  guard case .object(let total) = object(scores.total) else { return tasks }
  return .object(total + [.init("tasks", tasks), .init("seconds", .number(seconds))])
}
