import Machine

/// One weight inside the block of all weights.
public struct ParameterEntry: Sendable, Equatable {
  /// The name in a Hugging Face checkpoint. What the weight is, `role` and `layer` say.
  public var key: String
  package var role: ParameterRole
  /// From 0; nil outside the layers.
  package var layer: Int?
  /// [rows, columns] of a matrix stored by rows (outputs by inputs), or [count] of a vector; [outputs, 3, rows, columns] of
  /// a tower's patches.
  public var shape: [Int]
  /// Elements before this weight in the block.
  public var offset: Int
  /// Elements of this weight.
  public var count: Int

  public var range: Range<Int> { offset..<offset + count }

  /// The inputs of a matrix, those of a patch with all their colours; the numbers of a vector.
  package var columns: Int { shape.count == 1 ? count : count / shape[0] }
}

/// Where each weight of a model lies in one block: the single table that pairs checkpoint key, role, shape and place.
///
/// Order: embedding; for each layer, norm, queries, keys, values, (their biases), (query norm, key norm), output, (its
/// bias), norm, gate, up, down; final norm; output matrix if untied; projector and tower of a model that sees. In a mixture of experts, router and then gate, up, down of each
/// expert, those of the shared experts as one last. Queries, keys and values lie without gaps, as one
/// [query + 2·keyValue, hidden] matrix, and so do gate and up, [2·intermediate, hidden]. Apart from the inner members of
/// these two groups every weight begins at a multiple of 16 elements (64 bytes).
public struct ParameterTable: Sendable, Equatable {
  public let entries: [ParameterEntry]
  /// Elements of the whole block, gaps included.
  public let totalCount: Int
  private let indices: [String: Int]
  private let places: [Place: Int]

  /// What a weight is, and where.
  private struct Place: Hashable {
    let role: ParameterRole
    let layer: Int?
  }

  public init(_ configuration: ModelConfiguration) throws(ConfigurationError) {
    var entries: [ParameterEntry] = []
    var end = 0
    func add(_ key: String, _ role: ParameterRole, _ layer: Int?, _ shape: Int..., joined: Bool = false) {
      place(key, role, layer, shape, joined: joined)
    }
    func place(_ key: String, _ role: ParameterRole, _ layer: Int?, _ shape: [Int], joined: Bool) {
      if !joined { end = end.roundedUp(to: cacheLineFloats) }
      entries.append(
        ParameterEntry(key: key, role: role, layer: layer, shape: shape, offset: end, count: shape.reduce(1, *)))
      end = entries.last!.range.upperBound
    }
    let hidden = configuration.hiddenSize
    func add(_ keys: ParameterKey.FeedForward, _ block: FeedForwardBlock, _ layer: Int, width: Int) {
      add(keys.gate, .gate(block), layer, width, hidden)
      add(keys.up, .up(block), layer, width, hidden, joined: true)
      add(keys.down, .down(block), layer, hidden, width)
    }

    add(ParameterKey.embedding, .embedding, nil, configuration.vocabularySize, hidden)
    for layer in 0..<configuration.layerCount {
      let key = ParameterKey.Layer(layer)
      add(key.attentionNorm, .attentionNorm, layer, hidden)
      add(key.query, .query, layer, configuration.querySize, hidden)
      add(key.key, .key, layer, configuration.keyValueSize, hidden, joined: true)
      add(key.value, .value, layer, configuration.keyValueSize, hidden, joined: true)
      if configuration.attentionBias.isOnInputs {
        add(key.queryBias, .queryBias, layer, configuration.querySize)
        add(key.keyBias, .keyBias, layer, configuration.keyValueSize)
        add(key.valueBias, .valueBias, layer, configuration.keyValueSize)
      }
      if configuration.normalizesQueriesAndKeys {
        add(key.queryNorm, .queryNorm, layer, configuration.headSize)
        add(key.keyNorm, .keyNorm, layer, configuration.headSize)
      }
      add(key.attentionOutput, .attentionOutput, layer, hidden, configuration.querySize)
      if configuration.attentionBias.isOnOutput { add(key.attentionOutputBias, .attentionOutputBias, layer, hidden) }
      add(key.feedForwardNorm, .feedForwardNorm, layer, hidden)
      if configuration.isMixture {
        add(key.router, .router, layer, configuration.expertCount, hidden)
        for expert in 0..<configuration.expertCount {
          add(key.expert(expert), .expert(expert), layer, width: configuration.intermediateSize)
        }
      }
      if configuration.sharedIntermediateSize > 0 {
        add(
          key.feedForward(configuration), configuration.isMixture ? .shared : .dense, layer,
          width: configuration.sharedIntermediateSize)
      }
    }
    add(ParameterKey.finalNorm, .finalNorm, nil, hidden)
    if !configuration.tiesEmbeddings {
      add(ParameterKey.output(configuration), .output, nil, configuration.outputSize, hidden)
    }
    for weight in configuration.sight?.weights(width: hidden) ?? [] {
      place(weight.key, weight.role, nil, weight.shape, joined: weight.isJoined)
    }

    self.init(entries)
  }

