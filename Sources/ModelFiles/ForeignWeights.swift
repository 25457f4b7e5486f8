import Model

/// A weight of a file whose format names and arranges weights in its own way, and what it is in this program.
struct ForeignWeight {
  /// The name in the file.
  var name: String
  /// The shape in the file: that of the one entry, or [entries, rows, columns] of several.
  var shape: [Int]
  /// The weights of this program that lie in it one behind the other.
  var entries: [ParameterEntry]
  /// Whether its rows are in the order of adjacent pairs; see `RotaryRows`.
  var hasAdjacentPairs = false

  /// Elements of the weight.
  var count: Int { entries.reduce(0) { $0 + $1.count } }
}

/// The names of a block's weights here, in MiniMind v1's files and in GGUF: the one table of them.
private struct WeightNames {
  var legacy: String
  var gguf: String
  var key: @Sendable (ParameterKey.Layer) -> String

  /// The weights of one layer outside its feed-forward block, in the order of v1's files.
  static let attention = [
    WeightNames(legacy: "attention.wq", gguf: "attn_q") { $0.query },
    WeightNames(legacy: "attention.wk", gguf: "attn_k") { $0.key },
    WeightNames(legacy: "attention.wv", gguf: "attn_v") { $0.value },
    WeightNames(legacy: "attention.wo", gguf: "attn_output") { $0.attentionOutput },
    WeightNames(legacy: "attention_norm", gguf: "attn_norm") { $0.attentionNorm },
    WeightNames(legacy: "ffn_norm", gguf: "ffn_norm") { $0.feedForwardNorm },
  ]

  /// The three matrices of a SwiGLU block.
  static let feedForward: [(legacy: String, gguf: String, key: @Sendable (ParameterKey.FeedForward) -> String)] = [
    ("w1", "ffn_gate", { $0.gate }), ("w2", "ffn_down", { $0.down }), ("w3", "ffn_up", { $0.up }),
  ]
}

extension ParameterTable {
  private func required(_ key: String) -> ParameterEntry {
    guard let entry = entry(key) else { preconditionFailure("the model has no weight named \(key)") }
    return entry
  }

  /// - Parameter adjacentPairs: whether the format has the rows that rotary embedding turns in that order.
  private func single(_ name: String, _ key: String, adjacentPairs: Bool = false) -> ForeignWeight {
    let entry = required(key)
    return ForeignWeight(
      name: name, shape: entry.shape, entries: [entry], hasAdjacentPairs: adjacentPairs && entry.role.isRotated)
  }

  /// The weights of a MiniMind v1 checkpoint of this model, in its order. The embedding is also `output.weight` there.
  func legacyWeights(of configuration: ModelConfiguration) -> [ForeignWeight] {
    var weights = [single(LegacyName.embedding, ParameterKey.embedding)]
    for layer in 0..<configuration.layerCount {
      let key = ParameterKey.Layer(layer)
      let prefix = "layers.\(layer)."
      for names in WeightNames.attention {
        weights.append(single(prefix + names.legacy + ".weight", names.key(key), adjacentPairs: true))
      }
      func add(_ block: String, _ feedForward: ParameterKey.FeedForward) {
        for names in WeightNames.feedForward {
          weights.append(single(prefix + block + "." + names.legacy + ".weight", names.key(feedForward)))
        }
      }
      guard configuration.isMixture else {
        add("feed_forward", key.feedForward(configuration))
        continue
      }
      for expert in 0..<configuration.expertCount { add("feed_forward.experts.\(expert)", key.expert(expert)) }
      weights.append(single(prefix + "feed_forward.gate.weight", key.router))
      if configuration.sharedExpertCount > 0 { add("feed_forward.shared_experts", key.feedForward(configuration)) }
    }
    weights.append(single("norm.weight", ParameterKey.finalNorm))
    return weights
  }

  /// The tensors of a GGUF file of this model, named and arranged as llama.cpp's conversion/llama.py, qwen.py and
  /// ernie.py do. The architectures `llama` and `ernie4_5-moe` rotate adjacent pairs, `qwen3` halves as here.
  func ggufWeights(of configuration: ModelConfiguration) -> [ForeignWeight] {
    var weights = [single("token_embd.weight", ParameterKey.embedding)]
    for layer in 0..<configuration.layerCount {
      let key = ParameterKey.Layer(layer)
      let prefix = "blk.\(layer)."
      for names in WeightNames.attention {
        weights.append(
          single(
            prefix + names.gguf + ".weight", names.key(key), adjacentPairs: !configuration.normalizesQueriesAndKeys))
      }
      if configuration.normalizesQueriesAndKeys {
        weights.append(single(prefix + "attn_q_norm.weight", key.queryNorm))
        weights.append(single(prefix + "attn_k_norm.weight", key.keyNorm))
      }
      if configuration.isMixture { weights.append(single(prefix + "ffn_gate_inp.weight", key.router)) }
      for names in WeightNames.feedForward {
        if configuration.sharedIntermediateSize > 0 {
          let suffix = configuration.isMixture ? "_shexp.weight" : ".weight"
          weights.append(single(prefix + names.gguf + suffix, names.key(key.feedForward(configuration))))
        }
        if configuration.isMixture {
          let entries = (0..<configuration.expertCount).map { required(names.key(key.expert($0))) }
          weights.append(
            ForeignWeight(
              name: prefix + names.gguf + "_exps.weight", shape: [entries.count] + entries[0].shape, entries: entries))
        }
      }
    }
    weights.append(single("output_norm.weight", ParameterKey.finalNorm))
    if !configuration.tiesEmbeddings { weights.append(single("output.weight", ParameterKey.output)) }
    return weights
  }
}

/// Names of MiniMind v1's checkpoints that are more than rows of the table.
enum LegacyName {
  static let embedding = "tok_embeddings.weight"
  static let output = "output.weight"
}

extension Parameters {
  /// Calls `body` with the values of a weight as its file has them. The memory is valid within the call only.
  func withValues<Result>(
    of weight: ForeignWeight, _ body: (UnsafeBufferPointer<Float>) throws -> Result
  ) rethrows -> Result {
    if weight.entries.count == 1 && !weight.hasAdjacentPairs {
      return try withExtendedLifetime(self) {
        try body(UnsafeBufferPointer(start: values + weight.entries[0].offset, count: weight.entries[0].count))
      }
    }
    var copy = weight.entries.flatMap { entry in
      withExtendedLifetime(self) { Array(UnsafeBufferPointer(start: values + entry.offset, count: entry.count)) }
    }
    return try copy.withUnsafeMutableBufferPointer { copy in
      if weight.hasAdjacentPairs {
        RotaryRows.interleave(
          copy.baseAddress!, rows: weight.shape[0], columns: weight.shape[1], headSize: configuration.headSize)
      }
      return try body(UnsafeBufferPointer(copy))
    }
  }
}
