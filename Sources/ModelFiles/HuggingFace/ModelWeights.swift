import Foundation
import Model
import Storage

/// The weights of a Hugging Face model directory: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists. Of an adapter's directory: its base's weights, with the adapter merged into them
/// as they are read.
public final class ModelWeights: Sendable {
  public let directory: String
  /// The file that a message about missing weights should name.
  public let path: String
  private let files: [SafetensorsFile]
  private let locations: [String: StoredTensors.Location]
  /// Whether the one matrix of a model whose output is its embedding was found under the output's name.
  package let storesEmbeddingAsOutput: Bool
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
    let stored = try StoredTensors(directory: directory)
    path = stored.path
    files = stored.files
    locations = stored.locations
    storesEmbeddingAsOutput = stored.storesEmbeddingAsOutput
    try adapter?.check(base: self)
  }

  /// The names of all weights, as `transformers` has them whatever stands before them in the file.
  public var names: [String] { Array(locations.keys) }

  /// The type and shape of a weight, if there is one of this name.
  public func tensor(_ name: String) -> SafetensorsFile.Tensor? {
    locations[name]?.tensor
  }

  /// The file that holds a weight.
  public func filePath(of name: String) -> String { locations[name].map { files[$0.file].path } ?? path }

  private func find(_ name: String) -> (file: SafetensorsFile, tensor: SafetensorsFile.Tensor)? {
    locations[name].map { (files[$0.file], $0.tensor) }
  }

  /// Whether the output is a matrix of its own, other than the embedding. Where `config.json` says that they are one and
  /// the file holds two, `transformers` uses both.
  ///
  /// - Throws: `FileError` or `ModelFileError` when a matrix cannot be read.
  package func hasOutputOfItsOwn() throws -> Bool {
    guard let (outputFile, output) = find(ParameterKey.output),
      let (embeddingFile, embedding) = find(ParameterKey.embedding), output.shape == embedding.shape
    else { return false }
    if output.type == embedding.type {
      return !outputFile.bytes(of: output).elementsEqual(embeddingFile.bytes(of: embedding))
    }
    return try outputFile.floats(of: output) != embeddingFile.floats(of: embedding)
  }

  /// The stored bytes of a weight, at any alignment; nil for one that an adapter changes. Valid while this object lives.
  public func bytes(of name: String) -> UnsafeRawBufferPointer? {
    guard adapter?.modules[name] == nil, let (file, tensor) = find(name) else { return nil }
    return file.bytes(of: tensor)
  }

  /// Writes a weight in fp32 to `destination` and checks that all its values are finite.
  ///
  /// - Precondition: there is a weight of this name, and `destination` has room for it.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  public func copy(_ name: String, to destination: UnsafeMutablePointer<Float>) throws {
    guard let (file, tensor) = find(name) else { preconditionFailure("no weight is named \(name)") }
    try file.copy(tensor, to: destination)
    file.release(tensor)
    try adapter?.merge(into: name, destination)
    guard TensorConversion.areFinite(destination, count: tensor.count) else {
      throw ModelFileError.malformed(
        path: file.path, fault: "'\(name)' holds values that are not finite numbers")
    }
  }

  /// SHA-256 of the model's weights, in hexadecimal: over their names, shapes and fp32 values in the order of their names.
  /// So it does not depend on how the weights are stored, as long as that loses nothing; an adapter does not count.
  package func contentHash() throws -> String {
    let hash = SHA256()
    for name in names.sorted() {
      guard let (file, tensor) = find(name) else { continue }
      Array("\(name) \(tensor.shape)\n".utf8).withUnsafeBytes(hash.update)
      try file.floats(of: tensor).withUnsafeBytes(hash.update)
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
