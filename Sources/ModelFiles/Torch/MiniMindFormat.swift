import Model
import Tokenization

/// MiniMind's checkpoint: the `state_dict` of its model, saved by PyTorch. The names in it show the version.
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

  package func encodes(_ entry: ParameterEntry) -> Bool { true }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    let checkpoint = try TorchCheckpoint(path)
    let parameters = try Parameters(miniMind: checkpoint, missing)
    let version = MiniMindVersion(weights: try Parameters.namedTensors(of: checkpoint))
    let configuration = parameters.configuration
    let type = checkpoint.tensors.first { $0.shape.count == 2 }?.type
    var result = StoredParameters(parameters, types: parameters.table.entries.map { _ in type })
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
    return result
  }

  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    try model.parameters.saveMiniMind(path, type: settings.encoding.tensorType ?? .float32)
  }
}
