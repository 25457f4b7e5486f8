import Model
import Tokenization

/// MiniMind's checkpoint: the `state_dict` of its model, saved by PyTorch. The names in it show the version. Of a model that sees it
/// holds the language model and the projector.
package struct MiniMindFormat: ModelFormat {
  package let name = "pth"
  package let title = "MiniMind `.pth`"
  package let ending: String? = ".pth"
  package let encodings: [WeightEncoding] = [.float32, .bfloat16, .float16]
  package let tokenizer = TokenizerPlace.none
  package let lacksHeadCounts = true

  package init() {}

  /// Any other file is refused when it is read as a checkpoint, with the reason.
  package func isFormat(ofPath path: String) -> Bool {
    isFile(path) && !ModelFormats.isContainer(file: path)
  }

  package func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws {
    try MiniMindVersion(of: configuration).check(configuration, path: path)
  }

  package func encodes(_ entry: ParameterEntry) -> Bool { !entry.role.isTower }

  package func note(on model: StoredParameters, _ encoding: WeightEncoding) -> String? {
    let left = model.parameters.table.entries.filter { $0.role.isTower }.reduce(0) { $0 + $1.count }
    return left == 0
      ? nil : "without the \(left) numbers of the tower, which MiniMind-V reads from a directory of its own"
  }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    let checkpoint = try TorchCheckpoint(path)
    let names = try Parameters.namedTensors(of: checkpoint)
    let sees = names.keys.contains { $0.hasPrefix(MiniMindSight.prefix) }
    guard sees == (missing.towerDirectory != nil) else {
      throw ModelFileError.unsupported(
        path: path,
        feature: sees
          ? "it is a model that sees, and its tower has a directory of its own, CLIP's or SigLIP's: give it by --tower"
          : "it is a model of text alone: leave out --tower")
    }
    let tower = try missing.towerDirectory.map { try StoredTower(directory: $0) }
    let parameters = try Parameters(miniMind: checkpoint, missing, tower: tower)
    let version = MiniMindVersion(weights: names)
    let configuration = parameters.configuration
    let type = checkpoint.tensors.first { $0.shape.count == 2 }?.type
    var result = StoredParameters(
      parameters, types: try parameters.table.entries.map { $0.role.isTower ? try tower?.type(of: $0) : type })
    var assumed: [String] = []
    if version != .v3 && missing.headCount == nil && Parameters.headSize(of: checkpoint) == nil {
      assumed.append("\(configuration.headCount) heads (--heads)")
    }
    if missing.ropeTheta == nil { assumed.append("rotary base \(Int(configuration.ropeTheta)) (--rope-theta)") }
    if configuration.isMixture && missing.expertsPerToken == nil {
      assumed.append("\(configuration.expertsPerToken) experts a token (--experts-per-token)")
    }
    if !assumed.isEmpty {
      result.isAssumed = true
      let text = assumed.joined(separator: ", ")
      result.notes.append(("assumed", text + ": as \(version.rawValue) has them; the .pth does not say"))
    }
    let source = version == .v1 ? "as MiniMind v1 trains" : "as \(version.rawValue)'s configuration has it"
    result.notes.append(("context", "\(configuration.maximumSequenceLength) tokens, \(source); the .pth does not say"))
    if let sight = configuration.sight {
      let tokens = sight.placeholderIDs.map { "\(sight.rowsPerPicture / sight.placeholderIDs.count) × \($0)" }
      result.notes.append(
        ("pictures", "at the tokens \(tokens.joined(separator: ", ")), as \(version.rawValue)'s vision model has them"))
    }
    return result
  }

  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    try model.parameters.saveMiniMind(path, type: settings.encoding.tensorType ?? .float32)
  }
}
