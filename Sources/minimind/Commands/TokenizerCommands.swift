import Corpus
import Foundation
import Machine
import ModelFiles
import Processes
import Storage
import Tokenization

let tokenizerOption = Option.required("tokenizer", "DIR", help: "Directory with tokenizer.json.")
private let linesInput = Option.optional("input", "FILE", help: "The text; standard input when left out.")

/// `minimind tokenizer train`: learns a vocabulary from text.
let tokenizerTrainCommand: Command = {
  let inputs = Option.list(
    "input", "FILE", isRequired: true,
    help: InputCommandOptions.files)
  let output = Option.required(
    "output", "DIR", help: "Directory for tokenizer.json and tokenizer_config.json.")
  let size = Option.integer(
    "vocab-size", default: 6400, in: TokenizerTrainer.smallestVocabulary...TokenizerTrainer.largestVocabulary,
    help: "Tokens in all, special ones (three, or minimind-3's 36) and 256 bytes included.")
  let template = Option.choice(
    "template", default: TokenizerLayout.v1,
    help:
      "Special tokens and chat template: of MiniMind's first version, for questions and answers, or of minimind-3, with "
      + "tools and thinking.")
  let split = Option.choice(
    "split", default: LearnedSplit.gpt2,
    help: "Whose pattern cuts text into words: Qwen 2's makes each digit a token, Llama 3's groups of up to three.")
  let strict = Option.flag("strict", help: "Stops at the first broken row instead of leaving it out.")
  return Command(
    "tokenizer", "train", summary: "learns a tokenizer from text",
    options: [
      inputs, output, size, template, split, InputCommandOptions.encoding, InputCommandOptions.textKey, strict,
      Option.threads,
    ],
    example: "minimind tokenizer train --input novel.txt --output my-tokenizer"
  ) { invocation in
    let console = Console.standardOutput
    let start = monotonicSeconds()
    var trainer = try TokenizerTrainer(
      vocabularySize: invocation[size], threads: threadCount(invocation), layout: invocation[template],
      split: invocation[split])
    let reader = try DocumentReader(
      inputs: invocation[inputs], InputCommandOptions.read(invocation),
      isStrict: invocation[strict],
      fieldNames: FieldNames(text: invocation[InputCommandOptions.textKey]))
    let reading = ProgressLine("reading", total: reader.totalBytes, unit: .bytes, console: console)
    defer { reading.finish() }
    let broken = try reader.forEachDocument(progress: { reading.update(completed: $0) }) {
      try trainer.add(document: $0)
    }
    reading.finish()
    let progress = ProgressLine("merging", total: invocation[size], unit: .things("tokens"), console: console)
    let tokenizer = try trainer.train { progress.update(completed: $0) }
    progress.finish()
    try tokenizer.save(to: invocation[output])
    let summary =
      inputNotes(reader.files, reader.passedOver) + [
        (
          name: "text",
          value:
            "\(formatBytes(trainer.byteCount)) in \(formatCount(trainer.documentCount)) documents"
        ),
        (name: "vocabulary", value: "\(tokenizer.vocabularySize) tokens"),
        (name: "time", value: formatDuration(monotonicSeconds() - start)),
        (name: "written", value: invocation[output]),
      ]
    try console.write(renderPairs(summary))
    try warnOfBrokenRows(count: broken.count, broken.messages)
    if tokenizer.vocabularySize < invocation[size] {
      try console.print("There was nothing left to merge; more text gives more tokens.")
    }
  }
}()

