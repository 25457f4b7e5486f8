import Storage

/// A value of a GGUF file's metadata.
package enum GGUFValue: Equatable, Sendable {
  case uint32(UInt32)
  case float32(Float)
  case bool(Bool)
  case string(String)
  case strings([String])
  case int32s([Int32])
  case float32s([Float])
  /// The number of its type and its bytes, as another file has them.
  case stored([UInt8])
}

/// Writes a GGUF file, version 3, tensor by tensor, so that no more than one of them need be in memory.
///
/// Format: docs/gguf.md of github.com/ggml-org/ggml. Magic, version, the counts of tensors and of metadata; the metadata;
/// name, shape, type and place of each tensor; then the tensors, each at a multiple of 32 bytes. All little endian.
package final class GGUFWriter {
  package struct Tensor {
    package var name: String
    /// Outermost axis first, as everywhere in this program; the file has them the other way round.
    package var shape: [Int]
    package var type: GGUFType

    package init(name: String, shape: [Int], type: GGUFType) {
      self.name = name
      self.shape = shape
      self.type = type
    }

    var count: Int { shape.reduce(1, *) }
    var byteCount: Int { count / type.blockSize * type.blockByteCount }
  }

  private let file: AtomicFile
  private let tensors: [Tensor]
  private var nextIndex = 0

  private static let alignment = 32

  /// Begins a file at `path` with the metadata and the descriptions of `tensors`, whose values then follow in this order.
  ///
  /// - Precondition: names are unique, and rows are whole blocks of their type.
  package init(_ path: String, metadata: [(key: String, value: GGUFValue)], tensors: [Tensor]) throws(FileError) {
    precondition(Set(tensors.map(\.name)).count == tensors.count, "two tensors of one name in \(path)")
    for tensor in tensors {
      precondition((tensor.shape.last ?? 0) % tensor.type.blockSize == 0, "\(tensor.name) \(tensor.shape)")
    }
    file = try AtomicFile(path)
    self.tensors = tensors
    var header = Array("GGUF".utf8)
    Self.append(UInt32(3), to: &header)
    Self.append(UInt64(tensors.count), to: &header)
    Self.append(UInt64(metadata.count), to: &header)
    for (key, value) in metadata {
      Self.append(key, to: &header)
      Self.append(value, to: &header)
    }
    var offset = 0
    for tensor in tensors {
      Self.append(tensor.name, to: &header)
      Self.append(UInt32(tensor.shape.count), to: &header)
      for size in tensor.shape.reversed() { Self.append(UInt64(size), to: &header) }
      Self.append(tensor.type.rawValue, to: &header)
      Self.append(UInt64(offset), to: &header)
      offset += tensor.byteCount + Self.padding(after: tensor.byteCount)
    }
    header += [UInt8](repeating: 0, count: Self.padding(after: header.count))
    try file.write(header)
  }

  /// Appends the next tensor.
  ///
  /// - Precondition: tensors remain, and `values` are as many as its shape says.
  /// - Throws: `FileError`, or `ModelFileError` when a value lies beyond the range of fp16.
  package func append(_ values: UnsafeBufferPointer<Float>) throws {
    precondition(nextIndex < tensors.count, "more tensors than planned")
    let tensor = tensors[nextIndex]
    precondition(values.count == tensor.count, "\(tensor.name): \(values.count) values, planned \(tensor.count)")
    nextIndex += 1
    let padding = Self.padding(after: tensor.byteCount)
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.byteCount + padding, alignment: 64)
    defer { bytes.deallocate() }
    bytes[tensor.byteCount...].initializeMemory(as: UInt8.self, repeating: 0)
    try tensor.type.encode(
      values, to: UnsafeMutableRawBufferPointer(rebasing: bytes[..<tensor.byteCount]), name: tensor.name,
      path: file.path)
    try file.write(UnsafeRawBufferPointer(bytes))
  }

  /// The finished file, which is not yet in place.
  ///
  /// - Precondition: every planned tensor was appended.
  package func finish() -> AtomicFile {
    precondition(nextIndex == tensors.count, "\(tensors.count - nextIndex) planned tensors are missing")
    return file
  }

  private static func padding(after count: Int) -> Int { (alignment - count % alignment) % alignment }

  // MARK: - Encoding

  private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }

  private static func append(_ text: String, to bytes: inout [UInt8]) {
    append(UInt64(text.utf8.count), to: &bytes)
    bytes += text.utf8
  }

  /// The number of the value's type, `gguf_metadata_value_type`, and the value.
  private static func append(_ value: GGUFValue, to bytes: inout [UInt8]) {
    let (int32, float32, string, array): (UInt32, UInt32, UInt32, UInt32) = (5, 6, 8, 9)
    switch value {
    case .stored(let stored): bytes += stored
    case .uint32(let number):
      append(UInt32(4), to: &bytes)
      append(number, to: &bytes)
    case .float32(let number):
      append(float32, to: &bytes)
      append(number.bitPattern, to: &bytes)
    case .bool(let truth):
      append(UInt32(7), to: &bytes)
      append(UInt8(truth ? 1 : 0), to: &bytes)
    case .string(let text):
      append(string, to: &bytes)
      append(text, to: &bytes)
    case .strings(let texts):
      append(array, to: &bytes)
      append(string, to: &bytes)
      append(UInt64(texts.count), to: &bytes)
      for text in texts { append(text, to: &bytes) }
    case .int32s(let numbers):
      append(array, to: &bytes)
      append(int32, to: &bytes)
      append(UInt64(numbers.count), to: &bytes)
      for number in numbers { append(number, to: &bytes) }
    case .float32s(let numbers):
      append(array, to: &bytes)
      append(float32, to: &bytes)
      append(UInt64(numbers.count), to: &bytes)
      for number in numbers { append(number.bitPattern, to: &bytes) }
    }
  }
}
