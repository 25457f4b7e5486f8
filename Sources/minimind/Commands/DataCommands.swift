import Corpus
import Foundation
import Machine
import Processes
import Storage
import Tokenization

/// `minimind data pretrain`: documents become token shards.
let dataPretrainCommand: Command = {
  let defaults = PretrainFilters()
  let maximum = Option.integer(
    "max-characters", default: defaults.maximumCharacters, in: 1...Int.max,
    help: "Most characters of a document; see --long.")
  let long = Option.choice(
    "long", default: defaults.longDocuments,
    help: "What happens to longer documents: split cuts them at line and sentence ends, drop leaves them out.")
  let nearDuplicates = Option.optionalNumber(
    "near-duplicates", in: 0.5...0.95, defaultText: "off",
    help:
      "Leaves out documents that nearly repeat an earlier one. X is the similarity (the share of common runs of five "
      + "words) at which MinHash finds half of the repeats; well above it nearly all are found. 0.8 is usual.")
  let v1 = Option.flag(
    "v1-filters",
    help: "MiniMind v1's filter: --max-characters 512 --long drop; other filters that are given still apply.")
  return Command(
    "data", "pretrain", summary: "prepares token shards from text",
    options: PreparationOptions.firstOptions
      + [
        InputCommandOptions.textKey, InputCommandOptions.wholeFiles, maximum, long, nearDuplicates,
        v1,
      ]
      + PreparationOptions.pictureOptions + PreparationOptions.lastOptions,
    example: "minimind data pretrain --input novel.txt --tokenizer my-tokenizer --output my-data"
  ) { invocation in
    var filters = invocation[v1] ? PretrainFilters.v1 : defaults
    if invocation.isGiven(maximum) { filters.maximumCharacters = invocation[maximum] }
    if invocation.isGiven(long) { filters.longDocuments = invocation[long] }
    filters.nearDuplicates = invocation[nearDuplicates]
    try prepare(
      invocation, .pretrain(filters), wholeFiles: invocation[InputCommandOptions.wholeFiles],
      names: FieldNames(text: invocation[InputCommandOptions.textKey]))
  }
}()

