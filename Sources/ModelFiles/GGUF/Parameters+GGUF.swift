import Model
import Storage

extension Parameters {
  /// Writes a GGUF file for llama.cpp and ollama, which appears at `path` whole or not at all.
  ///
  /// Matrices are stored in `encoding`; norms and the routers of a mixture of experts stay fp32, as llama.cpp's own
  /// converter has it.
  ///
  /// - Parameters:
  ///   - name: what the file calls the model.
  ///   - tokenizer: its metadata, from `GGUFTokenizer`.
  ///   - companions: written files that go with it, put in place right before it.
  /// - Throws: `ModelFileError` when the format cannot express the model; `FileError`.
  package func saveGGUF(
    _ path: String, name: String, encoding: WeightEncoding, tokenizer: [(key: String, value: GGUFValue)],
    companions: [AtomicFile] = []
  ) throws {
    try configuration.checkGGUF(path: path)
    let weights = table.ggufWeights(of: configuration, Architecture(configuration).gguf)
    let tensors = try weights.map { weight in
      let isMatrix = weight.shape.count > 1 && weight.entries[0].role != .router
      let columns = weight.shape.last ?? 1
      let type = isMatrix ? encoding.ggufType(columns: columns) : .float32
      guard columns % type.blockSize == 0 else {
        throw ModelFileError.unsupported(
          path: path,
          feature:
            "\(encoding.rawValue) stores \(type.blockSize) values together, and '\(weight.name)' has rows of "
            + "\(columns); choose --type bf16, fp16 or fp32")
      }
      return GGUFWriter.Tensor(name: weight.name, shape: weight.shape, type: type)
    }
    let rotaryFactors = configuration.ggufRotaryFactors
    let factorTensors = rotaryFactors.map {
      [GGUFWriter.Tensor(name: "rope_freqs.weight", shape: [$0.count], type: .float32)]
    }
    let metadata =
      try configuration.ggufMetadata(name: name, encoding: encoding) + configuration.ggufRotaryScaling(path: path)
      + tokenizer
    let writer = try GGUFWriter(path, metadata: metadata, tensors: tensors + (factorTensors ?? []))
    for weight in weights { try withValues(of: weight) { try writer.append($0) } }
    if let rotaryFactors { try rotaryFactors.withUnsafeBufferPointer { try writer.append($0) } }
    try AtomicFile.commit(companions + [writer.finish()])
  }
}

extension ModelConfiguration {
  /// Refuses what llama.cpp has no place for.
  func checkGGUF(path: String) throws(ModelFileError) {
    let differences: [(isOther: Bool, text: String)] = [
      (normalizesQueriesAndKeys && attentionBias != .none, "biases beside norms of queries and keys"),
      (!normalizesExpertWeights, "weights of experts that are not divided by their sum"),
    ]
    try refuseScores(path: path)
    if let difference = differences.first(where: \.isOther) {
      throw .unsupported(path: path, feature: "llama.cpp does not read \(difference.text); choose --format hf")
    }
    try sight?.checkGGUF(path: path)
  }

  /// [headSize/2] by what llama.cpp divides the pairs' frequencies; nil for a model that does not turn as Llama 3.1 does.
  var ggufRotaryFactors: [Float]? {
    guard case .llama3(let llama3) = rotaryScaling else { return nil }
    var settings = rotarySettings()
    settings.scaling = .none
    return settings.frequencies(length: 1).map { Float(1 / llama3.share(ofFrequency: $0)) }
  }

  /// The rotary scaling, of which llama.cpp knows `linear` and YaRN as the paper has it.
  ///
  /// - Throws: `ModelFileError.unsupported` for what llama.cpp would compute otherwise.
  func ggufRotaryScaling(path: String) throws(ModelFileError) -> [(key: String, value: GGUFValue)] {
    func key(_ name: String) -> String { "\(Architecture(self).ggufName).rope.scaling.\(name)" }
    switch rotaryScaling {
    case .none: return []
    case .llama3 where Architecture(self).ggufName == "llama": return []
    case .llama3:
      throw .unsupported(
        path: path, feature: "llama.cpp has the rotary scaling llama3 in Llama alone; choose --format hf")
    case .linear(let factor): return [(key("type"), .string("linear")), (key("factor"), .float32(Float(factor)))]
    case .yarn(let yarn) where yarn == YaRN(factor: yarn.factor, originalLength: yarn.originalLength):
      return [
        (key("type"), .string("yarn")), (key("factor"), .float32(Float(yarn.factor))),
        (key("original_context_length"), .uint32(UInt32(clamping: yarn.originalLength))),
      ]
    case .dynamic:
      throw .unsupported(path: path, feature: "llama.cpp has no dynamic rotary scaling; choose --format hf")
    case .yarn:
      throw .unsupported(
        path: path,
        feature: "llama.cpp has YaRN with its usual settings only; choose --format hf, or change config.json")
    }
  }

  /// `general.*` and the sizes of the model, under the keys that llama.cpp reads for its architecture.
  func ggufMetadata(name: String, encoding: WeightEncoding) -> [(key: String, value: GGUFValue)] {
    let architecture = Architecture(self).ggufName
    var sizes: [(String, Int)] = [
      ("vocab_size", vocabularySize), ("context_length", maximumSequenceLength), ("embedding_length", hiddenSize),
      ("block_count", layerCount), ("feed_forward_length", intermediateSize), ("attention.head_count", headCount),
      ("attention.head_count_kv", keyValueHeadCount), ("attention.key_length", headSize),
      ("attention.value_length", headSize), ("rope.dimension_count", headSize),
    ]
    if let slidingWindow { sizes.append(("attention.sliding_window", slidingWindow)) }
    // llama.cpp's Ernie is a mixture from layer 0 on, in every layer, as its Qwen3 is; their routers divide by the sum of
    // those chosen.
    var mixture: [(String, Int)] = [
      ("expert_count", expertCount), ("expert_used_count", expertsPerToken),
      ("expert_feed_forward_length", intermediateSize),
    ]
    if Architecture(self) == .ernieMixture {
      mixture += [
        ("expert_shared_count", sharedExpertCount), ("expert_shared_feed_forward_length", sharedIntermediateSize),
        ("interleave_moe_layer_step", 1), ("leading_dense_block_count", 0),
      ]
    }
    var metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(architecture)), ("general.type", .string("model")),
      ("general.name", .string(name)), ("general.file_type", .uint32(encoding.ggmlFileType)),
      ("general.quantization_version", .uint32(2)),
    ]
    metadata += (sizes + (isMixture ? mixture : [])).map { ("\(architecture).\($0)", .uint32(UInt32($1))) }
    metadata.append(("\(architecture).attention.layer_norm_rms_epsilon", .float32(rmsNormEpsilon)))
    metadata.append(("\(architecture).rope.freq_base", .float32(Float(ropeTheta))))
    return metadata
  }
}