/// `minimind tokenizer encode`: tokens of each line.
let tokenizerEncodeCommand: Command = {
  let asText = Option.flag("special-as-text", help: "Reads <s>, </s> and <unk> in the text as ordinary characters.")
  let json = Option.flag("json", help: "Prints a JSON array of ids for each line.")
  return lineCommand(
    "encode", summary: "turns each line of text into token ids", options: [asText, json],
    example: "minimind tokenizer encode --tokenizer my-tokenizer --input novel.txt --json"
  ) { invocation, tokenizer in
    let handling: SpecialTokenHandling = invocation[asText] ? .asText : .parsed
    let separator = invocation[json] ? "," : " "
    let (opening, closing) = invocation[json] ? ("[", "]\n") : ("", "\n")
    let isJSONL = invocation[linesInput]?.hasSuffix(".jsonl") ?? false
    return { line in
      let ids: [Int32]
      if isJSONL && line.withUnsafeBytes(RowReader.isBlank) {
        // Such a line gets an empty answer, so that line N of the output belongs to line N of the input.
        ids = []
      } else if isJSONL {
        var text = try line.withUnsafeBytes(documentText(ofJSONLine:))
        ids = try text.withUTF8 { try tokenizer.encodeFramed(UnsafeRawBufferPointer($0), specialTokens: handling) }
      } else {
        ids = try line.withUnsafeBytes { try tokenizer.encodeFramed($0, specialTokens: handling) }
      }
      return opening + ids.map(String.init).joined(separator: separator) + closing
    }
  }
}()

/// `minimind tokenizer decode`: text of each line of ids.
let tokenizerDecodeCommand: Command = {
  let skips = Option.flag("skip-special-tokens", help: "Leaves out <s>, </s> and <unk>.")
  let json = Option.flag("json", help: "Prints a JSON string for each line.")
  return lineCommand(
    "decode", summary: "turns each line of token ids into text", options: [skips, json],
    example: "echo 1 320 275 201 | minimind tokenizer decode --tokenizer my-tokenizer"
  ) { invocation, tokenizer in
    { line in
      let ids = try tokenIDs(line, below: tokenizer.vocabularySize)
      let text = tokenizer.decode(ids, skippingSpecialTokens: invocation[skips])
      return (invocation[json] ? JSON.quoted(text) : text) + "\n"
    }
  }
}()

/// What a command prints for a line of its input.
typealias LineTransform = @Sendable (_ line: ArraySlice<UInt8>) throws -> String

/// A command of the tokenizer that answers each line of a file or of standard input.
func lineCommand(
  _ name: String, summary: String, options: [any OptionDescription], example: String,
  makeTransform: @escaping @Sendable (Invocation, Tokenizer) throws -> LineTransform
) -> Command {
  Command(
    "tokenizer", name, summary: summary, options: [tokenizerOption, linesInput] + options + [Option.threads],
    example: example
  ) { invocation in
    let tokenizer = try Tokenizer(TokenizerFiles(invocation[tokenizerOption]))
    try forEachLine(
      of: invocation[linesInput], threads: threadCount(invocation), try makeTransform(invocation, tokenizer))
  }
}

/// Ids written as `1 2 3` or as `[1, 2, 3]`.
private func tokenIDs(_ line: ArraySlice<UInt8>, below vocabularySize: Int) throws -> [Int32] {
  var text = Substring(String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
  if text.hasPrefix("[") && text.hasSuffix("]") { text = text.dropFirst().dropLast() }
  return try text.split(whereSeparator: { $0 == " " || $0 == "," || $0 == "\t" }).map { word in
    guard let id = Int32(word) else {
      throw CommandError("\"\(word.prefix(20))\" is no token id. A line looks like 1 320 275, or [1, 320, 275].")
    }
    guard id >= 0 && id < vocabularySize else {
      throw CommandError("the id \(id) is not in this tokenizer, whose ids go from 0 to \(vocabularySize - 1).")
    }
    return id
  }
}

/// Prints what `body` makes of each line, in order; an error of `body` gets file and line in front.
private func forEachLine(
  of path: String?, threads: Int, _ body: LineTransform
) throws {
  var batches = try LineBatches(path)
  defer { batches.close() }
  var number = 0
  while let lines = try batches.next() {
    let name = batches.name
    let first = number
    let texts = try mapConcurrently(count: lines.count, threads: threads) { index in
      do { return try body(lines[index]) } catch {
        throw CommandError("\(name):\(first + index + 1): \(error)")
      }
    }
    try Console.standardOutput.write(texts.joined())
    number += lines.count
  }
}

/// `--threads`, or all cores; the processes that MPI has started on this machine share them.
func threadCount(_ invocation: Invocation) -> Int { invocation[Option.threads] ?? CoreShare.own.threads }
