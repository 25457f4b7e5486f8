import Model
import Storage

// MARK: - config.json of a mixture of experts

extension ModelConfiguration {
  /// The members that a mixture has in addition to those of a dense model. Every layer is a mixture.
  func mixtureMembers(_ architecture: Architecture) -> [(String, JSON)] {
    let members: [(String, JSON)] = [
      ("moe_intermediate_size", .integer(intermediateSize)), ("router_aux_loss_coef", .number(balanceLossWeight)),
    ]
    guard architecture == .ernieMixture else {
      return members + [
        ("decoder_sparse_step", .integer(1)),
        ("mlp_only_layers", .array([])),
        ("norm_topk_prob", .bool(normalizesExpertWeights)),
        ("num_experts", .integer(expertCount)),
        ("num_experts_per_tok", .integer(expertsPerToken)),
      ]
    }
    return members + [
      ("moe_k", .integer(expertsPerToken)),
      ("moe_layer_end_index", .integer(layerCount - 1)),
      ("moe_layer_interval", .integer(1)),
      ("moe_layer_start_index", .integer(0)),
      ("moe_norm_min", .number(1e-12)),
      ("moe_num_experts", .integer(expertCount)),
      ("moe_num_shared_experts", .integer(sharedExpertCount)),
      ("use_bias", .bool(false)),
    ]
  }
}

extension HuggingFaceConfig {
  func expertIntermediateSize(_ architecture: Architecture) throws(ConfigurationError) -> Int {
    try integer("moe_intermediate_size", default: architecture == .ernieMixture ? 1536 : 768)
  }

  /// The settings of the experts, absent ones as `transformers` has them.
  func readExperts(_ architecture: Architecture, into result: inout ModelConfiguration) throws {
    result.balanceLossWeight = try number("router_aux_loss_coef", default: 0.001)
    let countKey: String
    if architecture == .ernieMixture {
      countKey = "moe_num_experts"
      result.expertCount = try integer(countKey, default: 64)
      result.expertsPerToken = try integer("moe_k", default: 6)
      result.sharedExpertCount = try integer("moe_num_shared_experts", default: 2)
    } else {
      countKey = value("num_experts") == nil ? "num_local_experts" : "num_experts"
      result.expertCount = try integer(countKey, default: 128)
      result.expertsPerToken = try integer("num_experts_per_tok", default: 8)
      result.normalizesExpertWeights = try boolean("norm_topk_prob", default: false)
    }
    guard result.expertCount > 0 else {
      throw ConfigurationError.invalid(source: path, fault: "\(countKey) is \(result.expertCount), expected 1 to 256")
    }
  }

  /// Refuses a model in which some layers have no experts, or whose chosen probabilities are divided by anything other
  /// than their sum.
  func refuseDenseLayers(_ architecture: Architecture, of configuration: ModelConfiguration) throws {
    guard architecture == .ernieMixture else {
      let step = try integer("decoder_sparse_step", default: 1)
      guard step == 1, value("mlp_only_layers")?.arrayValue?.isEmpty ?? true else {
        throw ModelFileError.unsupported(
          path: path,
          feature: "decoder_sparse_step \(step) and mlp_only_layers "
            + "\(value("mlp_only_layers")?.compactText.prefix(60) ?? "[]") are not supported; every layer must be a mixture "
            + "of experts: 1 and []")
      }
      return
    }
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
