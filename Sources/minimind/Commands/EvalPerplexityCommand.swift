import CPUEngine
import Compute
import Corpus
import Evaluation
import Foundation
import Generation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization
import Training

/// Options of the commands that measure a model, or its training.
enum EvaluationOptions {
  static let device = Option(SettingList.shared.device, of: .pretrain)
  /// Nil for what the device computes fastest; the help page says what that is on the processor.
  static let precision: Option<ElementType?> = {
    let option = Option<JSON?>(
      SettingList.shared.precision.description, of: .pretrain.computed(by: TrainingDevice.cpu.engines))
    return Option(
      name: option.name, style: option.style, placeholder: option.placeholder, help: option.help,
      defaultText: option.defaultText, isRequired: false
    ) { try option.parse($0).flatMap(ElementType.init(json:)) }
  }()

  static func precision(_ invocation: Invocation) -> ElementType {
    invocation[precision] ?? Stage.pretrain.computed(by: invocation[device].engines).defaultPrecision
  }

  static func engines(_ invocation: Invocation) throws -> TrainingEngines {
    try TrainingEngines(invocation[device], threads: threadCount(invocation))
  }
}

/// `minimind eval perplexity`: how well a model predicts text.
let evalPerplexityCommand: Command = {
  let inputs = Option.list(
    "input", "FILE",
    help: "Texts. " + InputCommandOptions.files)
  let data = Option.optional(
    "data", "DIR", help: "Prepared data instead: the documents held out from training, as data pretrain or sft chose.")
  let sequenceLength = Option.optionalInteger(
    "sequence-length", in: 1...1 << 20, defaultText: "the model's own",
    help: "The most tokens that the model sees at once; longer documents are read in pieces of that length. "
      + "A document is <s>, its text, and </s>; the prediction of </s> counts in loss and bits/byte, "
      + "while bytes are those of the text.")
  let byPosition = Option.flag(
    "by-position",
    help: "Measures the loss over the position in the text instead, once without rotary scaling and once by each kind. "
      + "Only texts of --sequence-length tokens or more are used, which then is --rope-factor times the model's own "
      + "unless given.")
  let type = Option<WeightType?>.optionalChoice(
    "type", defaultText: "as in training, see --precision",
    help: "Measures the model as generate computes with weights of this type. \(NumberType.otherNamesNote)")
  let plot = Option.optional("plot", "FILE", help: "With --by-position: draws the losses as SVG.")
  return Command(
    "eval", "perplexity", summary: "measures how well a model predicts text",
    options: [
      GenerateOptions.model, inputs, InputCommandOptions.encoding, InputCommandOptions.textKey,
      InputCommandOptions.wholeFiles, data, sequenceLength, byPosition, plot, RotaryOptions.mode,
      RotaryOptions.factor, EvaluationOptions.device, EvaluationOptions.precision, type, Option.json, Option.threads,
    ],
    example: "minimind eval perplexity --model my-run --input heldout.jsonl"
  ) { invocation in
    guard invocation[inputs].isEmpty != (invocation[data] == nil) else {
      throw UsageError("minimind eval perplexity needs either --input FILE or --data DIR.")
    }
    let isByPosition = invocation[byPosition]
    if isByPosition, invocation[data] != nil || invocation.isGiven(RotaryOptions.mode) {
      throw UsageError(
        "--by-position takes texts by --input, and measures every --rope by itself; leave the others out.")
    }
    if !isByPosition, invocation[plot] != nil { throw UsageError("--plot needs --by-position.") }
    if invocation[type] != nil,
      isByPosition || invocation.isGiven(EvaluationOptions.precision) || invocation[EvaluationOptions.device] != .cpu
    {
      throw UsageError("--type goes neither with --by-position nor with --precision or --device; leave it or them out.")
    }
    let directory = try resolveModelDirectory(invocation[GenerateOptions.model])
    let tokenizer = try modelTokenizer(directory)
    let configuration = try ModelConfiguration(modelDirectory: directory)
    try configuration.requireLogits(directory)
    try checkVocabulary(tokenizer, configuration.vocabularySize, directory)
    let engines = try EvaluationOptions.engines(invocation)
    Interruption.watch()
    if isByPosition {
      let factor = invocation[RotaryOptions.factor]
      let length = invocation[sequenceLength] ?? Int(Double(configuration.contextLength) * factor)
      try configuration.checkContext(length)
      // A path that cannot be written is reported before the work.
      let plotFile = try invocation[plot].map { try AtomicFile($0) }
      let report = try PositionReport(
        invocation[GenerateOptions.model], Parameters(modelDirectory: directory), tokenizer,
        documents(invocation, inputs),
        length: max(PositionLosses.bucketCount, length), factor: factor,
        precision: EvaluationOptions.precision(invocation), engines: engines.provider)
      try engines.check()
      try plotFile?.write(report.plot)
      try plotFile?.commit()
      return try invocation[Option.json] ? printJSON(report) : Console.standardOutput.write(report.text)
    }
    let length = invocation[sequenceLength] ?? configuration.contextLength
    try configuration.checkContext(length)
    let scaling = try RotaryOptions.scaling(invocation, configuration)
    let meter: PerplexityMeter
    if let type = invocation[type] {
      let model = try loadInferenceEngine(
        modelDirectory: directory, type: type, contextLength: length, rotaryScaling: scaling, team: engines.team)
      meter = try PerplexityMeter(model, tokenizer)
    } else {
      meter = try PerplexityMeter(
        Parameters(modelDirectory: directory), tokenizer, precision: EvaluationOptions.precision(invocation),
        sequenceLength: length, rotaryScaling: scaling, engines: engines.provider)
    }
    let start = monotonicSeconds()
    if let path = invocation[data] {
      let dataset = try TokenShardDataset(directory: path, tokenizerHash: tokenizer.contentHash)
      guard dataset.manifest.pictures == nil else {
        throw CommandError(
          "\(path) has pictures, and this measures texts. For pictures there is: minimind eval pictures")
      }
      try measure(dataset, meter)
    } else {
      try measure(documents(invocation, inputs), meter)
    }
    try engines.check()
    guard let result = meter.finish() else {
      throw CommandError("there is no text to predict. Give files with text.")
    }
    let seconds = monotonicSeconds() - start
    if invocation[Option.json] {
      try printJSON(PerplexityReport(result, seconds: seconds))
    } else {
      try Console.standardOutput.write(table(result, seconds: seconds))
    }
  }
}()

