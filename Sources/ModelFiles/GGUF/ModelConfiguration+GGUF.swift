import Model

extension ModelConfiguration {
  /// Reads the settings of a GGUF file: its metadata, and what its tensors alone say, such as whether there are biases. What
  /// would change the arithmetic and is not supported here is refused by its name.
  ///
  /// - Parameter tokens: those that begin a text and end it.
  /// - Throws: `ModelFileError` or `ConfigurationError`, each naming the file.
  init(gguf file: GGUFFile, _ architecture: GGUFArchitecture, _ tokens: GGUFSpecialTokens) throws {
    let metadata = file.metadata
    func key(_ name: String) -> String { "\(architecture.rawValue).\(name)" }
    func integer(_ name: String, default fallback: Int? = nil) throws -> Int {
      try metadata.integer(key(name), default: fallback)
    }
    guard let embedding = file.tensor("token_embd.weight"), embedding.shape.count == 2 else {
      throw ModelFileError.contradiction("\(file.path): it has no matrix 'token_embd.weight', so it is no model.")
    }
    let layerCount = try integer("block_count")
    guard layerCount <= file.tensors.count else {
      throw ModelFileError.contradiction(
        "\(file.path): '\(key("block_count"))' is \(layerCount), and it has \(file.tensors.count) tensors.")
    }
    let hiddenSize = try integer("embedding_length")
    let headCount = try integer("attention.head_count")
    let headSize = try integer("attention.key_length", default: hiddenSize / max(1, headCount))
    self.init(
      hiddenSize: hiddenSize, layerCount: layerCount, headCount: headCount,
      keyValueHeadCount: try integer("attention.head_count_kv", default: headCount), headSize: headSize,
      intermediateSize: try integer(architecture.isMixture ? "expert_feed_forward_length" : "feed_forward_length"),
      vocabularySize: embedding.shape[0])
    maximumSequenceLength = try integer("context_length")
    let window = try integer("attention.sliding_window", default: 0)
    if window > 0 && window < maximumSequenceLength { slidingWindow = window }
    ropeTheta = try metadata.number(key("rope.freq_base"), default: 10_000)
    rmsNormEpsilon = Float(try metadata.number(key("attention.layer_norm_rms_epsilon")))
    tiesEmbeddings = file.tensor("output.weight") == nil
    normalizesQueriesAndKeys = architecture.normalizesQueriesAndKeys
    let hasBiases = (on: file.tensor("blk.0.attn_q.bias") != nil, after: file.tensor("blk.0.attn_output.bias") != nil)
    attentionBias = hasBiases.after ? .inputsAndOutput : hasBiases.on ? .inputs : .none
    beginTokenID = tokens.begin
    endTokenIDs = tokens.ends
    if architecture.isMixture {
      expertCount = try integer("expert_count")
      guard file.tensor("blk.0.ffn_gate_exps.weight")?.shape.first == expertCount else {
        throw ModelFileError.contradiction(
          "\(file.path): '\(key("expert_count"))' is \(expertCount), and 'blk.0.ffn_gate_exps.weight' is not of as many."
        )
      }
      expertsPerToken = try integer("expert_used_count")
      sharedExpertCount = architecture == .ernieMixture ? try integer("expert_shared_count", default: 0) : 0
      // As transformers has it where nothing is said: the format has no place for it.
      balanceLossWeight = 0.001
    }
    try Self.refuseUnsupported(metadata, architecture, self)
    try validate(source: file.path)
    rotaryScaling = try GGUFRotaryScaling.read(file, architecture, self)
    try validate(source: file.path)
  }

  /// Refuses what llama.cpp computes in another way for these settings.
  private static func refuseUnsupported(
    _ metadata: GGUFMetadata, _ architecture: GGUFArchitecture, _ configuration: ModelConfiguration
  ) throws(ModelFileError) {
    func key(_ name: String) -> String { "\(architecture.rawValue).\(name)" }
    // Each with the values that change nothing.
    var settings: [(name: String, neutral: [Double])] = [
      ("attention.value_length", [Double(configuration.headSize)]),
      ("rope.dimension_count", [Double(configuration.headSize)]), ("logit_scale", [0, 1]), ("embedding_scale", [0, 1]),
      ("residual_scale", [0, 1]), ("attention.scale", [0]), ("attn_logit_softcapping", [0]),
      ("final_logit_softcapping", [0]), ("attention.clamp_kqv", [0]), ("attention.max_alibi_bias", [0]),
      ("expert_weights_scale", [0, 1]), ("expert_gating_func", [0, 1]), ("expert_group_count", [0, 1]),
      ("leading_dense_block_count", [0]), ("interleave_moe_layer_step", [0, 1]),
    ]
    if architecture == .qwen3Mixture { settings.append(("expert_shared_count", [0])) }
    if !architecture.isMixture { settings.append(("expert_count", [0])) }
    for setting in settings where metadata[key(setting.name)] != nil {
      let value = try metadata.number(key(setting.name))
      guard setting.neutral.contains(value) else {
        throw .unsupported(
          path: metadata.path,
          feature: "\(key(setting.name)) is \(value), which is not supported; \(setting.neutral.last ?? 0) is")
      }
    }
  }
}
