import Model

extension ModelConfiguration {
  /// The configuration of a MiniMind checkpoint, read off the names and shapes of its weights.
  ///
  /// - Parameters:
  ///   - weights: by their names, without prefixes.
  ///   - path: the file, for messages.
  ///   - headSize: that of the table of rotations beside the weights, where the file has one.
  ///   - missing: what the weights do not say.
  /// - Throws: `ModelFileError` when they are not those of such a model, `ConfigurationError` when they are impossible.
  init(
    miniMindWeights weights: [String: TorchCheckpoint.Tensor], _ version: MiniMindVersion, path: String,
    headSize storedHeadSize: Int?, _ missing: MissingSettings
  ) throws {
    func matrix(_ name: String) throws -> (rows: Int, columns: Int) {
      guard let shape = weights[name]?.shape else {
        throw ModelFileError.contradiction(
          "\(path): there is no '\(name)', so these are not the weights of a MiniMind model. "
            + "Other models are read as Hugging Face directories.")
      }
      guard shape.count == 2 else {
        throw ModelFileError.contradiction("\(path): '\(name)' is \(shape), a matrix is expected.")
      }
      return (shape[0], shape[1])
    }
    let isV1 = version == .v1
    let embedding = try matrix(version.embedding)
    let layers = isV1 ? "layers." : "model.layers."
    let keyRows = try matrix(layers + (isV1 ? "0.attention.wk.weight" : "0.self_attn.k_proj.weight")).rows
    let headCount: Int
    let headSize: Int
    if version == .v3 {
      // A norm of queries is as long as a head.
      let queryRows = try matrix(ParameterKey.Layer(0).query).rows
      headSize = weights[ParameterKey.Layer(0).queryNorm]?.shape.last ?? 0
      headCount = queryRows / max(1, headSize)
      guard headSize > 0, queryRows % headSize == 0, missing.headCount ?? headCount == headCount else {
        throw ModelFileError.contradiction(
          "\(path): its norms of queries are \(headSize) long, which makes \(headCount) heads of \(queryRows). "
            + "Leave out --heads.")
      }
    } else {
      headCount = try Self.headCount(
        version, width: embedding.columns, keyRows: keyRows, storedHeadSize, missing, path: path)
      headSize = embedding.columns / headCount
    }
    guard headSize > 0, keyRows % headSize == 0 else {
      throw ModelFileError.contradiction(
        "\(path): the keys' width of \(keyRows) is no multiple of the head size \(headSize) that \(headCount) heads "
          + "give. Say how many heads the model has with --heads.")
    }
    /// The numbers after `prefix` in the weights' names, counted from 0.
    func count(after prefix: String) -> Int {
      let found = Set(
        weights.keys.lazy.filter { $0.hasPrefix(prefix) }
          .compactMap { Int($0.dropFirst(prefix.count).prefix { $0 != "." }) })
      return (0...found.count).first { !found.contains($0) } ?? 0
    }
    let firstBlock = layers + (isV1 ? "0.feed_forward." : "0.mlp.")
    let gate = isV1 ? "w1.weight" : "gate_proj.weight"
    let experts = count(after: firstBlock + "experts.")
    let inner = try matrix(firstBlock + (experts > 0 ? "experts.0." : "") + gate).rows
    self.init(
      hiddenSize: embedding.columns, layerCount: count(after: layers), headCount: headCount,
      keyValueHeadCount: keyRows / headSize, headSize: headSize, intermediateSize: inner,
      vocabularySize: embedding.rows)
    if experts > 0 {
      expertCount = experts
      expertsPerToken = missing.expertsPerToken ?? version.expertsPerToken
      balanceLossWeight = version.balanceLossWeight
      if weights[firstBlock + "shared_experts." + (isV1 ? "" : "0.") + gate] != nil { sharedExpertCount = 1 }
    }
    normalizesQueriesAndKeys = version == .v3
    rmsNormEpsilon = version.rmsNormEpsilon
    maximumSequenceLength = version.contextLength
    ropeTheta = missing.ropeTheta ?? version.ropeTheta
    try validate(source: path)
  }

  /// The query heads of a model without norms of queries.
  private static func headCount(
    _ version: MiniMindVersion, width: Int, keyRows: Int, _ storedHeadSize: Int?, _ missing: MissingSettings,
    path: String
  ) throws -> Int {
    // The share of the keys' width is what shows that the heads are the usual ones.
    if missing.headCount == nil && storedHeadSize == nil
      && version.headCount * keyRows != version.keyValueHeadCount * width
    {
      let share = version == .v1 ? "half" : "a quarter of"
      throw ModelFileError.contradiction(
        "\(path): the keys' width of \(keyRows) is not \(share) the model's, \(width), as \(version.rawValue) has it, and "
          + "the file does not say how many heads there are. Give "
          + (version == .v1 ? "--heads and --rope-theta; for MiniMind2 these are 8 and 1000000." : "--heads."))
    }
    let headCount = missing.headCount ?? storedHeadSize.map { width / max(1, $0) } ?? version.headCount
    guard headCount > 0, width % headCount == 0 else {
      throw ModelFileError.contradiction(
        "\(path): a width of \(width) cannot be cut into \(headCount) heads. Say how many with --heads.")
    }
    if let storedHeadSize, storedHeadSize != width / headCount {
      throw ModelFileError.contradiction(
        "\(path): \(headCount) heads would be of \(width / headCount), and the file's table of rotations is for heads of "
          + "\(storedHeadSize). Leave out --heads.")
    }
    return headCount
  }
}
