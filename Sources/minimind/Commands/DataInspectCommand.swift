import Corpus
import Foundation
import Storage
import Tokenization

/// `minimind data inspect`: what prepared data hold, in counts and in samples.
let dataInspectCommand: Command = {
  let directory = Option.positional(
    "DIR", help: "A directory that data pretrain, data sft, data dpo or data grpo made.")
  let samples = Option.integer(
    "samples", default: 3, in: 0...1000, help: "Documents to show as text, or pairs of them.")
  return Command(
    "data", "inspect", summary: "shows counts, lengths and samples of prepared data",
    options: [directory, samples, Option.seed, Option.json],
    example: "minimind data inspect my-data --samples 5"
  ) { invocation in
    let data = try TokenShardDataset(directory: invocation[directory])
    let tokenizer = try Tokenizer(directory: invocation[directory])
    guard tokenizer.contentHash == data.manifest.tokenizerHash else {
      throw CommandError(
        "\(invocation[directory])/tokenizer.json is not the tokenizer that the data were made with. Prepare them again."
      )
    }
    let picked = pickDocuments(invocation[samples], of: data, seed: invocation[Option.seed])
    if invocation[Option.json] {
      try printJSON(Report(data, samples: picked.map { sample($0, of: data, tokenizer) }))
    } else {
      try printReport(data, picked, tokenizer, Console.standardOutput)
    }
  }
}()

/// What `--json` prints.
private struct Report: Encodable {
  struct Lengths: Encodable {
    let min, median, mean, p95, max: Int
  }
  struct Sample: Encodable {
    let document: Int
    /// In a pair: "chosen" or "rejected".
    let answer: String?
    let tokens: Int
    let parts: [TextPart]
  }
  let manifest: DataManifest
  /// Tokens a document, training and held out together.
  let documentTokens: Lengths
  let samples: [Sample]

  enum CodingKeys: String, CodingKey {
    case manifest
    case documentTokens = "document_tokens"
    case samples
  }

  init(_ data: TokenShardDataset, samples: [Sample]) {
    manifest = data.manifest
    let lengths = DocumentLengths([data.training, data.heldOut])
    documentTokens = Lengths(
      min: lengths.minimum, median: lengths.quantile(0.5), mean: Int(lengths.mean.rounded()),
      p95: lengths.quantile(0.95), max: lengths.maximum)
    self.samples = samples
  }
}

/// A stretch of a document whose tokens are all trained on, or all not.
private struct TextPart: Encodable {
  let text: String
  let isTrained: Bool

  enum CodingKeys: String, CodingKey {
    case text
    case isTrained = "trained"
  }
}

/// Tokens of a sample that are shown for people.
private let shownTokens = 1024

