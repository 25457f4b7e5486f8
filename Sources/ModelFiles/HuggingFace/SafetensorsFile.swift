import Storage

/// A safetensors file, mapped into memory and checked whole before anything in it is used.
///
/// Format: eight bytes N, little endian; N bytes of JSON that name each tensor's type, shape and byte
/// range; then the bytes. As in the reference implementation the ranges must cover the rest of the
/// file without gaps or overlaps.
public final class SafetensorsFile: Sendable {
  public struct Tensor: Sendable, Equatable {
    public let name: String
    public let type: TensorType
    public let shape: [Int]
    /// Place in the file.
    let offset: Int
    public let byteCount: Int

    /// Elements of the tensor.
    public var count: Int { byteCount / type.byteCount }
  }

  public let path: String
  /// In the order of their bytes.
  public let tensors: [Tensor]
  public let metadata: [String: String]
  private let file: MappedFile
  private let indices: [String: Int]

  /// The largest header accepted: far above any real one, and a bound on memory.
  static let maximumHeaderByteCount = 32 << 20

  /// Maps and checks the file at `path`; the tensors themselves are not read.
  ///
  /// - Throws: `FileError` when the file cannot be opened, `ModelFileError` when it is not as it should be.
  public init(_ path: String) throws {
    self.path = path
    file = try MappedFile(path)
    let bytes = file.bytes
    func malformed(_ fault: String) -> ModelFileError { .malformed(path: path, fault: fault) }

    guard bytes.count >= 8 else {
      throw malformed(bytes.isEmpty ? "the file is empty" : "\(bytes.count) bytes are too few for a safetensors file")
    }
    let headerCount = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard headerCount <= UInt64(bytes.count - 8) else {
      throw malformed("the header should take \(headerCount) bytes, the file has \(bytes.count - 8) left")
    }
    guard headerCount <= UInt64(Self.maximumHeaderByteCount) else {
      throw malformed("a header of \(headerCount) bytes is larger than any real one")
    }
    let dataOffset = 8 + Int(headerCount)
    let header: JSON
    do {
      header = try JSON(parsing: UnsafeRawBufferPointer(rebasing: bytes[8..<dataOffset]))
    } catch {
      throw malformed("the header is " + error.description)
    }
    guard case .object(let members) = header else { throw malformed("the header is not a JSON object") }

    var tensors: [Tensor] = []
    var metadata: [String: String] = [:]
    for member in members {
      if member.key == "__metadata__" {
        guard case .object(let pairs) = member.value else { throw malformed("__metadata__ is not an object") }
        for pair in pairs { metadata[pair.key] = pair.value.stringValue }
        continue
      }
      do throws(TensorFault) {
        tensors.append(try Self.tensor(member, dataOffset: dataOffset, fileByteCount: bytes.count))
      } catch {
        throw malformed("tensor '\(member.key.prefix(200))' " + error.text)
      }
    }
    tensors.sort { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
    var end = dataOffset
    for tensor in tensors {
      guard tensor.offset == end else {
        throw malformed("the bytes of tensor '\(tensor.name.prefix(200))' overlap others or leave a gap")
      }
      end += tensor.byteCount
    }
    guard end == bytes.count else { throw malformed("\(bytes.count - end) bytes at the end belong to no tensor") }
    self.tensors = tensors
    self.metadata = metadata
    let indices = Dictionary(tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    // The same to Swift's strings, though not to the byte: "é" can be spelled in two ways.
    guard indices.count == tensors.count else { throw malformed("two tensors have the same name") }
    self.indices = indices
  }

  private struct TensorFault: Error { var text: String }

  private static func tensor(
    _ member: JSON.Member, dataOffset: Int, fileByteCount: Int
  ) throws(TensorFault) -> Tensor {
    guard let typeName = member.value["dtype"]?.stringValue else { throw TensorFault(text: "has no dtype") }
    guard let type = TensorType(rawValue: typeName) else {
      throw TensorFault(text: "has the unknown element type '\(typeName.prefix(40))'")
    }
    guard let dimensions = member.value["shape"]?.arrayValue, dimensions.count <= 16 else {
      throw TensorFault(text: "has no usable shape")
    }
    var shape: [Int] = []
    var byteCount = type.byteCount
    for dimension in dimensions {
      guard let size = dimension.integerValue, size >= 0 else { throw TensorFault(text: "has no usable shape") }
      let (product, overflows) = byteCount.multipliedReportingOverflow(by: size)
      guard !overflows else { throw TensorFault(text: "has an absurd shape") }
      byteCount = product
      shape.append(size)
    }
    guard let offsets = member.value["data_offsets"]?.arrayValue, offsets.count == 2,
      let begin = offsets[0].integerValue, let end = offsets[1].integerValue, begin >= 0, begin <= end
    else { throw TensorFault(text: "has no usable data_offsets") }
    guard end <= fileByteCount - dataOffset else {
      throw TensorFault(text: "should end at byte \(end) of the data, which has \(fileByteCount - dataOffset)")
    }
    guard end - begin == byteCount else {
      throw TensorFault(text: "of shape \(shape) needs \(byteCount) bytes and is given \(end - begin)")
    }
    return Tensor(name: member.key, type: type, shape: shape, offset: dataOffset + begin, byteCount: byteCount)
  }

  /// The tensor of this name, if the file has it.
  public func tensor(_ name: String) -> Tensor? { indices[name].map { tensors[$0] } }

  /// The whole file. Valid while this object lives.
  var bytes: UnsafeRawBufferPointer { file.bytes }

  /// The bytes of a tensor of this file, at any alignment. Valid while this object lives.
  public func bytes(of tensor: Tensor) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: file.bytes[tensor.offset..<tensor.offset + tensor.byteCount])
  }

  /// Advises the kernel that a tensor's bytes will not be read again soon, so that they no longer count as this
  /// program's memory.
  func release(_ tensor: Tensor) { file.release(tensor.offset..<tensor.offset + tensor.byteCount) }

  /// The values of a tensor of this file in fp32.
  ///
  /// - Throws: `ModelFileError.unsupported` when its elements are not floating-point numbers of 16 or 32 bits.
  public func floats(of tensor: Tensor) throws -> [Float] {
    try [Float](unsafeUninitializedCapacity: tensor.count) { buffer, count in
      if let base = buffer.baseAddress { try copy(tensor, to: base) }
      count = tensor.count
    }
  }

  /// Writes the values of a tensor of this file in fp32 to `destination`, which has room for `tensor.count`.
  ///
  /// - Throws: `ModelFileError.unsupported` when its elements are not floating-point numbers of 16 or 32 bits.
  public func copy(_ tensor: Tensor, to destination: UnsafeMutablePointer<Float>) throws {
    guard let source = bytes(of: tensor).baseAddress else { return }
    guard TensorConversion.widen(source, tensor.type, count: tensor.count, to: destination) else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "tensor '\(tensor.name.prefix(200))' is \(tensor.type.rawValue); F32, BF16 and F16 weights are read")
    }
  }
}
