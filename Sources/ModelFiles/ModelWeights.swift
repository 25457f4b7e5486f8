import Foundation
import Storage

/// The weights of a Hugging Face model directory: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists.
public final class ModelWeights: Sendable {
  public let directory: String
  /// The file that a message about missing weights should name.
  public let path: String
  private let files: [SafetensorsFile]
  private let fileIndices: [String: Int]

  public init(directory: String) throws {
    self.directory = directory
    let single = directory + "/model.safetensors"
    let index = single + ".index.json"
    if FileManager.default.fileExists(atPath: single) || !FileManager.default.fileExists(atPath: index) {
      guard FileManager.default.fileExists(atPath: single) else {
        throw ModelFileError.notAModel(
          path: directory, reason: "it has no model.safetensors (weights in other formats are not read)")
      }
      path = single
      let file = try SafetensorsFile(single)
      files = [file]
      fileIndices = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, 0) })
      return
    }
    path = index
    guard case .object(let map)? = try JSON(contentsOf: index)["weight_map"] else {
      throw ModelFileError.malformed(path: index, fault: "it has no object 'weight_map'")
    }
    var files: [SafetensorsFile] = []
    var positions: [String: Int] = [:]
    var fileIndices: [String: Int] = [:]
    for member in map {
      guard let name = member.value.stringValue, !name.isEmpty, !name.contains("/"), name != "..",
        !name.contains("\0")
      else {
        throw ModelFileError.malformed(
          path: index, fault: "the shard of '\(member.key.prefix(200))' is not the name of a file beside it")
      }
      if positions[name] == nil {
        positions[name] = files.count
        files.append(try SafetensorsFile(directory + "/" + name))
      }
      let position = positions[name]!
      guard files[position].tensor(member.key) != nil else {
        throw ModelFileError.malformed(
          path: directory + "/" + name, fault: "the index promises '\(member.key.prefix(200))', which is not there")
      }
      fileIndices[member.key] = position
    }
    self.files = files
    self.fileIndices = fileIndices
  }

  /// The names of all weights.
  public var names: [String] { Array(fileIndices.keys) }

  /// The type and shape of a weight, if there is one of this name.
  public func tensor(_ name: String) -> SafetensorsFile.Tensor? {
    fileIndices[name].flatMap { files[$0].tensor(name) }
  }

  /// The file that holds a weight.
  public func filePath(of name: String) -> String { fileIndices[name].map { files[$0].path } ?? path }

  /// The stored bytes of a weight, at any alignment. Valid while this object lives.
  public func bytes(of name: String) -> UnsafeRawBufferPointer? {
    guard let index = fileIndices[name], let tensor = files[index].tensor(name) else { return nil }
    return files[index].bytes(of: tensor)
  }

  /// Writes a weight in fp32 to `destination` and checks that all its values are finite.
  ///
  /// - Precondition: there is a weight of this name, and `destination` has room for it.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  public func copy(_ name: String, to destination: UnsafeMutablePointer<Float>) throws {
    guard let index = fileIndices[name], let tensor = files[index].tensor(name) else {
      preconditionFailure("no weight is named \(name)")
    }
    try files[index].copy(tensor, to: destination)
    guard TensorConversion.areFinite(destination, count: tensor.count) else {
      throw ModelFileError.malformed(
        path: files[index].path, fault: "'\(name)' holds values that are not finite numbers")
    }
  }
}
