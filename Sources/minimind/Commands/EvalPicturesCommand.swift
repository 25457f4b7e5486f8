import Evaluation
import Foundation
import Generation
import Machine
import Model
import Plotting
import Rewards
import Storage
import Tokenization
import Vision

/// `minimind eval pictures`: how many questions about pictures a model answers right.
let evalPicturesCommand: Command = {
  let data = Option.required(
    "data", "FILE",
    help: "Questions: JSONL as data scenes or POPE has them, or a table as MMBench has it (.tsv), with its pictures.")
  let images = Option.optional(
    "images", "DIR", help: "Where the files of pictures are; otherwise beside --data.")
  let maximum = Option.integer(
    "max-tokens", default: 32, in: 1...1 << 20, help: "Most tokens of an answer, as far as the context allows.")
  let answers = Option.optional(
    "answers", "FILE",
    help: "Writes a line of JSON for each answer: where the question is, the text, whether it is right.")
  let sheet = Option.optional(
    "sheet", "FILE.svg",
    help: "Draws some questions, of all kinds and from first to last, with their pictures and the model's answers.")
  return Command(
    "eval", "pictures",
    summary: "asks a model about pictures, and counts the right answers by kind, with chance beside them",
    options: [
      GenerateOptions.model, data, images, maximum, answers, sheet, TemplateOptions.variables, GenerateOptions.type,
      GenerateOptions.context, RotaryOptions.mode, RotaryOptions.factor, Option.json, Option.threads,
    ],
    example: "minimind eval pictures --model my-seeing --data my-scenes/held-out.jsonl"
  ) { invocation in
    let path = invocation[data]
    let questions = try PictureQuestions.read(path)
    let loaded = try LoadedModel(invocation)
    let sight = try loaded.requireSight(invocation)
    let folder = invocation[images] ?? parentDirectory(of: path)
    guard let directory = PictureDirectory(folder) else {
      throw CommandError("there is no directory \(folder) for the pictures. Name it with --\(images.name).")
    }
    var template = try TemplateOptions.template(invocation, of: loaded.directory)
    template.pictureTokens = sight.placeholder
    let file = try invocation[answers].map { try AtomicFile($0) }
    let start = monotonicSeconds()
    let progress = ProgressLine(
      "answering", total: questions.count, unit: .things("answers"), console: .standardError)
    defer { progress.finish() }
    Interruption.watch()
    var scored: [(question: PictureQuestion, isRight: Bool)] = []
    var said: [String] = []
    for part in stride(from: 0, to: questions.count, by: questionsAtATime) {
      let asked = questions[part..<min(part + questionsAtATime, questions.count)]
      var requests: [GenerationRequest] = []
      var opensReasoning: [Bool] = []
      for question in asked {
        try Interruption.check()
        let prompt = try template.prompt(question.messages, with: loaded.tokenizer)
        guard prompt.tokens.count < loaded.model.contextLength else {
          throw CommandError(
            "\(question.place): the question has \(prompt.tokens.count) tokens and the model's context "
              + "\(loaded.model.contextLength), so there is no room for an answer. Choose a larger --context.")
        }
        var request = GenerationRequest(prompt: prompt.tokens)
        request.embedded = Sight.spans(
          prompt.pictures, rows: try question.pictures.map { try rows(of: $0, question, sight, directory) },
          rowsPerPicture: sight.placeholder.count)
        request.maximumTokens = invocation[maximum]
        request.sampling.temperature = 0
        request.sampling.repetitionPenalty = 1
        requests.append(request)
        opensReasoning.append(prompt.opensReasoning)
      }
      let longest = (requests.map(\.prompt.count).max() ?? 1) + invocation[maximum]
      let engine = try BatchEngine(loaded.model, loaded.tokenizer, answers: requests.count, longest: longest)
      let written = try engine.answers(to: requests) { ended in
        try Interruption.check()
        progress.update(completed: part + ended)
      }
      for (index, question) in asked.enumerated() {
        let answer = template.answer(written[index].text, opensReasoning: opensReasoning[index]).content
        let isRight = question.isMet(by: answer)
        scored.append((question, isRight))
        said.append(answer)
        let line = JSON.object([
          .init("question", .string(question.place)), .init("kind", .string(question.kind)),
          .init("text", .string(written[index].text)), .init("right", .bool(isRight)),
          .init("truncated", .bool(written[index].isTruncated)),
        ])
        try file?.write(line.compactText + "\n")
      }
    }
    progress.finish()
    try file?.commit()
    if let path = invocation[sheet] {
      let cards = try shown(scored.map(\.question.kind)).map {
        try card(scored[$0].question, said[$0], isRight: scored[$0].isRight, sight, directory)
      }
      try ContactSheet(title: "Questions of \(invocation[data])", cards: cards).write(to: path)
    }
    let scores = PictureScores(scored)
    let seconds = monotonicSeconds() - start
    if invocation[Option.json] {
      try Console.standardOutput.print(json(scores, seconds: seconds).compactText)
    } else {
      let encoded = sight.statistics
      let eyes = "\(encoded.pictures) pictures in \(formatDuration(encoded.seconds))"
      try Console.standardOutput.write(
        table(scores) + "\n" + renderPairs([("time", "\(formatDuration(seconds)), of these \(eyes)")]))
    }
  }
}()

