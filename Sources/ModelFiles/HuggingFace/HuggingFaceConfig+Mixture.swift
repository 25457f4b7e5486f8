import Model
import Storage

// MARK: - config.json of a mixture of experts

extension ModelConfiguration {
  /// The members that `Ernie4_5_MoeForCausalLM` has in addition to those of a dense model. Every layer is a mixture.
  var mixtureMembers: [(String, JSON)] {
    [
      ("moe_intermediate_size", .integer(intermediateSize)),
      ("moe_k", .integer(expertsPerToken)),
      ("moe_layer_end_index", .integer(layerCount - 1)),
      ("moe_layer_interval", .integer(1)),
      ("moe_layer_start_index", .integer(0)),
      ("moe_norm_min", .number(1e-12)),
      ("moe_num_experts", .integer(expertCount)),
      ("moe_num_shared_experts", .integer(sharedExpertCount)),
      ("router_aux_loss_coef", .number(balanceLossWeight)),
      ("use_bias", .bool(false)),
    ]
  }
}

extension HuggingFaceConfig {
  /// The configuration of an `Ernie4_5_MoeForCausalLM`, absent keys with that model's own defaults.
  func mixture() throws -> ModelConfiguration {
    let hiddenSize = try integer("hidden_size")
    let headCount = try integer("num_attention_heads")
    let layerCount = try integer("num_hidden_layers")
    var result = ModelConfiguration(
      hiddenSize: hiddenSize, layerCount: layerCount, headCount: headCount,
      keyValueHeadCount: try integer("num_key_value_heads", default: 4),
      headSize: try integer("head_dim", default: hiddenSize / max(headCount, 1)),
      intermediateSize: try integer("moe_intermediate_size", default: 1536),
      vocabularySize: try integer("vocab_size"))
    result.expertCount = try integer("moe_num_experts", default: 64)
    result.expertsPerToken = try integer("moe_k", default: 6)
    result.sharedExpertCount = try integer("moe_num_shared_experts", default: 2)
    result.balanceLossWeight = try number("router_aux_loss_coef", default: 0.001)
    result.maximumSequenceLength = try integer("max_position_embeddings", default: 131072)
    result.ropeTheta = try ropeTheta(default: 500_000)
    result.rotaryScaling = try rotaryScaling(trainedLength: result.maximumSequenceLength)
    result.rmsNormEpsilon = Float(try number("rms_norm_eps", default: 1e-5))
    result.tiesEmbeddings = try boolean("tie_word_embeddings", default: true)
    result.beginTokenID = try tokens("bos_token_id", default: [1]).first
    result.endTokenIDs = try tokens("eos_token_id", default: [2])
    guard result.expertCount > 0 else {
      throw ConfigurationError.invalid(
        source: path, fault: "moe_num_experts is \(result.expertCount), expected 1 to 256")
    }
    try result.validate(source: path)
    try refuseDenseLayers(of: result)
    return result
  }

  /// Refuses a model in which some layers have no experts, or whose chosen probabilities are divided by anything other
  /// than their sum.
  private func refuseDenseLayers(of configuration: ModelConfiguration) throws {
    let start = try integer("moe_layer_start_index", default: 1)
    let end = try integer("moe_layer_end_index", default: -1)
    let interval = try integer("moe_layer_interval", default: 1)
    guard start <= 0, interval == 1, end == -1 || end >= configuration.layerCount - 1 else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "moe_layer_start_index \(start), moe_layer_end_index \(end) and moe_layer_interval \(interval) "
          + "are not supported; every layer must be a mixture of experts: 0, -1 and 1")
    }
    // The chosen probabilities are the largest, so their sum is at least their share of all experts.
    let least = try number("moe_norm_min", default: 1e-12)
    guard least <= Double(configuration.expertsPerToken) / Double(configuration.expertCount) else {
      throw ModelFileError.unsupported(
        path: path, feature: "moe_norm_min \(least) would change the weights of experts, which is not supported")
    }
  }
}