private func documents(_ invocation: Invocation, _ inputs: Option<[String]>) throws
  -> DocumentReader
{
  try DocumentReader(
    inputs: invocation[inputs],
    InputCommandOptions.read(invocation, wholeFiles: invocation[InputCommandOptions.wholeFiles]),
    fieldNames: FieldNames(text: invocation[InputCommandOptions.textKey]))
}

private func measure(_ dataset: TokenShardDataset, _ meter: PerplexityMeter) throws {
  guard dataset.heldOut.documentCount > 0 else {
    throw CommandError(
      "\(dataset.directory) holds no documents back from training. Prepare it with --held-out above 0.")
  }
  let progress = ProgressLine(
    "evaluating", total: dataset.heldOut.inputTokenCount, unit: .things("tokens"), console: .standardError)
  defer { progress.finish() }
  try meter.add(dataset.heldOut) { tokens in
    try Interruption.check()
    progress.update(completed: tokens)
  }
}

private func measure(_ reader: DocumentReader, _ meter: PerplexityMeter) throws {
  let progress = ProgressLine("evaluating", total: reader.totalBytes, unit: .bytes, console: .standardError)
  defer { progress.finish() }
  for note in inputNotes(reader.files, reader.passedOver) {
    progress.note("\(note.name): \(note.value)")
  }
  var bytes = 0
  let broken = try reader.forEachDocument { text in
    try Interruption.check()
    try meter.add(text)
    // Bytes of text are a little fewer than those of the file, but follow the work.
    bytes += text.count
    progress.update(completed: bytes)
  }
  for message in broken.messages { progress.note(message) }
  if broken.count > broken.messages.count { progress.note("… and \(broken.count - broken.messages.count) more") }
}

/// What `--json` prints.
private struct PerplexityReport: Encodable {
  let loss: Double
  let perplexity: Double
  let bitsPerByte: Double
  let tokens: Int
  let documents: Int
  let textBytes: Int
  let seconds: Double

  enum CodingKeys: String, CodingKey {
    case loss, perplexity, tokens, documents, seconds
    case bitsPerByte = "bits_per_byte"
    case textBytes = "text_bytes"
  }

  init(_ result: Perplexity, seconds: Double) {
    loss = result.loss
    perplexity = result.perplexity
    bitsPerByte = result.bitsPerByte
    tokens = result.tokens
    documents = result.documents
    textBytes = result.textBytes
    self.seconds = seconds
  }
}

private func table(_ result: Perplexity, seconds: Double) -> String {
  renderPairs([
    (name: "loss", value: String(format: "%.4f nats/token", result.loss)),
    (name: "perplexity", value: String(format: "%.2f", result.perplexity)),
    (name: "bits/byte", value: String(format: "%.4f", result.bitsPerByte)),
    (name: "tokens", value: "\(result.tokens) in \(result.documents) documents"),
    (name: "text", value: formatBytes(result.textBytes)),
    (
      name: "time",
      value: "\(formatDuration(seconds)), \(formatCount(Int(Double(result.tokens) / max(seconds, 1e-9)))) tokens/s"
    ),
  ])
}
