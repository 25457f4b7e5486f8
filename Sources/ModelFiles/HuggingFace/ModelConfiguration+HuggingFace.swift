import Model
import Storage

// MARK: - config.json

extension ModelConfiguration {
  /// Reads a Hugging Face `config.json` of one of the models in `Architecture`.
  ///
  /// Absent keys have the defaults of `transformers`. A setting that would change the arithmetic and is
  /// not supported here is refused by its name, never ignored.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file.
  public init(huggingFaceConfig path: String) throws {
    let config = try HuggingFaceConfig(path: path, json: JSON(contentsOf: path))
    let layout = config.sightLayout
    try self.init(layout.map { try config.textModel($0) } ?? config)
    guard let layout else { return }
    sight = try layout.sight(config, preprocessing: .preprocessing(besideConfig: path))
    try validate(source: path)
  }

  /// The configuration of the model in a directory or file, or of the base of the adapter in a directory. The tokens that
  /// end a text are those of its configuration and of its settings for generation.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file.
  package init(modelDirectory: String) throws {
    self = try modelContainer(modelDirectory).configuration(GenerationConfiguration(modelDirectory: modelDirectory))
  }

  /// This configuration as the object of a `config.json`, in the form that `transformers` 4 and 5 read.
  ///
  /// - Parameter weightType: the element type of the weights beside it, as "float32".
  public func huggingFaceConfig(weightType: String = "float32") -> JSON {
    if let sight { return huggingFaceConfig(of: sight, weightType: weightType) }
    let architecture = Architecture(self)
    let endTokens = endTokenIDs.map(JSON.integer)
    var members: [(String, JSON)] = [
      (
        "architectures",
        .array([.string((scoresTexts ? architecture.scoringName : nil) ?? architecture.rawValue)])
      ),
      ("attention_bias", .bool(attentionBias == .inputsAndOutput)),
      ("attention_dropout", .number(0)),
      ("bos_token_id", beginTokenID.map(JSON.integer) ?? .null),
      ("eos_token_id", endTokens.count <= 1 ? endTokens.first ?? .null : .array(endTokens)),
      ("head_dim", .integer(headSize)),
      ("hidden_act", .string("silu")),
      ("hidden_size", .integer(hiddenSize)),
      ("initializer_range", .number(0.02)),
      ("intermediate_size", .integer(intermediateSize)),
      ("max_position_embeddings", .integer(maximumSequenceLength)),
      ("mlp_bias", .bool(false)),
      ("model_type", .string(architecture.modelType)),
      ("num_attention_heads", .integer(headCount)),
      ("num_hidden_layers", .integer(layerCount)),
      ("num_key_value_heads", .integer(keyValueHeadCount)),
      // The shortest decimal that reads back as the same Float, rather than its exact expansion.
      ("rms_norm_eps", .number(Double("\(rmsNormEpsilon)") ?? Double(rmsNormEpsilon))),
      ("rope_scaling", huggingFaceRopeScaling),
      ("rope_theta", .number(ropeTheta)),
      ("tie_word_embeddings", .bool(tiesEmbeddings)),
      ("torch_dtype", .string(weightType)),
      ("use_cache", .bool(true)),
      ("vocab_size", .integer(vocabularySize)),
    ]
    if let slidingWindow { members.append(("sliding_window", .integer(slidingWindow))) }
    if isMixture { members += mixtureMembers(architecture) }
    if scoresTexts {
      members += [
        ("id2label", .object([.init("0", .string("score"))])),
        ("label2id", .object([.init("score", .integer(0))])),
        ("num_labels", .integer(1)),
      ]
      // transformers takes the score at the last token that is not this one, so it must be none that ends a text.
      if !endTokenIDs.contains(0) { members.append(("pad_token_id", .integer(0))) }
    }
    return .object(members.map { JSON.Member($0.0, $0.1) })
  }

