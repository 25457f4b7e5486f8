import Foundation
import Model
import ModelFiles
import Storage

/// MiniMind v1's own results on a tiny model: made by running its PyTorch code in fp32 on random weights. That of the
/// mixture of experts has no balance loss.
///
/// `weight.*`, `grad.*` (of the masked mean loss) and `after.*` (five Adam steps later) carry v1's names;
/// `parameters`, `gradients` and `parametersAfter` have them under checkpoint keys and in this project's row order.
public struct GoldenFixture {
  public let configuration: ModelConfiguration
  public let parameters: [String: [Float]]
  public let gradients: [String: [Float]]
  public let parametersAfter: [String: [Float]]
  /// The numbers of the JSON file: `losses`, `grad_norms`, `lr`, `betas`, `eps`, `grad_clip`.
  public let settings: JSON
  private let file: SafetensorsFile

  /// Those in Tests/TestSupport/Fixtures.
  public enum Name: String, CaseIterable, Sendable {
    case dense = "dense_tiny"
    case mixture = "moe_tiny"
  }

  public init(_ name: Name = .dense) throws {
    let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures").path
    let path = directory + "/" + name.rawValue
    try self.init(safetensors: path + ".safetensors", settings: path + ".json")
  }

  public init(safetensors path: String, settings settingsPath: String) throws {
    let file = try SafetensorsFile(path)
    let settings = try JSON(contentsOf: settingsPath)
    func number(_ key: String) throws -> Int {
      guard let value = settings[key]?.integerValue else { throw GoldenFixtureError(text: "no \(key)") }
      return value
    }
    var configuration = ModelConfiguration(
      hiddenSize: try number("dim"), layerCount: try number("n_layers"), headCount: try number("n_heads"),
      keyValueHeadCount: try number("n_kv_heads"), intermediateSize: try number("hidden_dim"),
      vocabularySize: try number("vocab_size"))
    configuration.maximumSequenceLength = try number("max_seq_len")
    configuration.rmsNormEpsilon = Float(settings["norm_eps"]?.doubleValue ?? 1e-5)
    configuration.ropeTheta = settings["rope_theta"]?.doubleValue ?? 10_000
    if settings["use_moe"]?.boolValue == true {
      configuration.expertCount = try number("n_routed_experts")
      configuration.expertsPerToken = try number("num_experts_per_tok")
      configuration.sharedExpertCount = 1
      configuration.balanceLossWeight = 0
    }
    self.configuration = configuration
    self.settings = settings
    self.file = file
    parameters = try Self.group("weight.", of: file, configuration)
    gradients = try Self.group("grad.", of: file, configuration)
    parametersAfter = try Self.group("after.", of: file, configuration)
  }

  /// A raw fp32 tensor by its name in the file, such as `logits` [3, 40, vocabulary] or `token_loss` [3, 40].
  public func floats(_ name: String) throws -> [Float] {
    try file.floats(of: try tensor(name))
  }

  /// A raw integer tensor by its name in the file: `input_ids`, `target_ids`, `loss_mask` [3, 40],
  /// `greedy_prompt` [1, 9], `greedy_tokens` [1, 15].
  public func integers(_ name: String) throws -> [Int32] {
    let tensor = try tensor(name)
    guard tensor.type == .int64 else { throw GoldenFixtureError(text: "\(name) is \(tensor.type)") }
    let bytes = file.bytes(of: tensor)
    return (0..<tensor.count).map { Int32(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
  }

  /// A number list of the JSON file.
  public func numbers(_ key: String) -> [Double] {
    settings[key]?.arrayValue?.compactMap(\.doubleValue) ?? []
  }

  /// The weights in one block, as the model takes them.
  public func makeParameters() throws -> Parameters {
    let result = try Parameters(zeroed: configuration)
    withExtendedLifetime(result) {
      for (key, values) in parameters { _ = result[key].update(fromContentsOf: values) }
    }
    return result
  }

  private func tensor(_ name: String) throws -> SafetensorsFile.Tensor {
    guard let tensor = file.tensor(name) else { throw GoldenFixtureError(text: "no tensor \(name)") }
    return tensor
  }

  private static func group(
    _ prefix: String, of file: SafetensorsFile, _ configuration: ModelConfiguration
  ) throws -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for tensor in file.tensors where tensor.name.hasPrefix(prefix) {
      let name = String(tensor.name.dropFirst(prefix.count))
      let key = try checkpointKey(name, configuration)
      var values = try file.floats(of: tensor)
      if name.hasSuffix("attention.wq.weight") || name.hasSuffix("attention.wk.weight") {
        values = toHalfSplitRows(values, columns: configuration.hiddenSize, headSize: configuration.headSize)
      }
      result[key] = values
    }
    return result
  }

  private static func checkpointKey(_ name: String, _ configuration: ModelConfiguration) throws -> String {
    switch name {
    case "output.weight", "tok_embeddings.weight": return ParameterKey.embedding
    case "norm.weight": return ParameterKey.finalNorm
    default: break
    }
    let parts = name.split(separator: ".", maxSplits: 2)
    guard parts.count == 3, parts[0] == "layers", let layer = Int(parts[1]) else {
      throw GoldenFixtureError(text: "no checkpoint key for \(name)")
    }
    let key = ParameterKey.Layer(layer)
    switch parts[2] {
    case "attention.wq.weight": return key.query
    case "attention.wk.weight": return key.key
    case "attention.wv.weight": return key.value
    case "attention.wo.weight": return key.attentionOutput
    case "attention_norm.weight": return key.attentionNorm
    case "ffn_norm.weight": return key.feedForwardNorm
    case "feed_forward.gate.weight": return key.router
    default: break
    }
    // feed_forward.w1.weight, feed_forward.shared_experts.w1.weight, feed_forward.experts.3.w1.weight
    let path = parts[2].split(separator: ".")
    let block =
      path.count == 5 && path[1] == "experts" ? Int(path[2]).map(key.expert) : key.feedForward(configuration)
    switch (path.first, path.dropLast().last) {
    case ("feed_forward", "w1"): if let block { return block.gate }
    case ("feed_forward", "w2"): if let block { return block.down }
    case ("feed_forward", "w3"): if let block { return block.up }
    default: break
    }
    throw GoldenFixtureError(text: "no checkpoint key for \(name)")
  }

  /// v1 rotates adjacent dimensions (2i, 2i+1) of a head, this project (i, i + size/2): inside each head
  /// row i of half h comes from row 2i + h.
  private static func toHalfSplitRows(_ values: [Float], columns: Int, headSize: Int) -> [Float] {
    let half = headSize / 2
    var result = values
    for row in 0..<values.count / columns {
      let (head, place) = row.quotientAndRemainder(dividingBy: headSize)
      let source = head * headSize + 2 * (place % half) + place / half
      result.replaceSubrange(
        row * columns..<(row + 1) * columns, with: values[source * columns..<(source + 1) * columns])
    }
    return result
  }
}

struct GoldenFixtureError: Error { var text: String }