  /// Projector and tower alone.
  ///
  /// - Parameter width: the language model's hiddenSize.
  package init(_ sight: SightConfiguration, width: Int) {
    var end = 0
    self.init(
      sight.weights(width: width).map { weight in
        let offset = weight.isJoined ? end : end.roundedUp(to: cacheLineFloats)
        let count = weight.shape.reduce(1, *)
        end = offset + count
        return ParameterEntry(
          key: weight.key, role: weight.role, layer: nil, shape: weight.shape, offset: offset, count: count)
      })
  }

  /// - Parameter entries: weights that are laid out already, one after the other.
  package init(_ entries: [ParameterEntry]) {
    self.entries = entries
    totalCount = (entries.last?.range.upperBound ?? 0).roundedUp(to: cacheLineFloats)
    indices = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.key, $0) })
    places = Dictionary(
      uniqueKeysWithValues: entries.enumerated().map { (Place(role: $1.role, layer: $1.layer), $0) })
  }

  /// The weights of the language model alone, where they lie in this table.
  package var withoutSight: ParameterTable {
    let language = entries.filter { entry in
      switch entry.role {
      case .projector, .tower: false
      default: true
      }
    }
    return language.count == entries.count ? self : ParameterTable(language)
  }

  /// The entry with this checkpoint key; nil when the model has no such weight.
  public func entry(_ key: String) -> ParameterEntry? { indices[key].map { entries[$0] } }

  /// The entry of this role, in a layer or outside of them; nil when the model has no such weight.
  package func entry(_ role: ParameterRole, layer: Int? = nil) -> ParameterEntry? {
    places[Place(role: role, layer: layer)].map { entries[$0] }
  }

  /// Elements before the weight `key`.
  ///
  /// - Precondition: the model has this weight.
  public func offset(_ key: String) -> Int {
    guard let index = indices[key] else { preconditionFailure("the model has no weight named \(key)") }
    return entries[index].offset
  }
}

/// The checkpoint keys of Hugging Face's Llama, Qwen2, Qwen3, Qwen3-MoE and Ernie 4.5 MoE, kept verbatim.
public enum ParameterKey {
  public static let embedding = "model.embed_tokens.weight"
  public static let finalNorm = "model.norm.weight"
  public static let output = "lm_head.weight"
  /// [1, hidden] of a reward model.
  package static let score = "score.weight"

  /// That of the output matrix of a model that has one of its own.
  package static func output(_ configuration: ModelConfiguration) -> String {
    configuration.scoresTexts ? score : output
  }

  /// The keys of one layer.
  public struct Layer: Sendable {
    private let prefix: String
    public init(_ layer: Int) { prefix = "model.layers.\(layer)." }
    public var attentionNorm: String { prefix + "input_layernorm.weight" }
    public var query: String { prefix + "self_attn.q_proj.weight" }
    public var key: String { prefix + "self_attn.k_proj.weight" }
    public var value: String { prefix + "self_attn.v_proj.weight" }
    public var queryBias: String { prefix + "self_attn.q_proj.bias" }
    public var keyBias: String { prefix + "self_attn.k_proj.bias" }
    public var valueBias: String { prefix + "self_attn.v_proj.bias" }
    public var attentionOutputBias: String { prefix + "self_attn.o_proj.bias" }
    public var queryNorm: String { prefix + "self_attn.q_norm.weight" }
    public var keyNorm: String { prefix + "self_attn.k_norm.weight" }
    public var attentionOutput: String { prefix + "self_attn.o_proj.weight" }
    public var feedForwardNorm: String { prefix + "post_attention_layernorm.weight" }
    /// The feed-forward block that every token passes: a dense model's, or the shared experts'.
    public func feedForward(_ configuration: ModelConfiguration) -> FeedForward {
      FeedForward(prefix: prefix + (configuration.isMixture ? "mlp.shared_experts." : "mlp."))
    }
    /// [experts, hidden] whose products with a token say which experts it takes.
    public var router: String { prefix + "mlp.gate.weight" }
    public func expert(_ expert: Int) -> FeedForward { FeedForward(prefix: prefix + "mlp.experts.\(expert).") }
    /// [1, experts] what Ernie adds to the router's probabilities when it chooses. Always zero here.
    public var routerBias: String { prefix + "mlp.moe_statics.e_score_correction_bias" }
  }

  /// The keys of a SwiGLU block.
  public struct FeedForward: Sendable {
    fileprivate let prefix: String
    public var gate: String { prefix + "gate_proj.weight" }
    public var up: String { prefix + "up_proj.weight" }
    public var down: String { prefix + "down_proj.weight" }
  }
}
