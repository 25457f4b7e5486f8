/// Blocks of quantized values, made as the reference quantizers of ggml-quants.c make them.
extension GGUFType {
  /// Whether this program writes it.
  var isWritten: Bool {
    switch self {
    case .float32, .float16, .bfloat16, .q8x0, .q4x0, .q5x0, .q4K: true
    case .q4x1, .q5x1, .q5K, .q6K: false
    }
  }

  /// Writes `values`, whole blocks, to `destination`, which has exactly room for them.
  ///
  /// - Parameters:
  ///   - name: the tensor, and `path` the file that is being written, for the message.
  /// - Precondition: `isWritten`.
  /// - Throws: `ModelFileError` when a value, or the scale of a block, lies beyond the range of fp16.
  func encode(
    _ values: UnsafeBufferPointer<Float>, to destination: UnsafeMutableRawBufferPointer, name: String, path: String
  ) throws(ModelFileError) {
    if let tensorType {
      return try TensorConversion.narrow(values, to: tensorType, at: destination, name: name, path: path)
    }
    precondition(
      values.count % blockSize == 0 && destination.count == values.count / blockSize * blockByteCount,
      "\(values.count) values")
    guard let source = values.baseAddress, let target = destination.baseAddress?.assumingMemoryBound(to: UInt8.self)
    else { return }
    let encodeBlock: (UnsafePointer<Float>, UnsafeMutablePointer<UInt8>) -> Bool =
      switch self {
      case .q8x0: Self.encodeQ8x0
      case .q4x0: Self.encodeQ4x0
      case .q5x0: Self.encodeQ5x0
      case .q4K: Self.encodeQ4K
      default: preconditionFailure("\(self.name) is not written")
      }
    for block in 0..<values.count / blockSize {
      guard encodeBlock(source + block * blockSize, target + block * blockByteCount) else {
        throw .unsupported(
          path: path,
          feature: "'\(name)' has values beyond \(largestValue), the largest of \(encodingName); "
            + "choose --type bf16 or fp32")
      }
    }
  }

  /// What a block of the type can hold, whose scale is an fp16 number.
  private var largestValue: Int {
    switch self {
    case .q8x0: 65504 * 127
    case .q4x0: 65504 * 8
    case .q5x0: 65504 * 16
    // The scales of parts are at most the 63 steps of the scale.
    default: 1_000_000
    }
  }

  private var encodingName: String { WeightEncoding.allCases.first { $0.ggufType == self }?.rawValue ?? name }

  /// Stores an fp16 number; false where it would be infinite.
  @inline(__always)
  private static func store(_ value: Float, _ target: UnsafeMutablePointer<UInt8>) -> Bool {
    let stored = Float16(value)
    target[0] = UInt8(truncatingIfNeeded: stored.bitPattern)
    target[1] = UInt8(truncatingIfNeeded: stored.bitPattern >> 8)
    return stored.isFinite
  }

  /// 1 / scale; 0 for one near zero, whose inverse is infinite: it is zero in fp16, and so is the block.
  @inline(__always)
  private static func inverse(_ scale: Float) -> Float { (1 / scale).isFinite ? 1 / scale : 0 }

  /// `quantize_row_q8_0_ref`: d = max |x| / 127 is stored as fp16, and q = round(x / d), halves away from zero, where d is
  /// not yet rounded.
  private static func encodeQ8x0(_ values: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) -> Bool {
    let scale = (0..<32).reduce(Float(0)) { max($0, abs(values[$1])) } / 127
    guard store(scale, target) else { return false }
    let inverse = inverse(scale)
    for i in 0..<32 {
      target[2 + i] = UInt8(bitPattern: Int8((values[i] * inverse).rounded(.toNearestOrAwayFromZero)))
    }
    return true
  }

  /// The value of the largest magnitude, the first of them.
  @inline(__always)
  private static func largest(_ values: UnsafePointer<Float>) -> Float {
    var largest: Float = 0
    for i in 0..<32 where abs(values[i]) > abs(largest) { largest = values[i] }
    return largest
  }

  /// `quantize_row_q4_0_ref`: d = x / -8 for the x of the largest magnitude, q = ⌊x / d + 8.5⌋, at most 15.
  private static func encodeQ4x0(_ values: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) -> Bool {
    let scale = largest(values) / -8
    guard store(scale, target) else { return false }
    let inverse = inverse(scale)
    for i in 0..<16 {
      let low = min(15, UInt8(values[i] * inverse + 8.5))
      let high = min(15, UInt8(values[i + 16] * inverse + 8.5))
      target[2 + i] = low | high << 4
    }
    return true
  }

  /// `quantize_row_q5_0_ref`: as q4_0 with 16 in place of 8; the fifth bits lie apart.
  private static func encodeQ5x0(_ values: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) -> Bool {
    let scale = largest(values) / -16
    guard store(scale, target) else { return false }
    let inverse = inverse(scale)
    var highBits: UInt32 = 0
    for i in 0..<16 {
      let low = min(31, UInt8(values[i] * inverse + 16.5))
      let high = min(31, UInt8(values[i + 16] * inverse + 16.5))
      target[6 + i] = low & 15 | high << 4
      highBits |= UInt32(low >> 4) << UInt32(i) | UInt32(high >> 4) << UInt32(i + 16)
    }
    for byte in 0..<4 { target[2 + byte] = UInt8(truncatingIfNeeded: highBits >> UInt32(8 * byte)) }
    return true
  }
}
