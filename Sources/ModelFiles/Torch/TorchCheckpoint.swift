import Storage

/// The weights in a file that `torch.save(model.state_dict(), path)` wrote: a zip archive with a pickle that describes
/// tensors, and one entry of raw elements for each storage.
///
/// Format: PyTorch's torch/serialization.py and caffe2/serialize/inline_container.cc. The pickle is interpreted by
/// `PickleReader`, which executes nothing.
package final class TorchCheckpoint {
  package struct Tensor {
    package let name: String
    package var shape: [Int] { view.shape }
    /// Nil for complex numbers, which cannot be read.
    package var type: TensorType? { view.storage.type.tensorType }
    let view: StridedTensor
  }

  package let path: String
  /// The size of the file.
  package let byteCount: Int
  /// In the order of the dictionary.
  package let tensors: [Tensor]
  private let archive: ZipArchive
  private let prefix: String
  /// Keeps the bytes that `archive` reads; nil when the caller does.
  private let file: MappedFile?

  /// Reads the description of the weights in the file at `path`; the elements are not read yet.
  ///
  /// - Throws: `FileError`, or `ModelFileError` that names the fault, and for a pickle its byte position.
  package convenience init(_ path: String) throws {
    let file = try MappedFile(path)
    try self.init(file.bytes, path: path, file: file)
  }

  /// The same for an archive in memory; `bytes` must outlive this object unless `file` holds them.
  package init(_ bytes: UnsafeRawBufferPointer, path: String, file: MappedFile? = nil) throws {
    self.path = path
    self.file = file
    byteCount = bytes.count
    guard bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) else {
      throw ModelFileError.malformed(
        path: path,
        fault: bytes.isEmpty
          ? "the file is empty"
          : "it is no zip archive, as PyTorch's files are since version 1.6. Save an older file again with torch.save")
    }
    archive = try ZipArchive(bytes, path: path)
    let suffix = "/data.pkl"
    let pickles = archive.entries.values.filter { $0.name == "data.pkl" || $0.name.hasSuffix(suffix) }
    guard pickles.count == 1 else {
      throw ModelFileError.malformed(
        path: path, fault: "the archive has \(pickles.count) pickles data.pkl, one is expected")
    }
    prefix = String(pickles[0].name.dropLast("data.pkl".count))
    if let order = archive.entries[prefix + "byteorder"],
      try order.byteCount != 6 || archive.bytes(of: order) != Array("little".utf8)
    {
      throw ModelFileError.unsupported(path: path, feature: "its numbers are not stored in little-endian order")
    }
    guard pickles[0].byteCount <= PickleReader.maximumByteCount else {
      throw ModelFileError.malformed(
        path: path, fault: "\(pickles[0].name) is larger than the description of any model")
    }
    tensors = try Self.tensors(try archive.bytes(of: pickles[0]), name: pickles[0].name, path: path)
    for tensor in tensors { try checkStorage(of: tensor) }
  }

  private static func tensors(_ pickle: [UInt8], name: String, path: String) throws -> [Tensor] {
    let members: [(key: PickleReader.Value, value: PickleReader.Value)]
    do {
      members = try pickle.withUnsafeBytes { try PickleReader.dictionary($0) }
    } catch let error as PickleReader.Fault {
      throw ModelFileError.malformed(path: path, fault: "\(name), byte \(error.offset): \(error.text)")
    }
    var names = Set<String>()
    var tensors: [Tensor] = []
    for member in members {
      guard case .text(let key) = member.key else {
        throw ModelFileError.malformed(path: path, fault: "the dictionary of weights has a key that is no text")
      }
      guard case .tensor(let view) = member.value else {
        throw ModelFileError.unsupported(
          path: path,
          feature: "'\(key.prefix(100))' is no tensor; the file must hold a model's state_dict() and nothing else")
      }
      guard names.insert(key).inserted else {
        throw ModelFileError.malformed(path: path, fault: "the weight '\(key.prefix(100))' appears twice")
      }
      tensors.append(Tensor(name: key, view: view))
    }
    return tensors
  }

  /// The archive's entry for the elements of a tensor must exist and have the size that the pickle says.
  private func checkStorage(of tensor: Tensor) throws(ModelFileError) {
    let storage = tensor.view.storage
    let name = prefix + "data/" + storage.key
    let (byteCount, overflows) = storage.count.multipliedReportingOverflow(by: storage.type.byteCount)
    guard !overflows, let entry = archive.entries[name], entry.byteCount == byteCount else {
      throw .malformed(
        path: path,
        fault: "the elements of '\(tensor.name.prefix(100))' should be \(storage.count) of \(storage.type.rawValue) "
          + "in '\(name.prefix(100))', which is missing or of another size")
    }
  }

  /// Writes the values of a tensor of this file in fp32 to `destination`, which has room for them, in row-major order.
  ///
  /// - Throws: `ModelFileError` when they are damaged, no floating-point numbers, or not finite.
  package func copy(_ tensor: Tensor, to destination: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    let view = tensor.view
    guard view.count > 0 else { return }
    let shown = tensor.name.prefix(100)
    guard let type = tensor.type, let entry = archive.entries[prefix + "data/" + view.storage.key] else {
      throw notReadable(tensor)
    }
    let bytes = try archive.bytes(of: entry)
    let isReadable = bytes.withUnsafeBytes { bytes in
      let base = bytes.baseAddress!
      guard !view.isContiguous else {
        return TensorConversion.widen(base + view.offset * type.byteCount, type, count: view.count, to: destination)
      }
      var isReadable = true
      var position = 0
      view.forEachPlace { place in
        isReadable = TensorConversion.widen(base + place * type.byteCount, type, count: 1, to: destination + position)
        position += 1
      }
      return isReadable
    }
    guard isReadable else { throw notReadable(tensor) }
    guard TensorConversion.areFinite(destination, count: view.count) else {
      throw .malformed(path: path, fault: "'\(shown)' holds values that are not finite numbers")
    }
  }

  private func notReadable(_ tensor: Tensor) -> ModelFileError {
    .unsupported(
      path: path,
      feature: "'\(tensor.name.prefix(100))' is a \(tensor.view.storage.type.rawValue); "
        + "float, half and bfloat16 weights are read")
  }

  /// Whether two tensors are one: the same elements of the same storage.
  package func isSame(_ first: Tensor, _ second: Tensor) -> Bool { first.view == second.view }
}