/// Questions that are in memory with their pictures.
private let questionsAtATime = 256

/// Cards of a sheet.
private let cardCount = 20

/// Which questions are on a sheet: of each kind equally many, evenly from its first to its last.
private func shown(_ kinds: [String]) -> [Int] {
  let names = Set(kinds).sorted()
  let each = max(1, cardCount / max(1, names.count))
  let chosen = names.prefix(cardCount).flatMap { name in
    let places = kinds.indices.filter { kinds[$0] == name }
    return (0..<min(each, places.count)).map { places[$0 * places.count / min(each, places.count)] }
  }
  return chosen.sorted()
}

private func card(
  _ question: PictureQuestion, _ answer: String, isRight: Bool, _ sight: Sight, _ directory: PictureDirectory
) throws -> ContactSheet.Card {
  let bytes = try content(of: question.pictures[0], sight, directory)
  // Without the marks that stand for pictures, which are no characters.
  let text = (question.messages.last { $0.role == .user }?.content ?? "").unicodeScalars.filter {
    !$0.properties.isNoncharacterCodePoint
  }
  let lines = wrapped(
    String(String.UnicodeScalarView(text)).split(whereSeparator: \.isNewline).joined(separator: " "),
    to: ContactSheet.lineWidth)
  return ContactSheet.Card(
    picture: bytes, mediaType: "image/" + (try PictureHeader(bytes)).format.rawValue.lowercased(),
    question: Array(lines.prefix(3)),
    answer: truncated(
      answer.split(whereSeparator: \.isNewline).first.map(String.init) ?? "", to: ContactSheet.lineWidth),
    isRight: isRight)
}

private func content(
  of source: PictureQuestion.Source, _ sight: Sight, _ directory: PictureDirectory
) throws(PictureError) -> [UInt8] {
  switch source {
  case .file(let path): try directory.content(path, limit: sight.byteLimit)
  case .content(let text): try DataURL.bytes(base64: text, limit: sight.byteLimit)
  }
}

private func rows(
  of source: PictureQuestion.Source, _ question: PictureQuestion, _ sight: Sight, _ directory: PictureDirectory
) throws -> [Float] {
  let name: String
  switch source {
  case .file(let path): name = "the picture \(path)"
  case .content: name = "the picture"
  }
  do {
    return try sight.rows(try content(of: source, sight, directory))
  } catch {
    throw CommandError("\(question.place): \(name) \(error)")
  }
}

private func table(_ scores: PictureScores) -> String {
  var table = TextTable([
    ("kind", .left), ("right", .right), ("questions", .right), ("accuracy", .right), ("standard error", .right),
    ("chance", .right),
  ])
  func percent(_ share: Double) -> String { String(format: "%.2f%%", 100 * share) }
  for line in scores.lines + [scores.total] {
    table.add([
      line.name, "\(line.score.correct)", "\(line.score.total)", percent(line.score.accuracy),
      line.score.standardError.map(percent) ?? "", line.chance.map(percent) ?? "",
    ])
  }
  return table.render()
}

/// What `--json` prints.
private func json(_ scores: PictureScores, seconds: Double) -> JSON {
  func members(_ line: PictureScores.Line) -> [JSON.Member] {
    [
      .init("accuracy", .number(line.score.accuracy)),
      .init("standard_error", line.score.standardError.map(JSON.number) ?? .null),
      .init("correct", .integer(line.score.correct)), .init("total", .integer(line.score.total)),
      .init("chance", line.chance.map(JSON.number) ?? .null),
    ]
  }
  let kinds = JSON.object(scores.lines.map { .init($0.name, .object(members($0))) })
  return .object(members(scores.total) + [.init("kinds", kinds), .init("seconds", .number(seconds))])
}
