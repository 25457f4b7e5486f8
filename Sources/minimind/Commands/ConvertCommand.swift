import Foundation
import Model
import ModelFiles
import Storage

/// A kind of model file that `convert` writes.
enum ModelFormat: String, CaseIterable {
  case huggingFace = "hf"
  case legacy = "pth"
  case gguf

  /// What the name of the result says, when `--format` does not.
  init(path: String) {
    self = path.hasSuffix(".pth") ? .legacy : path.hasSuffix(".gguf") ? .gguf : .huggingFace
  }
}

/// `minimind convert`: a model in another format, or the same format with other types.
let convertCommand: Command = {
  let from = Option.required(
    "from", "PATH",
    help: "A model: a Hugging Face directory, a run or checkpoint of this program, or a MiniMind v1 .pth.")
  let to = Option.required("to", "PATH", help: "The result, which must not exist yet.")
  let format = Option<ModelFormat?>.optionalChoice(
    "format", defaultText: "by the ending of --to, .pth or .gguf; else hf",
    help: "Hugging Face directory, MiniMind v1 checkpoint, or llama.cpp's format.")
  let type = Option<WeightEncoding?>.optionalChoice(
    "type", defaultText: "that of the source; f32 for an adapter", help: "How weights are stored; q8_0 in gguf only.")
  let heads = Option.optionalInteger(
    "heads", in: 1...4096, defaultText: "16", help: "Query heads of a v1 .pth, which does not say how many it has.")
  let experts = Option.optionalInteger(
    "experts-per-token", in: 1...256, defaultText: "2",
    help: "Experts that a token passes, of a v1 .pth with a mixture of experts.")
  let tokenizer = Option.optional(
    "tokenizer", "DIR", help: "The tokenizer that goes into the result, where the source has none or another is wanted."
  )
  let shardSize = Option.optionalInteger(
    "max-shard-size", "MB", in: 1...1 << 20, help: "Cuts the weights of hf into files of this size at most.")
  return Command(
    "convert", summary: "changes the format of a model",
    options: [from, to, format, type, heads, experts, tokenizer, shardSize],
    example: "minimind convert --from my-chat --to my-chat.gguf --type q8_0"
  ) { invocation in
    // A directory's path may end in a slash; the file that is written beside it may not.
    let path = withoutTrailingSlashes(invocation[to])
    let result = invocation[format] ?? ModelFormat(path: path)
    try check(result, invocation[type], sharded: invocation[shardSize] != nil, tokenizer: invocation[tokenizer] != nil)
    let modelfile = (path as NSString).deletingPathExtension + ".Modelfile"
    for target in result == .gguf ? [path, modelfile] : [path] where FileManager.default.fileExists(atPath: target) {
      throw CommandError("\(target) exists already. Choose another --to, or remove it.")
    }
    let source = try ConversionSource(
      invocation[from], heads: invocation[heads], expertsPerToken: invocation[experts])
    let encoding = invocation[type] ?? source.encoding(in: result)
    let tokenizerDirectory = invocation[tokenizer] ?? source.tokenizerDirectory
    switch result {
    case .huggingFace:
      try source.parameters.save(
        modelDirectory: path, type: encoding.tensorType ?? .float32, tokenizerDirectory: tokenizerDirectory,
        shardByteCount: invocation[shardSize].map { $0 * 1_000_000 }, keepingSettingsOf: source.directory,
        metadata: source.metadata)
    case .legacy: try source.parameters.saveLegacy(path, type: encoding.tensorType ?? .float32)
    case .gguf: try writeGGUF(source, path, modelfile: modelfile, encoding, tokenizerDirectory)
    }
    try report(source, path: path, result, encoding, modelfile: modelfile, tokenizerDirectory)
  }
}()

private func check(_ format: ModelFormat, _ type: WeightEncoding?, sharded: Bool, tokenizer: Bool) throws {
  if type == .q8 && format != .gguf {
    throw UsageError("--type q8_0 goes with --format gguf; \(format.rawValue) takes f32, f16 or bf16.")
  }
  if sharded && format != .huggingFace { throw UsageError("--max-shard-size goes with --format hf.") }
  if tokenizer && format == .legacy { throw UsageError("a .pth holds weights only: leave out --tokenizer.") }
}

