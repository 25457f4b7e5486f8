import Model
import Storage
import Vision

/// The second file of a model that sees: what llama.cpp calls a multimodal projector (`--mmproj`), a tower and what lies between it
/// and the language model. Metadata and names are those of tools/mtmd/clip-impl.h, the arithmetic that of its graph for LLaVA.
extension Parameters {
  /// - Parameters:
  ///   - name: what the file calls the model.
  ///   - encoding: of matrices; see `WeightEncoding.ofSight`.
  /// - Returns: the file, written and not yet in place.
  /// - Throws: `ModelFileError` when the format cannot express the model, or a weight does not fit into the type; `FileError`.
  func writeGGUFSight(_ sight: SightConfiguration, to path: String, name: String, encoding: WeightEncoding) throws
    -> AtomicFile
  {
    try sight.checkGGUF(path: path)
    let encoding = encoding.ofSight
    let weights = table.entries.compactMap { entry in
      sight.ggufName(of: entry.role).map { ForeignWeight($0, entry, adjacentPairs: false) }
    }
    let tensors = weights.map { weight in
      GGUFWriter.Tensor(
        name: weight.name, shape: weight.shape,
        type: GGUFFormat.storesEncoded(weight.entries[0]) ? encoding.ggufType : .float32)
    }
    let metadata =
      try sight.ggufMetadata(
        name: name, width: configuration.hiddenSize, encoding: encoding, PictureProcessor(sight, path: path))
      + GGUFSight.metadata(of: configuration, sight)
    let writer = try GGUFWriter(path, metadata: metadata, tensors: tensors)
    for weight in weights { try withValues(of: weight) { try writer.append($0) } }
    return writer.finish()
  }
}

extension WeightEncoding {
  /// The encoding of a tower and a projector: fp16 where the language model is quantised, as llama.cpp's own files have it.
  var ofSight: WeightEncoding { tensorType == nil ? .float16 : self }
}

extension SightConfiguration {
  /// Refuses what llama.cpp computes otherwise or has no place for.
  func checkGGUF(path: String) throws(ModelFileError) {
    let differences: [(isOther: Bool, text: String)] = [
      (
        tower.kind == .clip,
        "a CLIP tower as it is: it adds the class token's position to the first patch (llama.cpp issue 25814)"
      ),
      (projector.kind != .mlp, "a projector of another kind than two matrices (\(projector.kind.rawValue))"),
      (projector.activation == .quick, "the activation quick_gelu in a projector"),
      (projector.unshuffle != 1, "patches that become one row in such a projector"),
      (tower.imageSize % tower.patchSize != 0, "pictures whose patches do not cover them"),
      (
        tower.intermediateSize == tower.hiddenSize,
        "a tower that is as wide inside its blocks as outside: it takes the two matrices for each other"
      ),
    ]
    if let difference = differences.first(where: \.isOther) {
      throw .unsupported(path: path, feature: "llama.cpp does not read \(difference.text); choose --format hf")
    }
  }

  /// Whether llama.cpp computes the exact GELU of this model by its form with tanh, which differs by up to 5e-4.
  var hasOtherGELUInGGUF: Bool { projector.activation == .exact || tower.activation == .exact }

  /// - Parameter width: the language model's hiddenSize.
  fileprivate func ggufMetadata(
    name: String, width: Int, encoding: WeightEncoding, _ processor: PictureProcessor
  ) -> [(key: String, value: GGUFValue)] {
    let sizes: [(String, Int)] = [
      ("image_size", tower.imageSize), ("patch_size", tower.patchSize), ("embedding_length", tower.hiddenSize),
      ("feed_forward_length", tower.intermediateSize), ("block_count", tower.layerCount),
      ("attention.head_count", tower.headCount), ("projection_dim", width),
    ]
    // llama.cpp has bytes times 1/255, whatever the factor is.
    let scale = 255 * processor.rescaling
    return [
      ("general.architecture", .string("clip")), ("general.type", .string("mmproj")), ("general.name", .string(name)),
      ("general.file_type", .uint32(encoding.ggmlFileType)), ("general.quantization_version", .uint32(2)),
      ("clip.has_vision_encoder", .bool(true)), ("clip.projector_type", .string("mlp")),
      ("clip.use_gelu", .bool(tower.activation != .quick)),
    ] + sizes.map { ("clip.vision.\($0)", .uint32(UInt32($1))) } + [
      ("clip.vision.attention.layer_norm_epsilon", .float32(tower.layerNormEpsilon)),
      ("clip.vision.image_mean", .float32s(processor.mean.map { Float($0 / scale) })),
      ("clip.vision.image_std", .float32s(processor.deviation.map { Float($0 / scale) })),
      // Without it one layer fewer than LLaVA's is computed (llama.cpp issue 25817).
      ("clip.vision.feature_layer", .int32s([Int32(tower.feature.layer)])),
    ]
  }

  /// The name of a weight in the file; nil for those of the language model. A norm that is not used has one that llama.cpp does not
  /// know, since it would use it.
  func ggufName(of role: ParameterRole) -> String? {
    switch role {
    case .projector(let part): return part.ggufName
    case .tower(let part, let block):
      let isUnused = !tower.feature.isNormalized && (part == .finalNorm || part == .finalNormBias)
      let prefix = isUnused ? "unused." : "v."
      return prefix + (block.map { "blk.\($0)." } ?? "") + part.ggufName + (part.isBias ? ".bias" : ".weight")
    default: return nil
    }
  }
}

extension ProjectorPart {
  fileprivate var ggufName: String? {
    switch self {
    case .first: "mm.0.weight"
    case .firstBias: "mm.0.bias"
    case .second: "mm.2.weight"
    case .secondBias: "mm.2.bias"
    case .norm, .normBias: nil
    }
  }
}

extension TowerPart {
  fileprivate var ggufName: String {
    switch self {
    case .classToken, .firstNorm, .firstNormBias: preconditionFailure("a GGUF file has no \(self)")
    case .patch, .patchBias: "patch_embd"
    case .position: "position_embd"
    case .finalNorm, .finalNormBias: "post_ln"
    case .attentionNorm, .attentionNormBias: "ln1"
    case .feedForwardNorm, .feedForwardNormBias: "ln2"
    case .query, .queryBias: "attn_q"
    case .key, .keyBias: "attn_k"
    case .value, .valueBias: "attn_v"
    case .attentionOutput, .attentionOutputBias: "attn_out"
    case .up, .upBias: "ffn_up"
    case .down, .downBias: "ffn_down"
    }
  }
}
