import CPUEngine
import Compute
import Foundation
import Generation
import Model
import ModelFiles
import Storage
import Tokenization
import Training

/// What `info MODEL` says.
struct ModelFacts: Encodable {
  struct Memory: Encodable {
    let use: String
    let type: String
    let bytes: Int
  }

  struct File: Encodable {
    let name: String
    let bytes: Int
  }

  struct TokenizerFacts: Encodable {
    let vocabularySize: Int
    let sha256: String
    let canChat: Bool

    enum CodingKeys: String, CodingKey {
      case sha256
      case vocabularySize = "vocabulary_size"
      case canChat = "can_chat"
    }
  }

  struct RotaryScalingFacts: Encodable {
    let type: String
    let factor: Double

    enum CodingKeys: String, CodingKey {
      case factor
      case type = "rope_type"
    }

    /// Nil for a model without scaling.
    init?(_ scaling: RotaryScaling) {
      switch scaling {
      case .none: return nil
      case .linear(let factor): (type, self.factor) = ("linear", factor)
      case .dynamic(let factor): (type, self.factor) = ("dynamic", factor)
      case .yarn(let yarn): (type, factor) = ("yarn", yarn.factor)
      case .llama3(let llama3): (type, factor) = ("llama3", llama3.factor)
      }
    }
  }

  let name: String
  /// Nil for a configuration without weights.
  let directory: String?
  /// The model that an adapter in the directory belongs to; nil for a model.
  let base: String?
  /// What the directory is, by `ModelFormat.title`; nil without one.
  let format: String?
  let parameters: Int
  /// By part of the model, in the order of the pass.
  let parts: [(name: String, parameters: Int)]
  let configuration: ModelConfiguration
  let memory: [Memory]
  let tokenizer: TokenizerFacts?
  /// How the model writes without options; nil for a configuration without weights.
  let defaults: GenerationDefaults?
  let files: [File]
  /// What can be done with it; nil for a configuration without weights.
  let uses: ModelUses?
  /// Tokens of the micro-batch for which training's memory is estimated.
  private static let microBatchTokens = 2048

  init(_ name: String, threads: Int) throws {
    self.name = name
    let isConfiguration =
      name.hasSuffix(".json")
      || ModelConfiguration.names.contains(name) && !FileManager.default.fileExists(atPath: name)
    directory = isConfiguration ? nil : try resolveModelDirectory(name)
    if let directory {
      // Says what is wrong with the weights before their numbers are believed.
      configuration = try StoredModel(modelDirectory: directory).configuration
      format = ModelFormats.format(of: directory).title
      let uses = ModelUses(directory: directory)
      self.uses = uses
      // What is wrong with it is one of the uses.
      tokenizer = uses.tokenizer.map {
        TokenizerFacts(
          vocabularySize: $0.vocabularySize, sha256: $0.contentHash, canChat: uses.problems[.chatTemplate] == nil)
      }
      defaults = GenerationDefaults(try GenerationConfiguration(modelDirectory: directory))
      files = Self.files(directory)
      base = PEFTAdapter.isAdapter(directory) ? try PEFTAdapter(directory: directory).baseDirectory() : nil
    } else {
      (base, format) = (nil, nil)
      configuration = try modelConfiguration(name)
      tokenizer = nil
      defaults = nil
      files = []
      uses = nil
    }
    parameters = configuration.parameterCount
    let table = try ParameterTable(configuration)
    parts = Self.parts(table)
    memory = Self.memory(configuration, table, threads: threads)
  }

  private static func parts(_ table: ParameterTable) -> [(name: String, parameters: Int)] {
    func part(_ role: ParameterRole) -> String {
      switch role {
      case .embedding: "embedding"
      case .output: "output"
      case .attentionNorm, .feedForwardNorm, .finalNorm, .queryNorm, .keyNorm: "norms"
      case .query, .key, .value, .attentionOutput, .queryBias, .keyBias, .valueBias, .attentionOutputBias: "attention"
      case .router: "routers"
      case .gate(let block), .up(let block), .down(let block):
        switch block {
        case .dense: "feed-forward"
        case .shared: "shared experts"
        case .expert: "experts"
        }
      case .loraA, .loraB: "adapter"
      case .projector: "projector"
      case .tower: "vision tower"
      }
    }
    let counts = Dictionary(table.entries.map { (part($0.role), $0.count) }, uniquingKeysWith: +)
    return [
      "embedding", "attention", "feed-forward", "routers", "experts", "shared experts", "norms", "output", "adapter",
      "projector", "vision tower",
    ].compactMap { name in counts[name].map { (name, $0) } }
  }

