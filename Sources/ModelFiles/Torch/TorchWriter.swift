import Storage

/// Writes weights as `torch.save` does, for `torch.load(path, weights_only=True)`.
package enum TorchWriter {
  /// A weight to be written.
  package struct Weight {
    /// More than one name where a model ties weights.
    package var names: [String]
    package var shape: [Int]
  }

  /// A weight that is laid out.
  package struct Tensor {
    /// More than one name for weights that a model ties.
    package var names: [String]
    package var shape: [Int]
    /// The elements, row by row; the memory must stay until the file is written.
    package var bytes: UnsafeRawBufferPointer

    package init(names: [String], shape: [Int], bytes: UnsafeRawBufferPointer) {
      self.names = names
      self.shape = shape
      self.bytes = bytes
    }
  }

  /// Writes a dictionary of weights, narrowed to `type`, which appears at `path` whole or not at all.
  ///
  /// - Parameter withValues: gives the elements of the weight of that number, row by row.
  /// - Throws: `ModelFileError` when a weight does not fit into the type; `FileError`; what `withValues` throws.
  package static func write(
    _ weights: [Weight], type: TensorType, to path: String,
    withValues: (_ weight: Int, _ body: (UnsafeBufferPointer<Float>) throws -> Void) throws -> Void
  ) throws {
    // libzip reads the elements from memory when the archive is closed, so all of them are laid out first.
    let byteCounts = weights.map { $0.shape.reduce(type.byteCount, *) }
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCounts.reduce(0, +), alignment: 64)
    defer { block.deallocate() }
    var tensors: [Tensor] = []
    var offset = 0
    for (index, weight) in weights.enumerated() {
      let bytes = UnsafeMutableRawBufferPointer(rebasing: block[offset..<offset + byteCounts[index]])
      try withValues(index) { try TensorConversion.narrow($0, to: type, at: bytes, name: weight.names[0], path: path) }
      tensors.append(Tensor(names: weight.names, shape: weight.shape, bytes: UnsafeRawBufferPointer(bytes)))
      offset += byteCounts[index]
    }
    try write(tensors, type: type, to: path)
  }

  /// Writes a dictionary of `tensors`, which appears at `path` whole or not at all.
  ///
  /// - Precondition: `type` is a floating-point type of 16 or 32 bits, and each tensor has as many bytes as its shape says.
  /// - Throws: `FileError`.
  package static func write(_ tensors: [Tensor], type: TensorType, to path: String) throws {
    guard let element = TorchElement(type) else { preconditionFailure("\(type) is no type of weights") }
    var pickle: [UInt8] = [0x80, 2]  // PROTO 2
    pickle += "}(".utf8  // EMPTY_DICT MARK
    for (key, tensor) in tensors.enumerated() {
      precondition(tensor.bytes.count == tensor.shape.reduce(type.byteCount, *), "\(tensor.names) has another size")
      for name in tensor.names {
        append(name, to: &pickle)
        append(tensor.shape, storage: String(key), element, to: &pickle)
      }
    }
    pickle += "u.".utf8  // SETITEMS STOP
    let texts = [("data.pkl", pickle), ("byteorder", Array("little".utf8)), ("version", Array("3\n".utf8))]
    // One block of memory for the small entries, since libzip reads them when the archive is closed.
    let block = texts.flatMap(\.1)
    try block.withUnsafeBytes { block in
      var offset = 0
      var entries: [ZipWriter.Entry] = []
      for (name, content) in texts {
        let bytes = UnsafeRawBufferPointer(rebasing: block[offset..<offset + content.count])
        entries.append(ZipWriter.Entry(name: "archive/" + name, bytes: bytes))
        offset += content.count
      }
      for (key, tensor) in tensors.enumerated() {
        entries.append(ZipWriter.Entry(name: "archive/data/\(key)", bytes: tensor.bytes))
      }
      try ZipWriter.write(entries, to: path)
    }
  }

  /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
  private static func append(
    _ shape: [Int], storage key: String, _ element: TorchElement, to pickle: inout [UInt8]
  ) {
    pickle += "ctorch._utils\n_rebuild_tensor_v2\n((".utf8
    append("storage", to: &pickle)
    pickle += "ctorch\n\(element.rawValue)\n".utf8
    append(key, to: &pickle)
    append("cpu", to: &pickle)
    append(shape.reduce(1, *), to: &pickle)
    pickle += "tQ".utf8  // TUPLE BINPERSID
    append(0, to: &pickle)
    for numbers in [shape, rowMajorStrides(shape)] {
      pickle.append(UInt8(ascii: "("))
      for number in numbers { append(number, to: &pickle) }
      pickle.append(UInt8(ascii: "t"))
    }
    pickle.append(0x89)  // NEWFALSE
    pickle += "ccollections\nOrderedDict\n)RtR".utf8  // …EMPTY_TUPLE REDUCE, TUPLE REDUCE
  }

  private static func rowMajorStrides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
    return strides
  }

  private static func append(_ text: String, to pickle: inout [UInt8]) {
    pickle.append(UInt8(ascii: "X"))
    withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { pickle += $0 }
    pickle += text.utf8
  }

  private static func append(_ number: Int, to pickle: inout [UInt8]) {
    if let small = Int32(exactly: number) {
      pickle.append(UInt8(ascii: "J"))
      withUnsafeBytes(of: small.littleEndian) { pickle += $0 }
    } else {
      pickle += [0x8A, 8]  // LONG1
      withUnsafeBytes(of: number.littleEndian) { pickle += $0 }
    }
  }
}
