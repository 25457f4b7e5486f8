import Corpus
import Foundation
import Rewards
import Storage
import Tokenization

/// `minimind data tasks`: questions whose answers can be checked, made by the program.
let dataTasksCommand: Command = {
  let output = Option.required(
    "output", "DIR", help: "Directory for train.jsonl and held-out.jsonl, which share no question.")
  let names = TaskKind.allCases.map(\.rawValue)
  let tasks = Option.list(
    "tasks", "NAME",
    help: "Only these kinds of tasks: \(names.joined(separator: ", ")). All except errands if left out, which need a "
      + "chat template with a place for tools.")
  let languages = Option.list(
    "language", "en|zh", help: "Only questions in English (en) or in Chinese (zh). Both in turn if left out.")
  let count = Option.integer("count", default: 1000, in: 1...10_000_000, help: "Tasks of each kind for training.")
  let heldOut = Option.integer("held-out-count", default: 100, in: 0...1_000_000, help: "Tasks of each kind held out.")
  let digits = Option.integer("digits", default: 2, in: 1...9, help: "Most digits of a number in a question.")
  return Command(
    "data", "tasks", summary: "makes tasks whose answers can be checked, for sft, grpo and eval tasks",
    options: [output, tasks, languages, count, heldOut, digits, Option.seed],
    example: "minimind data tasks --tasks addition letters calls --count 2000 --output my-tasks"
  ) { invocation in
    let kinds =
      invocation[tasks].isEmpty
      ? TaskKind.usual : try choices(invocation[tasks], of: TaskKind.self, option: tasks.name)
    let spoken = try choices(invocation[languages], of: TaskLanguage.self, option: languages.name)
    let set = try TaskSet(
      kinds, spoken, count: invocation[count], heldOutCount: invocation[heldOut], digits: invocation[digits],
      seed: invocation[Option.seed])
    let directory = withoutTrailingSlashes(invocation[output])
    try createDirectory(directory)
    var files: [AtomicFile] = []
    for (name, tasks) in [("train", set.training), ("held-out", set.heldOut)] where !tasks.isEmpty {
      let file = try AtomicFile("\(directory)/\(name).jsonl")
      try file.write(tasks.map { $0.json.compactText + "\n" }.joined())
      files.append(file)
    }
    try AtomicFile.commit(files)
    let console = Console.standardOutput
    try console.write(
      renderPairs([
        ("tasks", kinds.map(\.rawValue).joined(separator: ", ")),
        ("training", "\(set.training.count) in \(directory)/train.jsonl"),
        ("held out", set.heldOut.isEmpty ? "none" : "\(set.heldOut.count) in \(directory)/held-out.jsonl"),
      ]))
    try console.print(
      "\nShow a model the form: minimind data sft --input \(directory)/train.jsonl --tokenizer DIR --output DIR")
    try console.print(
      "Let it learn by itself: minimind data grpo --input \(directory)/train.jsonl --tokenizer DIR --output DIR")
    if !set.heldOut.isEmpty {
      try console.print("Test it:               minimind eval tasks --model MODEL --data \(directory)/held-out.jsonl")
    }
  }
}()

/// The cases that some texts name; all for none.
func choices<Choice: CaseIterable & RawRepresentable<String> & Equatable>(
  _ texts: [String], of _: Choice.Type, option: String
) throws -> [Choice] {
  guard !texts.isEmpty else { return Array(Choice.allCases) }
  let named = try texts.map { text in
    guard let choice = Choice(rawValue: text) else {
      throw UsageError(
        "--\(option) names \"\(text)\"; there are \(Choice.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    return choice
  }
  return Choice.allCases.filter(named.contains)
}

/// `minimind data grpo`: tasks become prompts.
let dataGRPOCommand: Command = {
  let inputs = Option.list(
    "input", "FILE", isRequired: true,
    help:
      "JSONL files of tasks, as data tasks makes them: \"messages\", of which an answer at the end is left out, and "
      + "\"check\".")
  let tokenizer = Option.required("tokenizer", "DIR", help: "Directory with tokenizer.json.")
  let output = Option.required(
    "output", "DIR", help: "Directory for the prepared data; prepared data that is already there is replaced.")
  let maximum = Option.integer(
    "max-tokens", default: 512, in: 8...1 << 24, help: "Most tokens of a prompt; longer ones are dropped.")
  let heldOut = Option.number(
    "held-out", default: 0.02, in: 0...0.5,
    help: "Share of tasks kept from training, to measure it; chosen by their content and the seed.")
  return Command(
    "data", "grpo", summary: "prepares prompts from tasks whose answers can be checked",
    options: [inputs, tokenizer, output, maximum, heldOut, TemplateOptions.variables, Option.seed],
    example: "minimind data grpo --input my-tasks/train.jsonl --tokenizer my-tokenizer --output my-prompts"
  ) { invocation in
    let directory = invocation[output]
    let files = try TokenizerFiles(invocation[tokenizer])
    var preparation = TaskPreparation(
      paths: invocation[inputs], template: try TemplateOptions.template(invocation, of: invocation[tokenizer]),
      tokenizer: try Tokenizer(files))
    preparation.maximumTokens = invocation[maximum]
    preparation.heldOutFraction = invocation[heldOut]
    preparation.seed = invocation[Option.seed]
    let manifest = try preparation.write(to: directory, programVersion: programVersion)
    let console = Console.standardOutput
    try console.write(renderPairs(summary(of: manifest) + [("written", directory)]))
    try console.print("\nTrain on it: minimind grpo --from MODEL --data \(directory) --output RUN")
  }
}()
