import Model
import Storage
import Tokenization

/// The adapters of MiniMind2 and MiniMind 3, as their training saves them with PyTorch: `MODULE.lora.A.weight` [rank, inputs]
/// and `MODULE.lora.B.weight` [outputs, rank], of which y += x·Aᵀ·Bᵀ, unscaled. Only square layers of attention have one.
enum MiniMindLoRA {
  static let aSuffix = ".lora.A.weight"
  static let bSuffix = ".lora.B.weight"

  /// Whether a checkpoint holds an adapter rather than a model.
  static func isAdapter(_ checkpoint: TorchCheckpoint) -> Bool {
    checkpoint.tensors.contains { $0.name.hasSuffix(aSuffix) || $0.name.hasSuffix(bSuffix) }
  }
}

extension PEFTAdapter {
  /// Reads an adapter of MiniMind's own format.
  ///
  /// - Parameter base: the model that it is for, whose directory has the rows of queries in some order.
  /// - Throws: `FileError` or `ModelFileError`, each naming the file.
  package convenience init(miniMindLoRA path: String, base: ModelConfiguration) throws {
    let checkpoint = try TorchCheckpoint(path)
    let tensors = try Parameters.namedTensors(of: checkpoint)
    guard MiniMindLoRA.isAdapter(checkpoint) else {
      throw ModelFileError.notAModel(
        path: path, reason: "it is no adapter of MiniMind: it has no weight that ends in \(MiniMindLoRA.aSuffix)")
    }
    guard !base.storesAdjacentPairs else {
      throw ModelFileError.unsupported(
        path: path, feature: "an adapter of MiniMind's own format is merged into models of Llama's and Qwen's kind only"
      )
    }
    func values(_ tensor: TorchCheckpoint.Tensor) throws -> [Float] {
      try [Float](unsafeUninitializedCapacity: tensor.shape.reduce(1, *)) { buffer, count in
        if let first = buffer.baseAddress { try checkpoint.copy(tensor, to: first) }
        count = tensor.shape.reduce(1, *)
      }
    }
    var modules: [String: Module] = [:]
    for (name, a) in tensors where name.hasSuffix(MiniMindLoRA.aSuffix) {
      let module = String(name.dropLast(MiniMindLoRA.aSuffix.count))
      guard let b = tensors[module + MiniMindLoRA.bSuffix], a.shape.count == 2, b.shape.count == 2,
        a.shape[0] == b.shape[1], a.shape[0] > 0
      else {
        throw ModelFileError.malformed(path: path, fault: "'\(module.prefix(200))' has no A and B that fit each other")
      }
      // Views of one storage could be larger together than the file that holds them.
      guard a.shape.reduce(1, *) + b.shape.reduce(1, *) <= checkpoint.byteCount else {
        throw ModelFileError.malformed(path: path, fault: "'\(module.prefix(200))' is larger than the file")
      }
      modules[module + ".weight"] = Module(
        a: .numbers(try values(a)), b: .numbers(try values(b)), rank: a.shape[0], inputs: a.shape[1],
        outputs: b.shape[0], scale: 1)
    }
    if let other = tensors.keys.filter({ !$0.hasSuffix(MiniMindLoRA.aSuffix) && !$0.hasSuffix(MiniMindLoRA.bSuffix) })
      .min()
    {
      throw ModelFileError.unsupported(path: path, feature: "'\(other.prefix(200))' is no A or B of an adapter")
    }
    let rank = modules.values.first?.rank ?? 1
    var configuration = PEFTConfiguration(base: "", rank: rank, alpha: Double(rank), dropout: 0, targets: [])
    configuration.base = nil
    let hash = try MappedFile.contents(of: path).withUnsafeBytes { SHA256.hexadecimalDigest($0) }
    self.init(
      directory: path, path: path, configuration, modules: modules, contentHash: hash)
  }
}

/// MiniMind's own format of adapters. `merge` reads it, since it does not name its base.
package struct MiniMindLoRAFormat: ModelFormat {
  package let name = "lora"
  package let title = "MiniMind's `lora` `.pth`"
  package let ending: String? = nil
  package let isRead = false
  package let encodings: [WeightEncoding] = [.float32, .bfloat16, .float16]
  package let tokenizer = TokenizerPlace.none
  package let holdsAdapter = true

  package init() {}

  package func isFormat(ofPath path: String) -> Bool {
    isFile(path) && path.hasSuffix(".pth") && (try? TorchCheckpoint(path)).map(MiniMindLoRA.isAdapter) ?? false
  }

  package func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws {
    try configuration.refuseScores(path: path)
    guard holdsAdapter else {
      throw ModelFileError.unsupported(
        path: path, feature: "--format lora takes an adapter, a run of minimind lora or a directory in PEFT's format")
    }
    guard !configuration.storesAdjacentPairs else {
      throw ModelFileError.unsupported(path: path, feature: "MiniMind has no adapters for a mixture of this kind")
    }
  }

  package func encodes(_ entry: ParameterEntry) -> Bool { true }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    throw ModelFileError.unsupported(
      path: path,
      feature: "it is an adapter without a base; merge it: minimind merge --adapter \(path) --from BASE --to DIR")
  }

  /// Writes the adapter that the model was read with; its scale goes into B.
  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    func unsupported(_ feature: String) -> ModelFileError { .unsupported(path: path, feature: feature) }
    try check(
      model.parameters.configuration, tokenizer: nil, holdsAdapter: model.adapterDirectory != nil, path: path)
    guard let directory = model.adapterDirectory else { preconditionFailure("\(path): no adapter") }
    let adapter = try PEFTAdapter(directory: directory)
    var weights: [(name: String, shape: [Int], values: [Float])] = []
    for (name, module) in adapter.modules.sorted(by: { $0.key < $1.key }) {
      guard ["q_proj.weight", "o_proj.weight"].contains(where: name.hasSuffix), module.inputs == module.outputs else {
        throw unsupported(
          "it adapts '\(name.prefix(200))', and MiniMind adapts q_proj and o_proj where they are square: train with "
            + "--lora-targets q_proj o_proj")
      }
      let prefix = String(name.dropLast(".weight".count))
      let a = try adapter.values(module.a)
      let b = try adapter.values(module.b).map { $0 * Float(module.scale) }
      weights.append((prefix + MiniMindLoRA.aSuffix, [module.rank, module.inputs], a))
      weights.append((prefix + MiniMindLoRA.bSuffix, [module.outputs, module.rank], b))
    }
    let type = settings.encoding.tensorType ?? .float32
    let named = weights.map { TorchWriter.Weight(names: [$0.name], shape: $0.shape) }
    try TorchWriter.write(named, type: type, to: path) { try weights[$0].values.withUnsafeBufferPointer($1) }
  }
}
