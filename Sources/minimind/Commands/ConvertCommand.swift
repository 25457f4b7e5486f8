import Foundation
import Model
import ModelFiles
import Storage

/// `minimind convert`: a model in another format, or the same format with other types.
let convertCommand: Command = {
  let from = Option.required(
    "from", "PATH",
    help: "A model: a Hugging Face directory, a run or checkpoint of this program, a MiniMind .pth, or a GGUF file.")
  let to = Option.required("to", "PATH", help: "The result, which must not exist yet.")
  let format = Option<(any ModelFormat)?>.optionalChoice(
    "format", among: ModelFormats.written, called: \.name,
    defaultText: "by the ending of --to, .pth or .gguf; else hf",
    help: "Hugging Face directory, MiniMind's checkpoint, llama.cpp's format; lora: an adapter as MiniMind's .pth.")
  let type = Option<WeightEncoding?>.optionalChoice(
    "type", defaultText: "that of the source; fp32 for an adapter",
    help:
      "How weights are stored; q8, q4 and q4_K, which are llama.cpp's q8_0, q4_0 and q4_K, in gguf only. "
      + NumberType.otherNamesNote)
  let heads = Option.optionalInteger(
    "heads", in: 1...4096, defaultText: "16 for one with v1's names, 8 for one of MiniMind2",
    help: "Query heads of a .pth, where it does not say how many it has.")
  let theta = Option.optionalNumber(
    "rope-theta", in: 1...1e9, defaultText: "10000 for one with v1's names, else 1000000",
    help: "Rotary base of a .pth, which does not say it.")
  let experts = Option.optionalInteger(
    "experts-per-token", in: 1...256, defaultText: "1 for one of MiniMind 3, else 2",
    help: "Experts that each token is routed to, of a .pth with a mixture of experts.")
  let tower = Option.optional(
    "tower", "DIR", help: "The CLIP or SigLIP tower of a .pth of MiniMind-V, which does not hold it.")
  let tokenizer = Option.optional(
    "tokenizer", "DIR",
    help: "The tokenizer for the result, a directory or a GGUF file, if the source has none or another is wanted."
  )
  let shardSize = Option.optionalInteger(
    "max-shard-size", in: 1...1 << 20, help: "Cuts the weights of hf into files of at most N MiB.")
  return Command(
    "convert", summary: "changes the format of a model",
    options: [from, to, format, type, heads, theta, experts, tower, tokenizer, shardSize],
    example: "minimind convert --from my-chat --to my-chat.gguf --type q8"
  ) { invocation in
    // A directory's path may end in a slash; the file that is written beside it may not.
    let path = withoutTrailingSlashes(invocation[to])
    let result = invocation[format] ?? ModelFormats.format(forWriting: path)
    try check(result, invocation[type], sharded: invocation[shardSize] != nil, tokenizer: invocation[tokenizer] != nil)
    // What lies beside it is the format's to judge: it may be of a conversion that was killed.
    guard !FileManager.default.fileExists(atPath: path) else {
      throw CommandError("\(path) exists already. Choose another --to, or remove it.")
    }
    let origin = ModelFormats.format(of: invocation[from])
    let missing = MissingSettings(
      headCount: invocation[heads], expertsPerToken: invocation[experts], ropeTheta: invocation[theta],
      towerDirectory: invocation[tower])
    guard origin.lacksHeadCounts || missing == MissingSettings() else {
      throw UsageError(
        "--heads, --rope-theta, --experts-per-token and --tower go with a .pth; \(invocation[from]) says them.")
    }
    let source = try origin.read(invocation[from], missing)
    let settings = WriteSettings(
      encoding: invocation[type] ?? result.exactEncoding(of: source),
      tokenizerDirectory: result.tokenizer == .none ? nil : invocation[tokenizer] ?? source.tokenizerDirectory,
      shardByteCount: invocation[shardSize].map { $0 << 20 })
    guard result.tokenizer != .inside || settings.tokenizerDirectory != nil else {
      throw UsageError(
        "\(result.name) holds the tokenizer, and the source has none: give its directory with --tokenizer.")
    }
    try result.write(source, to: path, settings)
    try report(source, result, settings, result.files(writtenTo: path, source.parameters.configuration))
  }
}()

private func check(_ format: any ModelFormat, _ type: WeightEncoding?, sharded: Bool, tokenizer: Bool) throws {
  /// The formats that can do something.
  func names(_ isAble: (any ModelFormat) -> Bool) -> String {
    ModelFormats.written.filter(isAble).map(\.name).joined(separator: " or ")
  }
  if let type, !format.encodings.contains(type) {
    let types = format.encodings.map(\.rawValue)
    throw UsageError(
      "--type \(type.rawValue) goes with --format \(names { $0.encodings.contains(type) }); \(format.name) takes "
        + types.dropLast().joined(separator: ", ") + " or \(types.last ?? "none").")
  }
  if sharded && !format.hasShards { throw UsageError("--max-shard-size goes with --format \(names(\.hasShards)).") }
  if tokenizer && format.tokenizer == .none {
    throw UsageError("a \(format.ending ?? format.name) holds weights only: leave out --tokenizer.")
  }
}

private func report(
  _ source: StoredParameters, _ format: any ModelFormat, _ settings: WriteSettings,
  _ outputs: [(name: String, path: String)]
) throws {
  let exact = format.exactEncoding(of: source)
  let isExact = settings.encoding == exact || settings.encoding == .float32
  var rows = [
    (
      name: "weights",
      // Where settings are assumed, the weights may be exact and the model another one.
      value: settings.encoding.rawValue
        + (!isExact ? ", rounded from \(exact.rawValue)" : source.isAssumed ? ", not rounded" : ", no bit lost")
    )
  ]
  if !format.holdsAdapter {
    rows.insert((name: "parameters", value: formatCount(source.parameters.configuration.parameterCount)), at: 0)
  }
  if let note = format.note(on: source, settings.encoding) { rows.append((name: "", value: note)) }
  rows += source.notes
  if format.tokenizer != .none { rows.append((name: "tokenizer", value: settings.tokenizerDirectory ?? "none")) }
  rows += outputs.map { (name: $0.name, value: $0.path) }
  try Console.standardOutput.write(renderPairs(rows))
}