  private static func memory(_ configuration: ModelConfiguration, _ table: ParameterTable, threads: Int) -> [Memory] {
    var memory = WeightType.allCases.map { type in
      Memory(
        use: "inference, a full context of \(configuration.contextLength)", type: type.rawValue,
        bytes: type.byteCount(weights: configuration.parameterCount)
          + CPUInferenceEngine.cacheByteCount(
            configuration, type: type, tokens: configuration.contextLength))
    }
    memory += ElementType.allCases.map { type in
      // The fp32 weights and the optimizer stand beside what the pass holds.
      Memory(
        use: "training, \(microBatchTokens) tokens at once", type: type.rawValue,
        bytes: configuration.parameterCount * 4
          + Optimizer.byteCount(
            table, Stage.pretrain.defaultOptimizer, precision: type, workers: threads)
          + TrainingPass.memoryBytes(
            configuration, precision: type, maximumTokens: microBatchTokens, workers: threads))
    }
    return memory
  }

  private static func files(_ directory: String) -> [File] {
    // A file that holds the whole model is the only one.
    let names = try? FileManager.default.contentsOfDirectory(atPath: directory)
    let paths = names?.sorted().map { directory + "/" + $0 } ?? [directory]
    return paths.compactMap { path in
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      guard let attributes, attributes[.type] as? FileAttributeType == .typeRegular else { return nil }
      return File(name: (path as NSString).lastPathComponent, bytes: attributes[.size] as? Int ?? 0)
    }
  }
}

// MARK: - Rendering

