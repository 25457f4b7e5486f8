import Model
import Storage
import Tokenization

/// An adapter as the directory that the `peft` package reads and writes. Weights are fp32.
extension LoRAAdapter {
  /// Writes `adapter_config.json`, `adapter_model.safetensors` and the tokenizer's files; the directory appears whole or
  /// not at all.
  ///
  /// - Throws: `FileError` when the disk or the permissions do not allow it.
  package func save(directory path: String, tokenizerDirectory: String?) throws {
    var peft = PEFTConfiguration(
      base: base.path, rank: configuration.rank, alpha: configuration.alpha, dropout: configuration.dropout,
      targets: configuration.targets.map(\.rawValue))
    if model.sight != nil {
      // A tower has layers of the same names.
      peft.targetPattern = ".*\\.language_model\\..*\\.(\(peft.targets.joined(separator: "|")))"
      peft.targets = []
    }
    try AtomicDirectory.write(path) { directory in
      try AtomicFile.write(peft.json.text() + "\n", to: directory + "/" + PEFTConfiguration.fileName)
      if let tokenizerDirectory { try TokenizerFiles(tokenizerDirectory).write(into: directory) }
      let writer = try SafetensorsWriter(
        directory + "/" + PEFTAdapter.weightsFileName,
        tensors: table.entries.map {
          SafetensorsWriter.Plan(name: storedName(of: $0), type: .float32, shape: $0.shape)
        },
        metadata: ["format": "pt", PEFTAdapter.baseHashKey: base.contentHash])
      for entry in table.entries {
        var values = Array(UnsafeBufferPointer(start: block.values + entry.offset, count: entry.count))
        reorder(entry, &values, by: RotaryRows.interleave)
        try values.withUnsafeBufferPointer { try writer.append($0) }
      }
      try writer.commit()
    }
  }

  /// Reads an adapter that `save` has written.
  ///
  /// - Parameters:
  ///   - configuration: the adapter's; the file must hold exactly its weights.
  ///   - base: the weights must be those that it was trained on.
  /// - Throws: `FileError` or `ModelFileError`, each naming the file.
  package convenience init(
    directory: String, _ configuration: LoRAConfiguration, model: ModelConfiguration, base: LoRABase
  ) throws {
    let files = try PEFTAdapter(directory: directory)
    guard let file = files.file else { preconditionFailure("a directory without a file of weights") }
    try self.init(zeroed: configuration, model: model, base: base)
    guard files.baseHash == base.contentHash else {
      throw ModelFileError.contradiction(
        "\(directory) was trained on other weights than those in \(base.path) (their hash differs). "
          + "Give the base that the adapter was trained on.")
    }
    for entry in table.entries {
      guard let tensor = file.tensor(storedName(of: entry)), tensor.shape == entry.shape else {
        throw ModelFileError.malformed(
          path: file.path, fault: "it has no '\(storedName(of: entry))' of the shape \(entry.shape)")
      }
      var values = try file.floats(of: tensor)
      guard TensorConversion.areFinite(values, count: values.count) else {
        throw ModelFileError.malformed(
          path: file.path, fault: "'\(storedName(of: entry))' holds values that are not finite numbers")
      }
      reorder(entry, &values, by: RotaryRows.split)
      (block.values + entry.offset).update(from: values, count: values.count)
    }
  }

  /// The name of a weight in the directory: in a model that sees, `transformers` has the language model's layers one deeper.
  private func storedName(of entry: ParameterEntry) -> String {
    guard model.sight != nil else { return entry.key }
    return LoRAKey.prefix + "model.language_model." + entry.key.dropFirst((LoRAKey.prefix + "model.").count)
  }

  /// Brings the rows of B of Wq and Wk, which are rows of these weights' product, from one order into the other.
  private func reorder(
    _ entry: ParameterEntry, _ values: inout [Float],
    by order: (_ values: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ headSize: Int) -> Void
  ) {
    guard model.storesAdjacentPairs, entry.role.isRotated else { return }
    values.withUnsafeMutableBufferPointer { order($0.baseAddress!, entry.shape[0], entry.shape[1], model.headSize) }
  }
}
