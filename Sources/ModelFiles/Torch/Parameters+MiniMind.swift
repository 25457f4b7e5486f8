import Foundation
import Model
import Storage

// MARK: - Reading

extension Parameters {
  /// Reads a MiniMind checkpoint of any version: the `state_dict` of its model, dense or a mixture of experts, with a projector or
  /// without.
  ///
  /// Prefixes that `torch.compile` and data-parallel training leave (`_orig_mod.`, `module.`) are dropped, and so are the
  /// tables that some versions store beside the weights.
  ///
  /// - Parameters:
  ///   - missing: what the file does not say.
  ///   - tower: of a model that sees.
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each saying which file and what is wrong.
  package convenience init(
    miniMind checkpoint: TorchCheckpoint, _ missing: MissingSettings, tower: StoredTower? = nil
  ) throws {
    let path = checkpoint.path
    var tensors = try Self.namedTensors(of: checkpoint)
    let version = MiniMindVersion(weights: tensors)
    var configuration = try ModelConfiguration(
      miniMindWeights: tensors, version, path: path, headSize: Self.headSize(of: checkpoint), missing)
    if let tower {
      configuration.sight = try version.sight.configuration(
        tower.configuration, preprocessing: tower.preprocessing, version, path: tower.directory)
      try configuration.validate(source: path)
    }
    let table = try ParameterTable(configuration)
    let weights = table.miniMindWeights(of: configuration, version)
    let output = tensors.removeValue(forKey: version.output)
    var remaining = tensors
    var byteCount = 0
    for weight in weights {
      guard let tensor = remaining.removeValue(forKey: weight.name) else {
        throw ModelFileError.contradiction(
          "\(path): '\(weight.name)' is missing from a model of \(configuration.layerCount) layers.")
      }
      guard tensor.shape == weight.shape else {
        throw ModelFileError.contradiction(
          "\(path): '\(weight.name)' is \(tensor.shape), the other weights ask for \(weight.shape). Check "
            + (weight.name.hasPrefix(MiniMindSight.prefix) ? "--tower." : "--heads."))
      }
      byteCount += weight.count * (tensor.type?.byteCount ?? 1)
    }
    if let name = remaining.keys.min() {
      throw ModelFileError.contradiction("\(path): '\(name.prefix(200))' is no weight of a \(version.rawValue) model.")
    }
    // Many tensors could share one storage and so be larger together than the file that holds them.
    guard byteCount <= checkpoint.byteCount else {
      throw ModelFileError.malformed(
        path: path, fault: "its weights would have \(byteCount) bytes, more than the file has")
    }
    try self.init(zeroed: configuration)
    for weight in weights {
      guard let tensor = tensors[weight.name] else { preconditionFailure("\(weight.name) was found before") }
      let destination = values + weight.entries[0].offset
      try checkpoint.copy(tensor, to: destination)
      if weight.hasAdjacentPairs {
        RotaryRows.split(
          destination, rows: weight.shape[0], columns: weight.shape[1], headSize: configuration.headSize)
      }
    }
    if let tower {
      for entry in table.entries where entry.role.isTower { try tower.read(entry, values + entry.offset) }
    }
    if let output, let embedding = tensors[version.embedding] {
      try checkTied(output, to: embedding, version, in: checkpoint)
    }
  }

  /// The size of a head by v1's table of rotations, [positions, head size / 2], which training saves in some files.
  package static func headSize(of checkpoint: TorchCheckpoint) -> Int? {
    let table = checkpoint.tensors.first {
      ["pos_cis", "freqs_cis"].contains($0.name.split(separator: ".").last ?? "")
    }
    return table.flatMap { $0.shape.count == 2 && $0.shape[1] > 0 ? 2 * $0.shape[1] : nil }
  }

  /// The weights by their names in MiniMind's model.
  static func namedTensors(of checkpoint: TorchCheckpoint) throws -> [String: TorchCheckpoint.Tensor] {
    var tensors: [String: TorchCheckpoint.Tensor] = [:]
    for tensor in checkpoint.tensors {
      var name = Substring(tensor.name)
      while let prefix = ["_orig_mod.", "module."].first(where: name.hasPrefix) { name = name.dropFirst(prefix.count) }
      // Tables of rotations and of the causal mask, which follow from the configuration.
      if ["pos_cis", "freqs_cis", "freqs_cos", "freqs_sin", "mask"].contains(
        name.split(separator: ".").last.map(String.init))
      {
        continue
      }
      guard tensors.updateValue(tensor, forKey: String(name)) == nil else {
        throw ModelFileError.malformed(
          path: checkpoint.path, fault: "there are two weights '\(name.prefix(200))' with different prefixes")
      }
    }
    return tensors
  }

  /// MiniMind uses one matrix for embedding and output, and its files have it under both names.
  private func checkTied(
    _ output: TorchCheckpoint.Tensor, to embedding: TorchCheckpoint.Tensor, _ version: MiniMindVersion,
    in checkpoint: TorchCheckpoint
  ) throws {
    if checkpoint.isSame(output, embedding) { return }
    let shape = embedding.shape
    let count = shape[0] * shape[1]
    let copy =
      output.shape == shape
      ? try [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
        try checkpoint.copy(output, to: buffer.baseAddress!)
        initialized = count
      } : []
    guard withExtendedLifetime(self, { self[ParameterKey.embedding].elementsEqual(copy) }) else {
      throw ModelFileError.contradiction(
        "\(checkpoint.path): '\(version.output)' is not '\(version.embedding)', "
          + "and \(version.rawValue) has one matrix for both. Was the file put together from two models?")
    }
  }
}

// MARK: - Writing

extension Parameters {
  /// Writes a MiniMind checkpoint, which appears at `path` whole or not at all: of the version that has such models.
  ///
  /// - Parameter type: `.float32`, which loses nothing, `.float16` or `.bfloat16`.
  /// - Throws: `ModelFileError` when none has, or a weight does not fit into the type; `FileError`.
  package func saveMiniMind(_ path: String, type: TensorType) throws {
    let version = MiniMindVersion(of: configuration)
    try version.check(configuration, path: path)
    let weights = table.miniMindWeights(of: configuration, version)
    let named = weights.map { weight in
      TorchWriter.Weight(
        names: weight.name == version.embedding ? [weight.name, version.output] : [weight.name], shape: weight.shape)
    }
    try TorchWriter.write(named, type: type, to: path) { index, body in
      try withValues(of: weights[index], body)
    }
  }
}