extension ModelFacts {
  private enum Key: String, CodingKey {
    case name, directory, base, format, parameters
    case activeParameters = "active_parameters"
    case rotaryScaling = "rope_scaling"
    case endTokens = "end_tokens"
    case parts, configuration, memory, tokenizer, sampling, files, uses
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: .name)
    try container.encodeIfPresent(directory, forKey: .directory)
    try container.encodeIfPresent(base, forKey: .base)
    try container.encodeIfPresent(format, forKey: .format)
    try container.encode(parameters, forKey: .parameters)
    try container.encode(configuration.activeParameterCount, forKey: .activeParameters)
    try container.encode(Dictionary(uniqueKeysWithValues: parts.map { ($0.name, $0.parameters) }), forKey: .parts)
    try container.encode(Dictionary(uniqueKeysWithValues: settings.map { ($0.key, $0.value) }), forKey: .configuration)
    try container.encodeIfPresent(RotaryScalingFacts(configuration.rotaryScaling), forKey: .rotaryScaling)
    try container.encode(memory, forKey: .memory)
    try container.encodeIfPresent(tokenizer, forKey: .tokenizer)
    try container.encode(configuration.endTokenIDs, forKey: .endTokens)
    try container.encodeIfPresent(
      sampling.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.key, $0.value) }) }, forKey: .sampling)
    try container.encode(files, forKey: .files)
    try container.encodeIfPresent(uses, forKey: .uses)
  }

  /// How the model samples without options, by the names of `generation_config.json`.
  private var sampling: [(key: String, value: Double)]? {
    defaults.map { defaults in
      let sampling = defaults.sampling
      func number(_ value: Float) -> Double { Double("\(value)") ?? Double(value) }
      return [
        ("temperature", number(sampling.temperature)), ("top_k", Double(sampling.topK)),
        ("top_p", number(sampling.topP)), ("min_p", number(sampling.minP)),
        ("repetition_penalty", number(sampling.repetitionPenalty)),
      ] + (defaults.maximumTokens.map { [("max_new_tokens", Double($0))] } ?? [])
    }
  }

  /// The settings of the configuration that are numbers, by their names in `config.json`.
  private var settings: [(key: String, value: Double)] {
    [
      ("num_hidden_layers", Double(configuration.layerCount)), ("hidden_size", Double(configuration.hiddenSize)),
      ("num_attention_heads", Double(configuration.headCount)),
      ("num_key_value_heads", Double(configuration.keyValueHeadCount)),
      ("head_dim", Double(configuration.headSize)), ("intermediate_size", Double(configuration.intermediateSize)),
      ("vocab_size", Double(configuration.vocabularySize)),
      ("max_position_embeddings", Double(configuration.maximumSequenceLength)),
      ("rope_theta", configuration.ropeTheta), ("rms_norm_eps", Double("\(configuration.rmsNormEpsilon)") ?? 0),
    ]
      + (configuration.slidingWindow.map { [("sliding_window", Double($0))] } ?? [])
      + sight
      + (configuration.isMixture ? experts + [("router_aux_loss_coef", configuration.balanceLossWeight)] : [])
  }

  /// What a picture becomes.
  private var sight: [(key: String, value: Double)] {
    guard let sight = configuration.sight else { return [] }
    return [
      ("image_size", Double(sight.tower.imageSize)), ("patch_size", Double(sight.tower.patchSize)),
      ("image_seq_length", Double(sight.rowsPerPicture)),
    ]
      + sight.placeholderIDs.enumerated().map { ("image_token_index" + ($0 == 0 ? "" : "_\($0 + 1)"), Double($1)) }
  }

  /// Qwen's mixtures and Ernie's have other names for the same.
  private var experts: [(key: String, value: Double)] {
    let (count, chosen) = (Double(configuration.expertCount), Double(configuration.expertsPerToken))
    return configuration.normalizesQueriesAndKeys
      ? [("num_experts", count), ("num_experts_per_tok", chosen)]
      : [
        ("moe_num_experts", count), ("moe_k", chosen),
        ("moe_num_shared_experts", Double(configuration.sharedExpertCount)),
      ]
  }

  var text: String {
    var table = TextTable([("part", .left), ("parameters", .right), ("share", .right)])
    for part in parts {
      let share = Double(part.parameters) / Double(parameters) * 100
      table.add([part.name, String(part.parameters), String(format: "%.1f%%", share)])
    }
    table.add(["total", String(parameters), "100.0%"])
    let kind = [
      format,
      base.map { "an adapter on \($0)" },
      configuration.isMixture ? "\(formatCount(configuration.activeParameterCount)) of them active in a token" : nil,
      configuration.normalizesQueriesAndKeys ? "query/key norms" : nil,
      configuration.attentionBias == .none ? nil : "biases",
      configuration.slidingWindow.map { "a sliding window of \($0)" },
      configuration.sight.map { $0.tower.kind == .clip ? "a CLIP tower" : "a SigLIP tower" },
      configuration.tiesEmbeddings ? "output tied to the embedding" : "own output matrix",
    ].compactMap { $0 }
    var result =
      "\(directory ?? name): \(formatCount(parameters)) parameters, \(kind.joined(separator: ", "))\n\n"
      + table.render() + "\n"
    let scaling = RotaryScalingFacts(configuration.rotaryScaling).map {
      (name: "rope_scaling", value: "\($0.type), factor \(formatNumber($0.factor))")
    }
    result +=
      renderPairs(settings.map { (name: $0.key, value: formatNumber($0.value)) } + (scaling.map { [$0] } ?? [])) + "\n"

    var memoryTable = TextTable([("memory", .left), ("type", .left), ("bytes", .right)])
    for row in memory { memoryTable.add([row.use, row.type, formatBytes(row.bytes)]) }
    result += memoryTable.render()
    if let tokenizer {
      result +=
        "\n"
        + renderPairs([
          (name: "tokenizer", value: "\(tokenizer.vocabularySize) tokens, SHA-256 \(tokenizer.sha256)")
        ])
    } else if directory != nil {
      result += "\n  tokenizer  none\n"
    }
    if let sampling {
      let ends = configuration.endTokenIDs.map(String.init).joined(separator: ", ")
      let values = sampling.map { "\($0.key) \(formatNumber($0.value))" }.joined(separator: ", ")
      result +=
        "\n"
        + renderPairs([
          (name: "end tokens", value: ends.isEmpty ? "the tokenizer's" : ends), (name: "sampling", value: values),
        ])
    }
    if let uses { result += "\n" + uses.text }
    if !files.isEmpty {
      result += "\n" + renderPairs(files.map { (name: $0.name, value: formatBytes($0.bytes)) })
    }
    return result
  }
}
