import Foundation
import Model
import Storage

/// A LoRA adapter in the directory that the `peft` package writes: `adapter_config.json` and
/// `adapter_model.safetensors`; or one of another format, whose values are in memory.
package final class PEFTAdapter: Sendable {
  package static let weightsFileName = "adapter_model.safetensors"
  /// The key, in the metadata of the weights' file, of the `ModelWeights.contentHash` of the base: PEFT's own settings have
  /// no place for it. Adapters from elsewhere do not say it.
  package static let baseHashKey = "minimind.base_sha256"

  /// The pair of matrices on one weight of the model.
  package struct Module: Sendable {
    /// [rank, inputs] and [outputs, rank]
    let a: Values
    let b: Values
    package let rank: Int
    package let inputs: Int
    package let outputs: Int
    /// What their product is multiplied by.
    package let scale: Double
  }

  /// Where a matrix is.
  enum Values: Sendable {
    case stored(SafetensorsFile, SafetensorsFile.Tensor)
    case numbers([Float])
  }

  /// Of the adapter, or the one file that it is.
  package let directory: String
  /// The file of the weights, for messages.
  let path: String
  package let configuration: PEFTConfiguration
  /// By the name of the weight that they are on, as "model.layers.0.self_attn.q_proj.weight".
  package let modules: [String: Module]
  /// Nil for an adapter of another format.
  package let file: SafetensorsFile?
  /// SHA-256 of the weights' file, in hexadecimal; nil: to be found.
  private let knownHash: String?
  package var baseHash: String? { file?.metadata[Self.baseHashKey] }

  init(
    directory: String, path: String, _ configuration: PEFTConfiguration, modules: [String: Module], contentHash: String
  ) {
    (self.directory, self.path, self.configuration, self.modules) = (directory, path, configuration, modules)
    (file, knownHash) = (nil, contentHash)
  }

  /// Whether a directory holds an adapter rather than a model.
  package static func isAdapter(_ directory: String) -> Bool {
    FileManager.default.fileExists(atPath: directory + "/" + PEFTConfiguration.fileName)
  }

  /// - Throws: `FileError` or `ModelFileError`, each naming the file.
  package init(directory: String) throws {
    self.directory = directory
    let configuration = try PEFTConfiguration(directory: directory)
    self.configuration = configuration
    let path = directory + "/" + Self.weightsFileName
    guard FileManager.default.fileExists(atPath: path) else {
      throw ModelFileError.notAModel(
        path: directory, reason: "it has an \(PEFTConfiguration.fileName) and no \(Self.weightsFileName)")
    }
    let file = try SafetensorsFile(path)
    (self.file, self.path, knownHash) = (file, path, nil)
    func malformed(_ fault: String) -> ModelFileError { .malformed(path: path, fault: fault) }

    let (prefix, aSuffix, bSuffix) = (LoRAKey.prefix, LoRAKey.aSuffix, LoRAKey.bSuffix)
    var modules: [String: Module] = [:]
    var known = Set<String>()
    for a in file.tensors where a.name.hasPrefix(prefix) && a.name.hasSuffix(aSuffix) {
      let name = String(a.name.dropFirst(prefix.count).dropLast(aSuffix.count))
      guard let b = file.tensor(prefix + name + bSuffix) else {
        throw malformed("'\(a.name.prefix(200))' is without its lora_B")
      }
      guard a.shape.count == 2, b.shape.count == 2, a.shape[0] == b.shape[1], a.shape[0] > 0 else {
        throw malformed("'\(name.prefix(200))' has a lora_A of \(a.shape) and a lora_B of \(b.shape)")
      }
      guard configuration.hasRankPattern || a.shape[0] == configuration.rank else {
        throw ModelFileError.contradiction(
          "\(path): '\(a.name.prefix(200))' is \(a.shape), \(PEFTConfiguration.fileName) says rank "
            + "\(configuration.rank). Check r.")
      }
      // In a model that sees, the language model's modules have longer names.
      let key = StoredTensors.sightName(name + ".weight") ?? name + ".weight"
      guard !StoredTensors.isOfSight(key) else {
        throw ModelFileError.unsupported(
          path: path,
          feature:
            "'\(name.prefix(200))' is in the vision tower or the projector, which adapters leave as they are. Train "
            + "it with target_modules that name the language model's layers alone")
      }
      known.formUnion([a.name, b.name])
      modules[key] = Module(
        a: .stored(file, a), b: .stored(file, b), rank: a.shape[0], inputs: a.shape[1], outputs: b.shape[0],
        scale: configuration.scale(of: name, rank: a.shape[0]))
    }
    self.modules = modules
    guard file.tensors.count == 2 * modules.count, !modules.isEmpty else {
      let other = file.tensors.first { !known.contains($0.name) }?.name.prefix(200)
      throw ModelFileError.unsupported(
        path: path,
        feature: other.map { "'\($0)' is no lora_A or lora_B of a linear layer, and others are not supported" }
          ?? "it has no lora_A and lora_B")
    }
  }

  /// The directory or file of the model that the adapter belongs to: where its settings say, seen from here or from the adapter.
  package func baseDirectory() throws(ModelFileError) -> String {
    guard let base = configuration.base, !base.isEmpty else {
      throw .notAModel(
        path: directory,
        reason: "its \(PEFTConfiguration.fileName) names no base (base_model_name_or_path). "
          + "Merge it: minimind merge --adapter \(directory) --from BASE --to DIR")
    }
    let candidates = base.hasPrefix("/") ? [base] : [base, directory + "/" + base]
    for candidate in candidates
    where FileManager.default.fileExists(atPath: candidate + "/config.json")
      || ModelFormats.isContainer(file: candidate)
    {
      return candidate
    }
    throw .notAModel(
      path: directory,
      reason: "it is an adapter of \(base.prefix(500)), where there is no model (config.json). "
        + "Correct base_model_name_or_path, or merge it: minimind merge --adapter \(directory) --from BASE --to DIR")
  }

  /// SHA-256 of the weights' file, in hexadecimal.
  package func contentHash() -> String { knownHash ?? file.map { SHA256.hexadecimalDigest($0.bytes) } ?? "" }

  /// - Throws: `ModelFileError` when the type is not read.
  func values(_ values: Values) throws -> [Float] {
    switch values {
    case .stored(let file, let tensor): try file.floats(of: tensor)
    case .numbers(let numbers): numbers
    }
  }

  /// Checks that the adapter fits the weights of a model, by their names, shapes and, where it says so, their hash, and
  /// is not in them already.
  ///
  /// - Throws: `ModelFileError.contradiction`.
  package func check(base: ModelWeights) throws {
    guard !base.mergedAdapters.contains(contentHash()) else {
      throw ModelFileError.contradiction(
        "\(directory) is merged into \(base.directory) already. Use that model as it is.")
    }
    for (name, module) in modules.sorted(by: { $0.key < $1.key }) {
      guard name.hasPrefix("model.layers."), let tensor = base.tensor(name) else {
        throw ModelFileError.contradiction(
          "\(path): it adapts '\(name.prefix(200))', which is no linear layer of \(base.directory). "
            + "Give the base that the adapter was trained on.")
      }
      guard tensor.shape == [module.outputs, module.inputs] else {
        throw ModelFileError.contradiction(
          "\(path): it adapts '\(name.prefix(200))' of the shape [\(module.outputs), \(module.inputs)], which is "
            + "\(tensor.shape) in \(base.directory). Give the base that the adapter was trained on.")
      }
    }
    if let baseHash, try base.contentHash() != baseHash {
      throw ModelFileError.contradiction(
        "\(directory) was trained on other weights than those in \(base.directory) (their hash differs). "
          + "Give the base that the adapter was trained on.")
    }
  }

  /// Adds what the adapter changes of a weight.
  ///
  /// - Parameters:
  ///   - name: the weight's; nothing happens when the adapter is not on it.
  ///   - weight: [outputs, inputs], added to.
  /// - Throws: `ModelFileError` when the type of A or B is not read.
  package func merge(into name: String, _ weight: UnsafeMutablePointer<Float>) throws {
    guard let module = modules[name] else { return }
    addLowRankProduct(
      try values(module.b), try values(module.a), outputs: module.outputs, rank: module.rank,
      inputs: module.inputs, scale: Float(module.scale), to: weight)
  }
}