private func printReport(
  _ data: TokenShardDataset, _ picked: [Int], _ tokenizer: Tokenizer, _ console: Console
) throws {
  let manifest = data.manifest
  try console.print(console.bold("\(data.directory): \(inWords(manifest.kind))"))
  var pairs = manifest.inputs.prefix(8).map {
    (name: "input", value: "\($0.path), \(formatBytes($0.bytes)) of \($0.format.rawValue)")
  }
  if manifest.inputs.count > 8 { pairs.append(("input", "and \(manifest.inputs.count - 8) more files")) }
  pairs.append(
    ("tokenizer", "\(manifest.vocabularySize) tokens, SHA-256 \(manifest.tokenizerHash.prefix(16))…"))
  let filters = manifest.filters.sorted { $0.key < $1.key }.map { $1 == "true" ? $0 : "\($0) \($1)" }
  pairs.append(("filters", filters.joined(separator: ", ")))
  pairs.append(("held-out share", "\(formatNumber(manifest.heldOutFraction)), seed \(manifest.seed)"))
  try console.write(renderPairs(pairs + summary(of: manifest)))
  try warnOfBrokenRows(count: manifest.rowsBroken, manifest.brokenRows)

  let lengths = DocumentLengths([data.training, data.heldOut])
  try console.print("\n" + console.bold("Tokens a document"))
  try console.write(
    renderPairs([
      ("shortest", "\(lengths.minimum)"), ("median", "\(lengths.quantile(0.5))"),
      ("mean", String(format: "%.1f", lengths.mean)), ("95% have at most", "\(lengths.quantile(0.95))"),
      ("longest", "\(lengths.maximum)"),
    ]))
  try console.print()
  try console.write(lengths.histogram(width: 40))

  guard !picked.isEmpty else { return }
  let mark = console.usesColor ? console.trained("what is trained on") : "[what is trained on]"
  try console.print("\n" + console.bold("Samples of the training documents, with ") + mark)
  for number in picked {
    let sample = sample(number, of: data, tokenizer, maximumTokens: shownTokens)
    let name = sample.answer.map { "pair \(number / 2), \($0)" } ?? "document \(number)"
    try console.print("\n" + console.dim("\(name), \(sample.tokens) tokens"))
    let text = sample.parts.map { part in
      part.isTrained ? (console.usesColor ? console.trained(part.text) : "[\(part.text)]") : part.text
    }
    let rest = sample.tokens - shownTokens
    try console.print(text.joined() + (rest > 0 ? console.dim(" … and \(rest) tokens more") : ""))
  }
}

extension Console {
  /// Green: the part of a sample that the model learns.
  fileprivate func trained(_ text: String) -> String { "\u{1B}[32m\(text)\u{1B}[0m" }
}

private func inWords(_ kind: DataManifest.Kind) -> String {
  switch kind {
  case .pretrain: "text"
  case .sft: "conversations"
  case .dpo: "pairs of a chosen and a rejected answer"
  case .kto: "answers, each desirable or undesirable"
  case .grpo: "prompts whose answers can be checked"
  }
}

/// The training document as text, in stretches of equal training. Control characters except line ends and tabs are
/// shown as U+FFFD, so that no text can steer the terminal.
private func sample(
  _ number: Int, of data: TokenShardDataset, _ tokenizer: Tokenizer, maximumTokens: Int = Int.max
) -> Report.Sample {
  let (shard, document) = data.training.locate(number)
  let range = shard.tokenRange(ofDocument: document)
  let shown = range.prefix(maximumTokens)
  var parts: [TextPart] = []
  var start = shown.lowerBound
  while start < shown.upperBound {
    // The first token of a document is never a target.
    func isTrained(_ index: Int) -> Bool { index > range.lowerBound && shard.isTrained(index) }
    var end = start + 1
    while end < shown.upperBound && isTrained(end) == isTrained(start) { end += 1 }
    let text = tokenizer.decode((start..<end).map(shard.token))
    parts.append(TextPart(text: printable(text), isTrained: isTrained(start)))
    start = end
  }
  let answer: String? =
    switch data.manifest.kind {
    case .pretrain, .sft, .grpo: nil
    case .dpo: number % 2 == 0 ? "chosen" : "rejected"
    case .kto: data.training.isDesirable(number) ? "desirable" : "undesirable"
    }
  return Report.Sample(document: number, answer: answer, tokens: range.count, parts: parts)
}

func printable(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    let isControl = scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t"
    result.append(isControl ? "\u{FFFD}" : scalar)
  }
  return String(result)
}

/// `count` different training documents, or pairs of them, the same for the same seed, in the order of their numbers.
private func pickDocuments(_ count: Int, of data: TokenShardDataset, seed: Int) -> [Int] {
  let size = data.manifest.kind.documentsPerSample
  let sampleCount = data.training.documentCount / size
  var picked: Set<Int> = []
  var generator = SplitMix64(seed: UInt64(bitPattern: Int64(seed)))
  while picked.count < min(count, sampleCount) { picked.insert(generator.next(below: sampleCount)) }
  return picked.sorted().flatMap { $0 * size..<($0 + 1) * size }
}