/// `minimind data sft`: questions and answers become token shards.
let dataSFTCommand: Command = {
  let defaults = ConversationFilters()
  let questionKey = Option.optional(
    "question-key", "NAME",
    help:
      "The field or column of the question, where it is none of the usual ones: q, instruction, prompt, question …"
  )
  let answerKey = Option.optional(
    "answer-key", "NAME",
    help:
      "The field or column of the answer, where it is none of the usual ones: a, output, completion, answer …"
  )
  let minimumQuestion = Option.integer(
    "min-question", default: defaults.questionCharacters.lowerBound, in: 1...Int.max,
    help: "Fewest characters of the last question of a row.")
  let maximumQuestion = Option.optionalInteger(
    "max-question", in: 1...Int.max, defaultText: "no limit", help: "Most characters of the last question.")
  let minimumAnswer = Option.integer(
    "min-answer", default: defaults.answerCharacters.lowerBound, in: 1...Int.max,
    help: "Fewest characters of the last answer.")
  let maximumAnswer = Option.optionalInteger(
    "max-answer", in: 1...Int.max, defaultText: "no limit", help: "Most characters of the last answer.")
  let cjkShare = Option.optionalNumber(
    "min-cjk-share", in: 0...1, defaultText: "off",
    help: "Keeps rows whose last question and answer have more than this share of CJK characters.")
  let multiTurn = Option.flag("multi-turn-only", help: "Keeps only rows with more than one question.")
  let v1 = Option.flag(
    "v1-filters",
    help: "MiniMind v1's filters, made for its Chinese data: --min-question 10 --max-question 256 --min-answer 5 "
      + "--max-answer 256 --min-cjk-share 0.9; other filters that are given still apply.")
  let maximumTokens = Option.integer(
    "max-tokens", default: defaults.maximumTokens, in: 8...1 << 24,
    help: "Most tokens of a conversation. A longer one loses its oldest turns, then the end of its last answer.")
  let systemShare = Option.number(
    "system-prompt-share", default: 0, in: 0...1,
    help: "Gives this share of the rows without system message and tools one of ten; MiniMind has 0.2.")
  let thinkingShare = Option.number(
    "drop-empty-thinking-share", default: 0, in: 0...1,
    help: "Leaves empty thoughts, which templates such as minimind-3's write, out of this share of the rows; MiniMind "
      + "has 0.8.")
  let lastTurn = Option.flag("last-turn-only", help: "Trains on the last answer only, as v1 does, not on every answer.")
  return Command(
    "data", "sft", summary: "prepares token shards from questions and answers",
    options: PreparationOptions.firstOptions
      + [
        questionKey, answerKey, minimumQuestion, maximumQuestion, minimumAnswer, maximumAnswer,
        cjkShare, multiTurn, v1, maximumTokens,
        lastTurn, systemShare, thinkingShare, TemplateOptions.variables,
      ]
      + PreparationOptions.pictureOptions + PreparationOptions.lastOptions,
    example: "minimind data sft --input questions.jsonl --tokenizer my-tokenizer --output my-chat-data"
  ) { invocation in
    var filters = invocation[v1] ? ConversationFilters.v1 : defaults
    filters.questionCharacters = try limits(
      invocation, minimumQuestion, maximumQuestion, preset: filters.questionCharacters)
    filters.answerCharacters = try limits(invocation, minimumAnswer, maximumAnswer, preset: filters.answerCharacters)
    if invocation.isGiven(cjkShare) { filters.minimumCJKShare = invocation[cjkShare] }
    filters.isMultiTurnOnly = invocation[multiTurn]
    filters.trainsLastTurnOnly = invocation[lastTurn]
    filters.maximumTokens = invocation[maximumTokens]
    filters.systemPromptShare = invocation[systemShare]
    filters.emptyThinkingRemovalShare = invocation[thinkingShare]
    let template = try TemplateOptions.template(invocation, of: invocation[PreparationOptions.tokenizer])
    if template.jinja == nil, invocation[thinkingShare] > 0 {
      throw UsageError("--\(thinkingShare.name) is for chat templates that write thoughts; v1's does not.")
    }
    try prepare(
      invocation, .sft(filters, template),
      names: FieldNames(question: invocation[questionKey], answer: invocation[answerKey]))
  }
}()

/// `minimind data dpo`: pairs of answers become token shards.
let dataDPOCommand = preferenceCommand(
  "dpo", summary: "prepares token shards from pairs of a chosen and a rejected answer",
  maximumHelp: "Most tokens of a prompt with either of its answers, as in v1; longer pairs are dropped.",
  example: "minimind data dpo --input preferences.jsonl --tokenizer my-tokenizer --output my-preferences"
) { .dpo(maximumTokens: $0, $1) }

/// `minimind data kto`: answers with labels become token shards.
let dataKTOCommand = preferenceCommand(
  "kto", summary: "prepares token shards from answers with a label: true for those that are wanted",
  maximumHelp: "Most tokens of a prompt with its answer; longer ones are dropped.",
  example: "minimind data kto --input judged.jsonl --tokenizer my-tokenizer --output my-judged"
) { .kto(maximumTokens: $0, $1) }

private func preferenceCommand(
  _ name: String, summary: String, maximumHelp: String, example: String,
  task: @escaping @Sendable (_ maximumTokens: Int, ChatTemplate) -> DataPreparation.Task
) -> Command {
  let maximumTokens = Option.integer(
    "max-tokens", default: ConversationFilters().maximumTokens, in: 8...1 << 24, help: maximumHelp)
  return Command(
    "data", name, summary: summary,
    options: PreparationOptions.firstOptions + [maximumTokens, TemplateOptions.variables]
      + PreparationOptions.pictureOptions + PreparationOptions.lastOptions,
    example: example
  ) { invocation in
    let template = try TemplateOptions.template(invocation, of: invocation[PreparationOptions.tokenizer])
    try prepare(invocation, task(invocation[maximumTokens], template))
  }
}

