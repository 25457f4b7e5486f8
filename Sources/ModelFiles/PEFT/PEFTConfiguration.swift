import Storage

/// The `adapter_config.json` of a LoRA adapter, as the `peft` package writes and reads it.
///
/// A setting that would change the arithmetic and is not supported here is refused by its name, never ignored.
package struct PEFTConfiguration: Equatable, Sendable {
  package static let fileName = "adapter_config.json"

  /// The directory of the model that the adapter belongs to; nil when the file does not say.
  package var base: String?
  /// A and B's common dimension, where `hasRankPattern` does not give a module another.
  package var rank: Int
  package var alpha: Double
  package var dropout: Double
  /// Names of modules, or ends of names; empty when they are given as a pattern: then the names of the weights decide.
  package var targets: [String]
  /// The regular expression that the whole name of a module matches, where there is one in place of `targets`.
  package var targetPattern: String?
  /// Modules whose alpha is another, by the ends of their names.
  package var alphaPattern: [(name: String, alpha: Double)] = []
  package var hasRankPattern = false
  /// The product is scaled by alpha/√rank rather than alpha/rank (Kalajdzievski 2023, arXiv 2312.03732).
  package var usesRankStabilization = false

  package init(base: String, rank: Int, alpha: Double, dropout: Double, targets: [String]) {
    self.base = base
    self.rank = rank
    self.alpha = alpha
    self.dropout = dropout
    self.targets = targets
  }

  package static func == (left: Self, right: Self) -> Bool { left.json == right.json }

  /// What the product of a module's A and B is multiplied by.
  ///
  /// - Parameter module: its name in the model, as "model.layers.0.self_attn.q_proj".
  package func scale(of module: String, rank: Int) -> Double {
    let own = alphaPattern.first { module == $0.name || module.hasSuffix("." + $0.name) }?.alpha
    return (own ?? alpha) / (usesRankStabilization ? Double(rank).squareRoot() : Double(rank))
  }

  /// The file's object.
  package var json: JSON {
    func object(_ members: [(String, JSON)]) -> JSON { .object(members.map { JSON.Member($0.0, $0.1) }) }
    return object([
      ("alpha_pattern", object(alphaPattern.map { ($0.name, .number($0.alpha)) })),
      ("base_model_name_or_path", base.map(JSON.string) ?? .null),
      ("bias", .string("none")),
      ("fan_in_fan_out", .bool(false)),
      ("inference_mode", .bool(true)),
      ("init_lora_weights", .bool(true)),
      ("layers_pattern", .null),
      ("layers_to_transform", .null),
      // peft declares an integer; a fraction stays one.
      ("lora_alpha", Int(exactly: alpha).map(JSON.integer) ?? .number(alpha)),
      ("lora_dropout", .number(dropout)),
      ("modules_to_save", .null),
      ("peft_type", .string("LORA")),
      ("r", .integer(rank)),
      ("rank_pattern", .object([])),
      ("revision", .null),
      ("target_modules", targetPattern.map(JSON.string) ?? .array(targets.map(JSON.string))),
      ("task_type", .string("CAUSAL_LM")),
      ("use_dora", .bool(false)),
      ("use_rslora", .bool(usesRankStabilization)),
    ])
  }

  // MARK: - Reading

  /// Settings that do not change the arithmetic, or are checked below.
  private static let known: Set<String> = [
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules",
    "eva_config", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform",
    "lora_alpha", "lora_dropout", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
  ]
  /// Ways of choosing the first A and B that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ) change it.
  private static let plainInitializations = ["gaussian", "orthogonal", "eva"]

  /// - Throws: `FileError` when the file cannot be read, `ModelFileError` when it is no such file, or asks for something
  ///   that is not supported.
  package init(directory: String) throws {
    let path = directory + "/" + Self.fileName
    let json = try JSON(contentsOf: path)
    guard case .object(let members) = json else {
      throw ModelFileError.malformed(path: path, fault: "it is not a JSON object")
    }
    func unsupported(_ feature: String) -> ModelFileError { .unsupported(path: path, feature: feature) }
    func malformed(_ key: String, _ expected: String) -> ModelFileError {
      let found = json[key].map { String($0.compactText.prefix(60)) } ?? "missing"
      return .malformed(path: path, fault: "\(key) is \(found), \(expected) is expected")
    }
    guard json["peft_type"] == .string("LORA") else {
      throw unsupported(
        "the adapter is of the type \(json["peft_type"]?.compactText.prefix(60) ?? "none"); LORA is supported")
    }
    if let bias = json["bias"], !bias.isNull, bias != .string("none") {
      throw unsupported("bias is \(bias.compactText.prefix(60)); only adapters without biases are supported")
    }
    for member in members where !Self.known.contains(member.key) || member.key == "fan_in_fan_out" {
      guard Self.isOff(member.value) else {
        throw unsupported(
          "\(member.key.prefix(60)) is \(member.value.compactText.prefix(60)); plain LoRA adapters are supported")
      }
    }
    if let name = json["init_lora_weights"]?.stringValue, !Self.plainInitializations.contains(name) {
      throw unsupported(
        "init_lora_weights is '\(name.prefix(60))', which changes the base's weights. "
          + "Save the adapter with path_initial_model_for_weight_conversion, then load it")
    }
    guard let rank = json["r"]?.integerValue, (1...1 << 16).contains(rank) else {
      throw malformed("r", "a whole number above 0")
    }
    guard let alpha = json["lora_alpha"]?.doubleValue, alpha.isFinite else { throw malformed("lora_alpha", "a number") }
    self.rank = rank
    self.alpha = alpha
    dropout = json["lora_dropout"]?.doubleValue ?? 0
    base = json["base_model_name_or_path"]?.stringValue
    targets = json["target_modules"]?.arrayValue?.compactMap(\.stringValue) ?? []
    targetPattern = json["target_modules"]?.stringValue
    usesRankStabilization = json["use_rslora"] == .bool(true)
    if case .object(let ranks)? = json["rank_pattern"] { hasRankPattern = !ranks.isEmpty }
    if case .object(let alphas)? = json["alpha_pattern"] {
      alphaPattern = try alphas.map { member in
        guard member.key.utf8.allSatisfy(Self.isNameByte) else {
          throw unsupported(
            "alpha_pattern has the pattern '\(member.key.prefix(60))'; only names of modules are supported there")
        }
        guard let alpha = member.value.doubleValue, alpha.isFinite else {
          throw malformed("alpha_pattern", "an object of numbers")
        }
        return (member.key, alpha)
      }
    }
  }

  /// Letters, digits, underscores and dots: a name that no reader takes for a regular expression.
  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  /// Whether a setting has a value that changes nothing: null, false or empty.
  private static func isOff(_ value: JSON) -> Bool {
    switch value {
    case .null, .bool(false): true
    case .array(let values): values.isEmpty
    case .object(let members): members.isEmpty
    default: false
    }
  }
}
