import Storage

/// A GGUF file, mapped into memory and checked whole before anything in it is used.
///
/// Format: docs/gguf.md of github.com/ggml-org/ggml, versions 2 and 3, little endian. Magic, version, the counts of tensors
/// and of metadata; the metadata; name, shape, type and place of each tensor; then the tensors, each at a multiple of the
/// alignment.
package final class GGUFFile: Sendable {
  package struct Tensor: Sendable {
    package let name: String
    package let type: GGUFType
    /// Outermost axis first, as everywhere in this program; the file has them the other way round.
    package let shape: [Int]
    /// Place in the file.
    let offset: Int
    package let byteCount: Int

    /// Elements of the tensor.
    package var count: Int { byteCount / type.blockByteCount * type.blockSize }

    /// One of the tensors of a shape that lie in this one side by side.
    func part(_ index: Int, shape: [Int]) -> Tensor {
      let partByteCount = shape.reduce(1, *) / type.blockSize * type.blockByteCount
      return Tensor(
        name: name, type: type, shape: shape, offset: offset + index * partByteCount, byteCount: partByteCount)
    }

    /// Some of its rows, which are whole blocks.
    func rows(_ range: Range<Int>) -> Tensor {
      let row = part(0, shape: [1] + shape.dropFirst())
      return Tensor(
        name: name, type: type, shape: [range.count] + shape.dropFirst(),
        offset: offset + range.lowerBound * row.byteCount, byteCount: range.count * row.byteCount)
    }
  }

  package let path: String
  package let metadata: GGUFMetadata
  /// In the order of their descriptions.
  package let tensors: [Tensor]
  private let file: MappedFile
  private let indices: [String: Int]

  /// What every GGUF file begins with.
  static let magic = Array("GGUF".utf8)

  /// Maps and checks the file at `path`; the tensors themselves are not read.
  ///
  /// - Throws: `FileError` when the file cannot be opened, `ModelFileError` when it is not as it should be or has what is
  ///   not supported.
  package init(_ path: String) throws {
    self.path = path
    let file = try MappedFile(path)
    self.file = file
    func malformed(_ fault: String) -> ModelFileError { .malformed(path: path, fault: fault) }
    guard file.bytes.starts(with: Self.magic) else {
      throw malformed(
        file.bytes.isEmpty ? "the file is empty" : "it does not begin with GGUF as such a file does")
    }
    var cursor = GGUFCursor(file, at: Self.magic.count)
    do throws(GGUFCursor.Fault) {
      let version = try cursor.integer(UInt32.self)
      guard version == 2 || version == 3 else {
        throw .unsupported(
          version == 1
            ? "it is of version 1 of GGUF; versions 2 and 3 are read. Convert the model again with today's llama.cpp"
            : version.byteSwapped <= 3
              ? "its numbers are big-endian; little-endian files are read"
              : "it is of version \(version) of GGUF; versions 2 and 3 are read")
      }
      let tensorCount = try cursor.count("tensors", leastByteCount: 24)
      let metadata = GGUFMetadata(path: path, file: file, fields: try cursor.fields())
      self.metadata = metadata
      (tensors, indices) = try cursor.tensors(tensorCount, alignment: Self.alignment(metadata))
    } catch {
      throw error.error(path)
    }
  }

  private static func alignment(_ metadata: GGUFMetadata) throws(GGUFCursor.Fault) -> Int {
    guard let field = metadata["general.alignment"] else { return 32 }
    guard case .integer(let alignment) = field, alignment > 0, alignment <= 1 << 20, alignment.nonzeroBitCount == 1
    else { throw .malformed("general.alignment is not a power of two up to 1048576") }
    return alignment
  }

  /// The tensor of this name, if the file has it.
  package func tensor(_ name: String) -> Tensor? { indices[name].map { tensors[$0] } }

  /// The bytes of a tensor of this file, at any alignment. Valid while this object lives.
  package func bytes(of tensor: Tensor) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: file.bytes[tensor.offset..<tensor.offset + tensor.byteCount])
  }

  /// Advises the kernel that a tensor's bytes will not be read again soon, so that they no longer count as this
  /// program's memory.
  func release(_ tensor: Tensor) { file.release(tensor.offset..<tensor.offset + tensor.byteCount) }

  /// Writes the values of a tensor of this file in fp32 to `destination`, which has room for `tensor.count`.
  package func copy(_ tensor: Tensor, to destination: UnsafeMutablePointer<Float>) {
    guard let source = bytes(of: tensor).baseAddress else { return }
    tensor.type.widen(source, count: tensor.count, to: destination)
  }
}