/// The range that two options give, each falling back to the preset's end.
private func limits(
  _ invocation: Invocation, _ minimum: Option<Int>, _ maximum: Option<Int?>, preset: ClosedRange<Int>
) throws -> ClosedRange<Int> {
  let lower = invocation.isGiven(minimum) ? invocation[minimum] : preset.lowerBound
  let upper = invocation[maximum] ?? preset.upperBound
  guard lower <= upper else {
    throw UsageError("--\(minimum.name) is \(lower), more than --\(maximum.name), which is \(upper).")
  }
  return lower...upper
}

private func prepare(
  _ invocation: Invocation, _ task: DataPreparation.Task, wholeFiles: Bool = false,
  names: FieldNames = FieldNames()
) throws {
  try withProcesses(invocation) { exchange in
    let start = monotonicSeconds()
    let directory = invocation[PreparationOptions.output]
    let tokenizer = try Tokenizer(TokenizerFiles(invocation[PreparationOptions.tokenizer]))
    let inputs = try InputFiles(
      invocation[PreparationOptions.inputs],
      InputCommandOptions.read(invocation, wholeFiles: wholeFiles))
    var preparation = DataPreparation(task: task, files: inputs.files, tokenizer: tokenizer)
    preparation.fieldNames = names
    preparation.pictures = try PreparationOptions.pictures(invocation, tokenizer)
    preparation.dropsDuplicates = invocation[PreparationOptions.deduplicate]
    preparation.heldOutFraction = invocation[PreparationOptions.heldOut]
    preparation.seed = invocation[Option.seed]
    preparation.isStrict = invocation[PreparationOptions.strict]
    preparation.threads = threadCount(invocation)

    Interruption.watch()
    let progress = ProgressLine(
      "preparing", total: preparation.totalBytes, unit: .bytes, console: Console.standardOutput)
    defer { progress.finish() }
    var towerProgress: ProgressLine?
    defer { towerProgress?.finish() }
    let manifest: DataManifest?
    do {
      manifest = try preparation.write(
        to: directory, programVersion: programVersion, exchange: exchange,
        isStopRequested: { Interruption.isRequested }, progress: { progress.update(completed: $0) },
        pictureProgress: { done, total in
          if towerProgress == nil {
            progress.finish()
            towerProgress = ProgressLine(
              "pictures", total: total, unit: .things("pictures"), console: Console.standardOutput)
          }
          towerProgress?.update(completed: done)
        })
    } catch is PreparationStopped {
      throw Interrupted()
    }
    progress.finish()
    towerProgress?.finish()
    guard let manifest else { return }
    try report(
      manifest, in: directory, notes: inputNotes(inputs.files, inputs.passedOver),
      bytes: preparation.totalBytes,
      seconds: monotonicSeconds() - start, processes: exchange.count)
  }
}

/// Says what was prepared, and what to do next.
private func report(
  _ manifest: DataManifest, in directory: String, notes: [(name: String, value: String)],
  bytes: Int, seconds: Double,
  processes: Int
) throws {
  let console = Console.standardOutput
  let rate = "\(formatBytes(Int(Double(bytes) / max(seconds, 1e-9))))/s"
  let closing = [
    (
      name: "time",
      value: "\(formatDuration(seconds)), \(rate)" + (processes > 1 ? ", \(processes) processes" : "")
    ), (name: "written", value: directory),
  ]
  try console.write(renderPairs(notes + summary(of: manifest) + closing))
  try warnOfBrokenRows(count: manifest.rowsBroken, manifest.brokenRows)
  try console.print("\nLook at it:  minimind data inspect \(directory)")
  let arguments = TrainingSuggestion(manifest).arguments
  try console.print(
    "Train on it: minimind \(manifest.kind.rawValue) \(arguments) --data \(directory) --output RUN")
}

