import Foundation
import Model
import Storage

/// The file with tower and projector beside that of a language model, as this program writes it. Those of others, which do not say
/// what stands for a picture, are not read.
struct GGUFSight: Sendable {
  let configuration: SightConfiguration
  private let file: GGUFFile

  /// Settings of the model and of the pictures' processor, as in a model directory; llama.cpp passes over them.
  private static let (settingsKey, processorKey) = ("minimind.config", "minimind.preprocessor_config")

  /// The file of a language model's, by whose name llama.cpp's programs know it.
  static func path(beside path: String) -> String {
    let name = (path as NSString).lastPathComponent
    return path.dropLast(name.count) + "mmproj-" + name
  }

  static func metadata(of model: ModelConfiguration, _ sight: SightConfiguration) -> [(key: String, value: GGUFValue)] {
    var text = model
    text.sight = nil
    let settings = SightLayout.layout(of: sight).members(of: sight, text: text, weightType: "float32")
    return [
      (settingsKey, .string(settings.compactText)), (processorKey, .string(sight.huggingFacePreprocessing.compactText)),
    ]
  }

  /// Nil where there is no such file.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError` for one that is damaged.
  init?(beside path: String) throws {
    let path = Self.path(beside: path)
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let file = try GGUFFile(path)
    self.file = file
    func json(_ key: String) throws -> JSON? {
      guard let text = try file.metadata.text(key) else { return nil }
      do { return try JSON(parsing: text) } catch {
        throw ModelFileError.malformed(path: path, fault: "its \(key) is \(error)")
      }
    }
    guard let settings = try json(Self.settingsKey) else { return nil }
    let config = try HuggingFaceConfig(path: path, json: settings)
    guard let layout = config.sightLayout else {
      throw ModelFileError.malformed(path: path, fault: "its \(Self.settingsKey) is not that of a model that sees")
    }
    configuration = try layout.sight(config, preprocessing: json(Self.processorKey))
  }

  /// The weights by the names of a model directory.
  ///
  /// - Parameter table: of the whole model.
  /// - Throws: `ModelFileError` for one that is missing or of another shape.
  func weights(_ table: ParameterTable) throws -> [String: any StoredWeight] {
    var weights: [String: any StoredWeight] = [:]
    for entry in table.entries {
      guard let name = configuration.ggufName(of: entry.role) else { continue }
      guard let tensor = file.tensor(name) else {
        throw ModelFileError.contradiction("\(file.path): '\(name)' is missing from a model that sees.")
      }
      guard tensor.shape.drop(while: { $0 == 1 }) == entry.shape.drop(while: { $0 == 1 }) else {
        throw ModelFileError.contradiction(
          "\(file.path): '\(name)' is \(tensor.shape), its settings ask for \(entry.shape).")
      }
      weights[entry.key] = GGUFWeight(file: file, tensor: tensor.part(0, shape: entry.shape))
    }
    return weights
  }
}
