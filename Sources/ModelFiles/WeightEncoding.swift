/// How weights are stored in the files that this program writes.
package enum WeightEncoding: String, CaseIterable, Sendable {
  case float32 = "fp32"
  case float16 = "fp16"
  case bfloat16 = "bf16"
  /// GGUF's q8_0, blocks of 32 values: one fp16 scale and 32 signed bytes.
  case q8

  /// The same type in safetensors files and PyTorch's; nil for one that only GGUF has.
  package var tensorType: TensorType? {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .q8: nil
    }
  }

  /// The encoding that loses nothing of stored weights; fp32 when there is no such type.
  package init(keeping type: TensorType?) {
    self = Self.allCases.first { $0.tensorType == type && type != nil } ?? .float32
  }

  /// The number of the type in a GGUF file: `ggml_type` in ggml.h.
  var ggmlType: UInt32 {
    switch self {
    case .float32: 0
    case .float16: 1
    case .q8: 8
    case .bfloat16: 30
    }
  }

  /// The number of a file whose matrices are of this type: `llama_ftype` in llama.h.
  package var ggmlFileType: UInt32 {
    switch self {
    case .float32: 0
    case .float16: 1
    case .q8: 7
    case .bfloat16: 32
    }
  }

  /// Values that are stored together. A row is a whole number of these.
  package var blockSize: Int { self == .q8 ? 32 : 1 }

  /// Bytes of `count` values, a multiple of `blockSize`.
  func byteCount(of count: Int) -> Int { tensorType.map { count * $0.byteCount } ?? count / 32 * 34 }

  /// Writes `values` to `destination`, which has exactly room for them.
  ///
  /// - Throws: `ModelFileError` when a value, or the scale of a block, lies beyond the range of fp16.
  func encode(
    _ values: UnsafeBufferPointer<Float>, to destination: UnsafeMutableRawBufferPointer, name: String, path: String
  ) throws(ModelFileError) {
    if let tensorType {
      try TensorConversion.narrow(values, to: tensorType, at: destination, name: name, path: path)
    } else {
      try encodeQ8(values, to: destination, name: name, path: path)
    }
  }

  /// q8_0, bit for bit as `quantize_row_q8_0_ref` in ggml-quants.c: in each block d = max |x| / 127 is stored as fp16,
  /// and q = round(x / d), halves away from zero, where d is not yet rounded.
  private func encodeQ8(
    _ values: UnsafeBufferPointer<Float>, to destination: UnsafeMutableRawBufferPointer, name: String, path: String
  ) throws(ModelFileError) {
    precondition(values.count % 32 == 0 && destination.count == values.count / 32 * 34, "\(values.count) values")
    for block in 0..<values.count / 32 {
      let source = UnsafeBufferPointer(rebasing: values[32 * block..<32 * block + 32])
      let scale = source.reduce(0) { max($0, abs($1)) } / 127
      let stored = Float16(scale)
      guard stored.isFinite else {
        throw .unsupported(
          path: path, feature: "'\(name)' has values beyond 8319008, the largest of q8; choose --type bf16 or fp32")
      }
      // The inverse of a d near zero is infinite; such a d is zero in fp16, and so is the block.
      let inverse = (1 / scale).isFinite ? 1 / scale : 0
      destination.storeBytes(of: stored.bitPattern, toByteOffset: 34 * block, as: UInt16.self)
      for (i, value) in source.enumerated() {
        destination.storeBytes(
          of: Int8((value * inverse).rounded(.toNearestOrAwayFromZero)), toByteOffset: 34 * block + 2 + i,
          as: Int8.self)
      }
    }
  }
}
