import Model

extension ModelConfiguration {
  /// The configuration of a MiniMind v1 checkpoint, read off the shapes of its weights.
  ///
  /// - Parameters:
  ///   - weights: by v1's name, without prefixes.
  ///   - path: the file, for messages.
  ///   - headSize: that of the table of rotations beside the weights, where the file has one.
  ///   - missing: what the weights do not say.
  /// - Throws: `ModelFileError` when they are not those of a v1 model, `ConfigurationError` when they are impossible.
  init(
    miniMindV1Weights weights: [String: TorchCheckpoint.Tensor], path: String, headSize storedHeadSize: Int?,
    _ missing: MissingSettings
  ) throws {
    func matrix(_ name: String) throws -> (rows: Int, columns: Int) {
      guard let shape = weights[name]?.shape else {
        throw ModelFileError.contradiction(
          "\(path): there is no '\(name)', so these are not the weights of a MiniMind v1 model. "
            + "Other models are read as Hugging Face directories.")
      }
      guard shape.count == 2 else {
        throw ModelFileError.contradiction("\(path): '\(name)' is \(shape), a matrix is expected.")
      }
      return (shape[0], shape[1])
    }
    let embedding = try matrix(MiniMindV1Name.embedding)
    let keyRows = try matrix("layers.0.attention.wk.weight").rows
    if missing.headCount == nil && storedHeadSize == nil && 2 * keyRows != embedding.columns {
      throw ModelFileError.contradiction(
        "\(path): the keys' width of \(keyRows) is not half the model's, \(embedding.columns), as MiniMind v1 has it, and the "
          + "file does not say how many heads there are. Give --heads and --rope-theta; for MiniMind2 these are 8 and 1000000."
      )
    }
    let headCount =
      missing.headCount ?? storedHeadSize.map { embedding.columns / max(1, $0) } ?? MissingSettings.v1HeadCount
    guard headCount > 0, embedding.columns % headCount == 0 else {
      throw ModelFileError.contradiction(
        "\(path): a width of \(embedding.columns) cannot be cut into \(headCount) heads. Say how many with --heads.")
    }
    let headSize = embedding.columns / headCount
    if let storedHeadSize, storedHeadSize != headSize {
      throw ModelFileError.contradiction(
        "\(path): \(headCount) heads would be of \(headSize), and the file's table of rotations is for heads of "
          + "\(storedHeadSize). Leave out --heads.")
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
    let firstBlock = "layers.0.feed_forward."
    let experts = count(after: firstBlock + "experts.")
    let inner = try matrix(firstBlock + (experts > 0 ? "experts.0.w1.weight" : "w1.weight")).rows
    self.init(
      hiddenSize: embedding.columns, layerCount: count(after: "layers."), headCount: headCount,
      keyValueHeadCount: keyRows / headSize, headSize: headSize, intermediateSize: inner,
      vocabularySize: embedding.rows)
    if experts > 0 {
      expertCount = experts
      expertsPerToken = missing.expertsPerToken ?? MissingSettings.v1ExpertsPerToken
      if weights[firstBlock + "shared_experts.w1.weight"] != nil { sharedExpertCount = 1 }
    }
    ropeTheta = missing.ropeTheta ?? MissingSettings.v1RopeTheta
    try validate(source: path)
  }

  /// Refuses a model that a MiniMind v1 checkpoint cannot express: these settings are fixed in v1's code.
  ///
  /// - Parameter path: the file that would be written, for the message.
  func checkMiniMindV1(path: String) throws(ModelFileError) {
    let differences: [(isOther: Bool, text: String)] = [
      (!tiesEmbeddings, "an output matrix of its own"), (normalizesQueriesAndKeys, "norms of queries and keys"),
      (querySize != hiddenSize, "heads of \(headSize) that do not add up to its width of \(hiddenSize)"),
      (ropeTheta != 10_000, "the rotary base \(ropeTheta)"), (rmsNormEpsilon != 1e-5, "the epsilon \(rmsNormEpsilon)"),
      (rotaryScaling != .none, "rotary scaling"),
      (isMixture && sharedExpertCount > 1, "\(sharedExpertCount) shared experts"),
    ]
    if let difference = differences.first(where: \.isOther) {
      throw .unsupported(
        path: path, feature: "MiniMind v1 has no model with \(difference.text); choose --format hf or gguf")
    }
  }
}
