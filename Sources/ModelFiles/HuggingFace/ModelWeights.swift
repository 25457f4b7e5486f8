import Foundation
import Storage

/// The weights of a Hugging Face model directory: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists. Of an adapter's directory: its base's weights, with the adapter merged into them
/// as they are read.
public final class ModelWeights: Sendable {
  public let directory: String
  /// The file that a message about missing weights should name.
  public let path: String
  private let files: [SafetensorsFile]
  private let fileIndices: [String: Int]
  private let adapter: PEFTAdapter?

  /// The weights in a directory of either kind.
  ///
  /// - Throws: `FileError` or `ModelFileError`, also when an adapter does not belong to its base.
  public convenience init(directory: String) throws {
    let adapter = PEFTAdapter.isAdapter(directory) ? try PEFTAdapter(directory: directory) : nil
    try self.init(modelDirectory: adapter?.baseDirectory() ?? directory, adapter: adapter)
  }

  /// The weights of a model with those of an adapter merged into them.
  ///
  /// - Parameter directory: the model's.
  /// - Throws: `FileError` or `ModelFileError`, also when the adapter does not belong to the model.
  package init(modelDirectory directory: String, adapter: PEFTAdapter?) throws {
    self.directory = directory
    self.adapter = adapter
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
      try adapter?.check(base: self)
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
    try adapter?.check(base: self)
  }

  /// The names of all weights.
  public var names: [String] { Array(fileIndices.keys) }

  /// The type and shape of a weight, if there is one of this name.
  public func tensor(_ name: String) -> SafetensorsFile.Tensor? {
    fileIndices[name].flatMap { files[$0].tensor(name) }
  }

  /// The file that holds a weight.
  public func filePath(of name: String) -> String { fileIndices[name].map { files[$0].path } ?? path }

  /// The stored bytes of a weight, at any alignment; nil for one that an adapter changes. Valid while this object lives.
  public func bytes(of name: String) -> UnsafeRawBufferPointer? {
    guard adapter?.modules[name] == nil, let index = fileIndices[name], let tensor = files[index].tensor(name) else {
      return nil
    }
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
    files[index].release(tensor)
    try adapter?.merge(into: name, destination)
    guard TensorConversion.areFinite(destination, count: tensor.count) else {
      throw ModelFileError.malformed(
        path: files[index].path, fault: "'\(name)' holds values that are not finite numbers")
    }
  }

  /// SHA-256 of the model's weights, in hexadecimal: over their names, shapes and fp32 values in the order of their names.
  /// So it does not depend on how the weights are stored, as long as that loses nothing; an adapter does not count.
  package func contentHash() throws -> String {
    let hash = SHA256()
    for name in names.sorted() {
      guard let index = fileIndices[name], let tensor = files[index].tensor(name) else { continue }
      Array("\(name) \(tensor.shape)\n".utf8).withUnsafeBytes(hash.update)
      try files[index].floats(of: tensor).withUnsafeBytes(hash.update)
    }
    return SHA256.hexadecimal(hash.finalize())
  }

  // MARK: - Merged adapters

  /// The key, in the metadata of a weights' file, of the `PEFTAdapter.contentHash` of all adapters that are merged into it.
  private static let mergedKey = "minimind.merged_adapters"

  /// The adapters that the stored weights hold already, as far as the file says so.
  package var mergedAdapters: [String] {
    files.first?.metadata[Self.mergedKey]?.split(separator: ",").map(String.init) ?? []
  }

  /// The metadata for a file of these weights, in which the adapter is merged.
  package func mergedMetadata() -> [String: String] {
    let adapters = mergedAdapters + (adapter.map { [$0.contentHash()] } ?? [])
    return adapters.isEmpty ? [:] : [Self.mergedKey: adapters.joined(separator: ",")]
  }
}
