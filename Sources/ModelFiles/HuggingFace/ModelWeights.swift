import Foundation
import Model
import Storage

/// The weights of a model in its files: a Hugging Face directory, or a file of a format that holds whole models. Of an
/// adapter's directory: its base's weights, with the adapter merged into them as they are read.
public final class ModelWeights: Sendable {
  /// The model's, or the file that holds it.
  public let directory: String
  private let stored: StoredTensors
  private let adapter: PEFTAdapter?

  /// The weights of a model, or in the directory of an adapter.
  ///
  /// - Throws: `FileError` or `ModelFileError`, also when an adapter does not belong to its base.
  public convenience init(directory: String) throws {
    let adapter = PEFTAdapter.isAdapter(directory) ? try PEFTAdapter(directory: directory) : nil
    try self.init(modelDirectory: adapter?.baseDirectory() ?? directory, adapter: adapter)
  }

  /// The weights of a model with those of an adapter merged into them.
  ///
  /// - Parameter directory: the model's, or the file that holds it.
  /// - Throws: `FileError` or `ModelFileError`, also when the adapter does not belong to the model.
  package init(modelDirectory directory: String, adapter: PEFTAdapter?) throws {
    self.directory = directory
    self.adapter = adapter
    stored = try ModelFormats.container(directory).weights()
    try adapter?.check(base: self)
  }

  /// The file that a message about missing weights should name.
  public var path: String { stored.path }
  /// Whether the one matrix of a model whose output is its embedding was found under the output's name.
  package var storesEmbeddingAsOutput: Bool { stored.storesEmbeddingAsOutput }
  /// The names of all weights, as `transformers` has them whatever their names in the file.
  public var names: [String] { Array(stored.weights.keys) }

  /// The type and shape of a weight, if there is one of this name.
  package func tensor(_ name: String) -> (any StoredWeight)? { stored.weights[name] }

  /// The file that holds a weight.
  public func filePath(of name: String) -> String { stored.weights[name]?.path ?? path }

  /// Whether the output is a matrix of its own, other than the embedding. Where `config.json` says that they are one and
  /// the file holds two, `transformers` uses both.
  ///
  /// - Throws: `FileError` or `ModelFileError` when a matrix cannot be read.
  package func hasOutputOfItsOwn() throws -> Bool {
    guard let output = tensor(ParameterKey.output), let embedding = tensor(ParameterKey.embedding),
      output.shape == embedding.shape
    else { return false }
    if output.type == embedding.type { return !output.bytes.elementsEqual(embedding.bytes) }
    return try output.floats() != embedding.floats()
  }

  /// The stored bytes of a weight, at any alignment; nil for one that an adapter changes. Valid while this object lives.
  public func bytes(of name: String) -> UnsafeRawBufferPointer? {
    guard adapter?.modules[name] == nil else { return nil }
    return tensor(name)?.bytes
  }

  /// Whether some rows of a weight can be read without the others: no adapter changes it, and the file has them in order.
  func hasRows(_ name: String) -> Bool { adapter?.modules[name] == nil && tensor(name)?.rows(0..<0) != nil }

  /// Writes a weight, or rows of it, in fp32 to `destination` and checks that all its values are finite.
  ///
  /// - Precondition: there is a weight of this name, `destination` has room for it, and `hasRows` where rows are asked for.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  public func copy(_ name: String, rows: Range<Int>? = nil, to destination: UnsafeMutablePointer<Float>) throws {
    guard let whole = tensor(name), let weight = rows.map({ whole.rows($0) }) ?? whole else {
      preconditionFailure("there is no weight named \(name), or it has no rows")
    }
    try weight.copy(to: destination)
    weight.release()
    if rows == nil { try adapter?.merge(into: name, destination) }
    guard TensorConversion.areFinite(destination, count: weight.count) else {
      throw ModelFileError.malformed(
        path: weight.path, fault: "'\(name)' holds values that are not finite numbers")
    }
  }

  /// SHA-256 of the model's weights, in hexadecimal: over their names, shapes and fp32 values in the order of their names.
  /// So it does not depend on how the weights are stored, as long as that loses nothing; an adapter does not count.
  package func contentHash() throws -> String {
    let hash = SHA256()
    for name in names.sorted() {
      guard let weight = tensor(name) else { continue }
      Array("\(name) \(weight.shape)\n".utf8).withUnsafeBytes(hash.update)
      try weight.floats().withUnsafeBytes(hash.update)
    }
    return SHA256.hexadecimal(hash.finalize())
  }

  /// `contentHash` of the model at a path; of a model with an adapter followed by that of the adapter's file.
  ///
  /// - Parameter path: as `resolveModelDirectory` gives it.
  package static func contentHash(of path: String) throws -> String {
    let base = try ModelWeights(directory: path).contentHash()
    guard PEFTAdapter.isAdapter(path) else { return base }
    return base + "+" + (try PEFTAdapter(directory: path).contentHash())
  }

  // MARK: - Merged adapters

  /// The key, in the metadata of a weights' file, of the `PEFTAdapter.contentHash` of all adapters that are merged into it.
  private static let mergedKey = "minimind.merged_adapters"

  /// The adapters that the stored weights hold already, as far as the file says so.
  package var mergedAdapters: [String] {
    stored.metadata[Self.mergedKey]?.split(separator: ",").map(String.init) ?? []
  }

  /// The metadata for a file of these weights, in which the adapter is merged.
  package func mergedMetadata() -> [String: String] {
    let adapters = mergedAdapters + (adapter.map { [$0.contentHash()] } ?? [])
    return adapters.isEmpty ? [:] : [Self.mergedKey: adapters.joined(separator: ",")]
  }
}