/// The model that is converted.
private struct ConversionSource {
  let parameters: Parameters
  /// How each weight is stored; f32 for all where an adapter is added, since the sums need all bits.
  private let types: [(entry: ParameterEntry, type: TensorType?)]
  /// The Hugging Face directory of its settings, for an adapter that of its base; nil for a `.pth`.
  let directory: String?
  /// Where its tokenizer is, if it has one.
  let tokenizerDirectory: String?
  /// What tells of the adapters that are merged into its weights.
  let metadata: [String: String]

  init(_ path: String, heads: Int?, expertsPerToken: Int?) throws {
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
    if exists && !isDirectory.boolValue {
      let checkpoint = try TorchCheckpoint(path)
      parameters = try Parameters(
        legacy: checkpoint, headCount: heads ?? 16, expertsPerToken: expertsPerToken ?? 2)
      let type = checkpoint.tensors.first { $0.shape.count == 2 }?.type
      types = parameters.table.entries.map { ($0, type) }
      directory = nil
      tokenizerDirectory = nil
      metadata = [:]
      return
    }
    let directory = try resolveModelDirectory(path)
    guard heads == nil && expertsPerToken == nil else {
      throw UsageError("--heads and --experts-per-token go with a v1 .pth; \(directory)/config.json says both.")
    }
    let weights = try ModelWeights(directory: directory)
    parameters = try Parameters(ModelConfiguration(modelDirectory: directory), weights)
    let isAdapter = PEFTAdapter.isAdapter(directory)
    types = parameters.table.entries.map { ($0, isAdapter ? .float32 : weights.tensor($0.key)?.type) }
    self.directory = weights.directory
    tokenizerDirectory = TokenizerFiles.firstDirectory(of: [directory, weights.directory])
    metadata = weights.mergedMetadata()
  }

  /// The type that loses nothing of the weights in a format: that of all which the format stores in the type it is told.
  func encoding(in format: ModelFormat) -> WeightEncoding {
    let stored = types.filter { entry, _ in
      switch format {
      case .huggingFace: entry.role != .router
      case .legacy: true
      case .gguf: entry.shape.count == 2 && entry.role != .router
      }
    }
    let kinds = Set(stored.map(\.type))
    return WeightEncoding(keeping: kinds.count == 1 ? kinds.first! : nil)
  }
}

private func writeGGUF(
  _ source: ConversionSource, _ path: String, modelfile: String, _ encoding: WeightEncoding,
  _ tokenizerDirectory: String?
) throws {
  guard let tokenizerDirectory else {
    throw UsageError("a GGUF file holds the tokenizer, and the source has none: give its directory with --tokenizer.")
  }
  let configuration = source.parameters.configuration
  let tokenizer = try GGUFTokenizer(
    directory: tokenizerDirectory, vocabularySize: configuration.vocabularySize,
    beginToken: configuration.beginTokenID, endTokens: configuration.endTokenIDs)
  let name = (path as NSString).lastPathComponent
  try source.parameters.saveGGUF(
    path, name: (name as NSString).deletingPathExtension, encoding: encoding, tokenizer: tokenizer.metadata)
  let text = OllamaModelfile.text(
    model: name, isChat: tokenizer.hasMiniMindChat, stops: tokenizer.stops,
    contextLength: configuration.maximumSequenceLength)
  try AtomicFile.write(text, to: modelfile)
}

private func report(
  _ source: ConversionSource, path: String, _ format: ModelFormat, _ encoding: WeightEncoding, modelfile: String,
  _ tokenizerDirectory: String?
) throws {
  let exactEncoding = source.encoding(in: format)
  let isExact = encoding == exactEncoding || encoding == .float32
  var rows = [
    (name: "parameters", value: formatCount(source.parameters.configuration.parameterCount)),
    (
      name: "weights",
      value: encoding.rawValue + (isExact ? ", no bit lost" : ", rounded from \(exactEncoding.rawValue)")
    ),
  ]
  if source.directory == nil {
    let length = source.parameters.configuration.maximumSequenceLength
    rows.append((name: "context", value: "\(length) tokens, as MiniMind v1 trains; the .pth does not say"))
  }
  if format != .legacy { rows.append((name: "tokenizer", value: tokenizerDirectory ?? "none")) }
  rows.append((name: "written", value: path))
  if format == .gguf { rows.append((name: "for ollama", value: modelfile)) }
  try Console.standardOutput.write(renderPairs(rows))
}