  /// The object of a `generation_config.json`: which tokens begin and end a text, and MiniMind's sampling.
  public func huggingFaceGenerationConfig() -> JSON {
    let endTokens = endTokenIDs.map(JSON.integer)
    return .object([
      JSON.Member("bos_token_id", beginTokenID.map(JSON.integer) ?? .null),
      JSON.Member("do_sample", .bool(true)),
      JSON.Member("eos_token_id", endTokens.count <= 1 ? endTokens.first ?? .null : .array(endTokens)),
      JSON.Member("temperature", .number(SamplingDefaults.temperature)),
      JSON.Member("top_k", .integer(SamplingDefaults.topK)),
    ])
  }

  private init(_ config: HuggingFaceConfig) throws {
    let (architecture, scores) = try config.architecture()
    try config.refuseUnsupportedFeatures(of: architecture)
    let hiddenSize = try config.integer("hidden_size")
    let headCount = try config.integer("num_attention_heads")
    // Null is not absent here: it means as many as there are query heads.
    let keyValueHeads = config.json["num_key_value_heads"] == nil ? architecture.defaultKeyValueHeadCount : nil
    self.init(
      hiddenSize: hiddenSize, layerCount: try config.integer("num_hidden_layers"), headCount: headCount,
      keyValueHeadCount: try config.integer("num_key_value_heads", default: keyValueHeads ?? headCount),
      headSize: try config.integer(
        "head_dim", default: architecture.defaultHeadSize ?? hiddenSize / max(headCount, 1)),
      intermediateSize: architecture.isMixture
        ? try config.expertIntermediateSize(architecture) : try config.integer("intermediate_size"),
      vocabularySize: try config.integer("vocab_size"))
    maximumSequenceLength = try config.integer(
      "max_position_embeddings", default: architecture.defaultMaximumSequenceLength)
    if architecture == .mistral { slidingWindow = try config.slidingWindow() }
    ropeTheta = try config.ropeTheta(default: architecture.defaultRopeTheta)
    rotaryScaling = try config.rotaryScaling(trainedLength: maximumSequenceLength)
    rmsNormEpsilon = Float(try config.number("rms_norm_eps", default: architecture.defaultEpsilon))
    tiesEmbeddings = try config.boolean("tie_word_embeddings", default: architecture.tiesEmbeddingsByDefault)
    normalizesQueriesAndKeys = architecture == .qwen3 || architecture == .qwen3Mixture
    attentionBias = try config.attentionBias(architecture)
    // transformers' own defaults; they mean nothing to a vocabulary that has no such tokens.
    let hasTokens = architecture.hasDefaultTokens
    beginTokenID = try config.tokens("bos_token_id", default: hasTokens && vocabularySize > 1 ? [1] : []).first
    endTokenIDs = try config.tokens("eos_token_id", default: hasTokens && vocabularySize > 2 ? [2] : [])
    if architecture.isMixture { try config.readExperts(architecture, into: &self) }
    if scores { self = scoring }
    try validate(source: config.path)
    if architecture.isMixture { try config.refuseDenseLayers(architecture, of: self) }
  }
}

/// Typed access to the members of a `config.json`.
struct HuggingFaceConfig {
  let path: String
  let json: JSON

  init(path: String, json: JSON) throws(ConfigurationError) {
    guard case .object = json else { throw .invalid(source: path, fault: "it is not a JSON object") }
    self.init(path: path, members: json)
  }

  /// - Parameter members: an object, the file's own or one inside it.
  init(path: String, members: JSON) {
    self.path = path
    json = members
  }

  func invalid(_ fault: String) -> ConfigurationError { .invalid(source: path, fault: fault) }

  /// The value of `key`, with null meaning absent as it does to `transformers`.
  func value(_ key: String) -> JSON? {
    guard let value = json[key], !value.isNull else { return nil }
    return value
  }

  func integer(_ key: String, default fallback: Int? = nil) throws(ConfigurationError) -> Int {
    guard let value = value(key) else {
      guard let fallback else { throw invalid("\(key) is missing") }
      return fallback
    }
    guard let number = value.integerValue else {
      throw invalid("\(key) is \(value.compactText.prefix(60)), a whole number is expected")
    }
    return number
  }