/// Fields that nothing reads which are shown with an example.
private let shownUnusedFields = 8

/// The counts of prepared data, for people.
func summary(of manifest: DataManifest) -> [(name: String, value: String)] {
  func documents(_ totals: DataManifest.Totals) -> String {
    let bytesPerToken = Double(totals.textBytes) / Double(max(1, totals.trainedTokens))
    let trained = totals.trainedTokens + totals.documents < totals.tokens
    let sample = manifest.kind.documentsPerSample
    return "\(formatCount(totals.documents / sample)) \(sample == 2 ? "pairs" : "documents"), "
      + "\(formatCount(totals.tokens)) tokens"
      + (trained ? ", \(formatCount(totals.trainedTokens)) of them trained" : "")
      + String(format: ", %.2f bytes a token", bytesPerToken)
  }
  var pairs = [(name: "rows", value: "\(manifest.rowsRead) read, \(manifest.rowsKept) kept")]
  for reason in DropReason.allCases {
    if let count = manifest.rowsDropped[reason.rawValue] { pairs.append(("dropped", "\(count) \(reason.inWords)")) }
  }
  if manifest.rowsBroken > 0 { pairs.append(("broken", "\(manifest.rowsBroken)")) }
  for change in RowChange.allCases {
    if let count = manifest.rowsChanged[change.rawValue] { pairs.append(("changed", "\(count) \(change.inWords)")) }
  }
  // Nothing is passed over in silence: a user who brings tools, scores or other texts sees that they are not learned.
  let unused = manifest.unusedFields ?? []
  for field in unused.prefix(shownUnusedFields) {
    let name = printable(field.name)
    pairs.append(
      ("not used", "\"\(name)\" in \(field.rows) \(field.rows == 1 ? "row" : "rows"), first \(field.example)"))
  }
  if unused.count > shownUnusedFields {
    let names = unused.dropFirst(shownUnusedFields).map { "\"\(printable($0.name))\"" }
    pairs.append(("not used", names.joined(separator: ", ")))
  }
  if let pictures = manifest.pictures {
    let kept =
      pictures.features.map { "\($0.rows) × \($0.hiddenSize) features each in \($0.type.rawValue)" }
      ?? "\(pictures.placeholder.count) tokens each"
    pairs.append(
      (
        "pictures",
        "\(formatCount(pictures.count)) of \(pictures.side) × \(pictures.side) pixels, "
          + "\(formatBytes(pictures.count * pictures.pictureBytes)), \(kept)"
      ))
  }
  if let teacher = manifest.teacher {
    let rowBytes = TeacherFile.rowBytes(top: teacher.top, vocabularySize: manifest.vocabularySize)
    pairs.append(
      (
        "teacher",
        "\(teacher.model.prefix(12))…: its \(formatCount(teacher.top)) likeliest tokens at temperature "
          + "\(formatNumber(teacher.temperature)), in sequences of \(teacher.sequenceLength), "
          + "\(rowBytes) bytes a trained token, \(formatBytes(manifest.training.trainedTokens * rowBytes))"
      ))
  }
  pairs.append(("training", documents(manifest.training)))
  let heldOut = manifest.heldOut
  pairs.append(("held out", heldOut.documents > 0 ? documents(heldOut) : "nothing, so training will measure nothing"))
  return pairs
}

/// Says on standard error which rows were left out: a line a file and reason.
func warnOfBrokenRows(count: Int, _ messages: [String]) throws {
  guard count > 0 else { return }
  let errors = Console.standardError
  try errors.print("\(count) broken \(count == 1 ? "row was" : "rows were") left out:")
  for message in messages.prefix(12) { try errors.print("  \(message)") }
  if messages.count > 12 { try errors.print("  and for \(messages.count - 12) other reasons") }
}
