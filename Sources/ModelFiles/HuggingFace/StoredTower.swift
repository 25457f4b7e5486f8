import Foundation
import Model
import Storage

/// A vision tower in a directory, before its weights are read: `CLIPVisionModel`, `SiglipVisionModel`, the tower of a whole
/// CLIP or SigLIP model, whose other half is passed over, or that of a model that sees.
package struct StoredTower {
  package let directory: String
  /// With `transformers`' last hidden state as what is used, or what a model that sees uses.
  package let configuration: VisionTowerConfiguration
  /// Of its `preprocessor_config.json`.
  package let preprocessing: JSON?
  private let tensors: StoredTensors

  /// - Throws: `FileError`, `ConfigurationError` or `ModelFileError`, each saying which file and what is wrong.
  package init(directory: String) throws {
    self.directory = directory
    let path = directory + "/config.json"
    let config = try HuggingFaceConfig(path: path, json: JSON(contentsOf: path))
    preprocessing = try .preprocessing(besideConfig: path)
    if let layout = config.sightLayout {
      configuration = try layout.sight(config, preprocessing: nil).tower
    } else if let vision = config.value("vision_config"), case .object(var members) = vision {
      // Whole models of older releases leave the type to be guessed from their own.
      if vision["model_type"] == nil, let type = config.value("model_type")?.stringValue {
        members.append(.init("model_type", .string(type + "_vision_model")))
      }
      configuration = try HuggingFaceConfig(path: path, members: .object(members)).visionTower()
    } else {
      configuration = try config.visionTower()
    }
    tensors = try StoredTensors(directory: directory)
    for weight in configuration.weights { _ = try stored(weight.key, shape: weight.shape) }
  }

  /// Whether a directory holds a tower, or a whole CLIP or SigLIP model, without a language model that it belongs to.
  ///
  /// - Throws: `FileError` or `ConfigurationError` for a `config.json` that cannot be read.
  package static func isAlone(in directory: String) throws -> Bool {
    let path = directory + "/config.json"
    guard FileManager.default.fileExists(atPath: path) else { return false }
    let config = try HuggingFaceConfig(path: path, json: JSON(contentsOf: path))
    let types = ["clip", "clip_vision_model", "siglip", "siglip_vision_model"]
    return types.contains(config.value("model_type")?.stringValue ?? "")
  }

  /// Writes a weight in fp32.
  ///
  /// - Parameters:
  ///   - entry: of the tower in a model's table.
  ///   - target: room for `entry.count` values.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  package func read(_ entry: ParameterEntry, _ target: UnsafeMutablePointer<Float>) throws {
    let weight = try stored(entry.key, shape: entry.shape)
    try weight.copy(to: target)
    weight.release()
    guard TensorConversion.areFinite(target, count: entry.count) else {
      throw ModelFileError.malformed(
        path: weight.path, fault: "'\(entry.key)' holds values that are not finite numbers")
    }
  }

  /// The type in which a weight is stored.
  ///
  /// - Throws: as `read`.
  func type(of entry: ParameterEntry) throws -> TensorType? { try stored(entry.key, shape: entry.shape).type }

  private func stored(_ key: String, shape: [Int]) throws -> any StoredWeight {
    let name = String(key.dropFirst(VisionTowerConfiguration.prefix.count))
    let names = [key, "vision_model." + name, name]
    guard let weight = names.lazy.compactMap({ tensors.weights[$0] }).first else {
      throw ModelFileError.contradiction(
        "\(tensors.path): 'vision_model.\(name)' is missing, config.json asks for it. Check the tower's settings.")
    }
    guard weight.shape == shape else {
      throw ModelFileError.contradiction(
        "\(weight.path): '\(weight.storedName)' is \(weight.shape), config.json says \(shape). Check the tower's settings."
      )
    }
    return weight
  }
}