  func number(_ key: String, default fallback: Double) throws(ConfigurationError) -> Double {
    guard let value = value(key) else { return fallback }
    guard let number = value.doubleValue else {
      throw invalid("\(key) is \(value.compactText.prefix(60)), a number is expected")
    }
    return number
  }

  func boolean(_ key: String, default fallback: Bool) throws(ConfigurationError) -> Bool {
    guard let value = value(key) else { return fallback }
    guard let truth = value.boolValue else {
      throw invalid("\(key) is \(value.compactText.prefix(60)), true or false is expected")
    }
    return truth
  }

  /// One token id or a list of them; an explicit null means none.
  func tokens(_ key: String, default fallback: [Int]) throws(ConfigurationError) -> [Int] {
    guard let value = json[key] else { return fallback }
    if value.isNull { return [] }
    let ids = (value.arrayValue ?? [value]).map(\.integerValue)
    guard ids.count <= 64, !ids.contains(nil) else {
      throw invalid("\(key) is \(value.compactText.prefix(60)), a token id is expected")
    }
    return ids.compactMap { $0 }
  }

  /// The architecture; one that is not supported is refused by name.
  /// - Returns: the architecture, and whether the model is one that gives a text a single score.
  func architecture() throws(ModelFileError) -> (Architecture, scores: Bool) {
    let name = value("architectures")?.arrayValue?.first?.stringValue
    let type = value("model_type")?.stringValue
    if let name, let scoring = Architecture.allCases.first(where: { $0.scoringName == name }) {
      var labels = 2
      if case .object(let members)? = value("id2label") { labels = members.count }
      guard value("num_labels")?.integerValue ?? labels == 1 else {
        throw .unsupported(
          path: path, feature: "\(name) is read with one label (num_labels), as a reward model has")
      }
      return (scoring, true)
    }
    let found = Architecture.allCases.first { name == nil ? $0.modelType == type : $0.rawValue == name }
    guard let found else {
      throw .unsupported(
        path: path,
        feature: "the architecture '\((name ?? type ?? "none").prefix(60))' is not supported; "
          + Architecture.allCases.map(\.rawValue).joined(separator: ", ") + " are")
    }
    return (found, false)
  }

  /// Which products of attention have biases. Qwen2 has its own whatever the setting says, as in `transformers`.
  func attentionBias(_ architecture: Architecture) throws(ConfigurationError) -> AttentionBias {
    if architecture == .qwen2 { return .inputs }
    return try boolean("attention_bias", default: false) ? .inputsAndOutput : .none
  }

  /// Mistral's window; an explicit null means none, as in `transformers`.
  func slidingWindow() throws(ConfigurationError) -> Int? {
    guard json["sliding_window"]?.isNull != true else { return nil }
    return try integer("sliding_window", default: 4096)
  }

  func refuseUnsupportedFeatures(of architecture: Architecture) throws(ModelFileError) {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    var unsupported = ["mlp_bias", "use_bias", "use_sliding_window"]
    // transformers passes over it in these; the file asks for it.
    if architecture == .mistral || architecture == .ernieMixture { unsupported.append("attention_bias") }
    for key in unsupported {
      if let value = value(key), value != .bool(false) {
        throw refuse("\(key) is \(value.compactText.prefix(60)); only models without it are supported")
      }
    }
    if let value = value("hidden_act"), value.stringValue != "silu", value.stringValue != "swish" {
      throw refuse("hidden_act \(value.compactText.prefix(60)) is not supported; silu is")
    }
    if value("quantization_config") != nil { throw refuse("quantized weights (quantization_config) are not supported") }
    if let types = value("layer_types")?.arrayValue, let other = types.first(where: { $0 != .string("full_attention") })
    {
      throw refuse("a layer of type \(other.compactText.prefix(60)) is not supported; full_attention is")
    }
  }
}
