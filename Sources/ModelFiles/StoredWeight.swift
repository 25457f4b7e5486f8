/// A weight in a file, whatever the file's format, under the name and in the order of rows that Hugging Face has for it.
package protocol StoredWeight: Sendable {
  /// The name in the file, which may be another.
  var storedName: String { get }
  /// The file.
  var path: String { get }
  var shape: [Int] { get }
  /// The type of the elements; nil for one that only its format has.
  var type: TensorType? { get }
  /// As they lie in the file, at any alignment, in its own order. Valid while this value lives.
  var bytes: UnsafeRawBufferPointer { get }

  /// Some of its rows as a weight; nil where the file has them in another order.
  func rows(_ range: Range<Int>) -> (any StoredWeight)?
  /// Writes the values in fp32 to `destination`, which has room for `count`.
  ///
  /// - Throws: `ModelFileError` when the type is not read.
  func copy(to destination: UnsafeMutablePointer<Float>) throws
  /// Advises the kernel that the bytes will not be read again soon, so that they no longer count as this program's memory.
  func release()
}

extension StoredWeight {
  package var count: Int { shape.reduce(1, *) }

  /// The values in fp32.
  ///
  /// - Throws: `ModelFileError` when the type is not read.
  func floats() throws -> [Float] {
    try [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let base = buffer.baseAddress { try copy(to: base) }
      initialized = count
    }
  }
}

/// A weight of a safetensors file.
struct SafetensorsWeight: StoredWeight {
  let file: SafetensorsFile
  /// That of the file, or the part of it that is the weight.
  let tensor: SafetensorsFile.Tensor

  var storedName: String { tensor.name }
  var path: String { file.path }
  var shape: [Int] { tensor.shape }
  var type: TensorType? { tensor.type }
  var bytes: UnsafeRawBufferPointer { file.bytes(of: tensor) }

  func rows(_ range: Range<Int>) -> (any StoredWeight)? {
    let rowByteCount = tensor.shape.dropFirst().reduce(tensor.type.byteCount, *)
    return SafetensorsWeight(
      file: file,
      tensor: SafetensorsFile.Tensor(
        name: tensor.name, type: tensor.type, shape: [range.count] + tensor.shape.dropFirst(),
        offset: tensor.offset + range.lowerBound * rowByteCount, byteCount: range.count * rowByteCount))
  }

  func copy(to destination: UnsafeMutablePointer<Float>) throws { try file.copy(tensor, to: destination) }
  func release() { file.release(tensor) }
}
