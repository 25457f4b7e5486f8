import Model

/// The element types that a safetensors file can hold, by their names there.
public enum TensorType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case int16 = "I16"
  case uint16 = "U16"
  case int32 = "I32"
  case uint32 = "U32"
  case int64 = "I64"
  case uint64 = "U64"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case float32 = "F32"
  case float64 = "F64"

  public var byteCount: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .int16, .uint16, .float16, .bfloat16: 2
    case .int32, .uint32, .float32: 4
    case .int64, .uint64, .float64: 8
    }
  }
}

/// Conversions between stored elements and the working types. Sources may lie at any address.
public enum TensorConversion {
  /// Widens `count` stored elements to fp32; false when the type holds no such numbers.
  public static func widen(
    _ source: UnsafeRawPointer, _ type: TensorType, count: Int, to destination: UnsafeMutablePointer<Float>
  ) -> Bool {
    switch type {
    case .float32: UnsafeMutableRawPointer(destination).copyMemory(from: source, byteCount: count * 4)
    case .bfloat16:
      for i in 0..<count {
        destination[i] = BFloat16(bitPattern: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)).float
      }
    case .float16:
      for i in 0..<count {
        destination[i] = Float(Float16(bitPattern: source.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)))
      }
    default: return false
    }
    return true
  }

  /// Writes fp32 values as `type` to `destination`, which has exactly room for them.
  ///
  /// - Parameters:
  ///   - name: the weight, and `path` the file that is being written, for the message.
  /// - Precondition: `type` is a floating-point type of 16 or 32 bits.
  /// - Throws: `ModelFileError` when a value lies beyond the range of fp16.
  package static func narrow(
    _ values: UnsafeBufferPointer<Float>, to type: TensorType, at destination: UnsafeMutableRawBufferPointer,
    name: String, path: String
  ) throws(ModelFileError) {
    precondition(destination.count == values.count * type.byteCount, "\(name): room for \(destination.count) bytes")
    guard let source = values.baseAddress, let target = destination.baseAddress else { return }
    switch type {
    case .float32: target.copyMemory(from: source, byteCount: destination.count)
    case .bfloat16:
      let rounded = target.bindMemory(to: BFloat16.self, capacity: values.count)
      for i in 0..<values.count { rounded[i] = BFloat16(source[i]) }
    case .float16:
      let half = target.bindMemory(to: Float16.self, capacity: values.count)
      var areFinite = true
      for i in 0..<values.count {
        half[i] = Float16(source[i])
        areFinite = areFinite && half[i].isFinite
      }
      guard areFinite else {
        throw .unsupported(
          path: path, feature: "'\(name)' has values beyond 65504, the largest of fp16; choose --type bf16 or fp32")
      }
    default: preconditionFailure("fp32 values cannot be stored as \(type)")
    }
  }

  /// Whether all values are finite numbers.
  public static func areFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
    // Or-ing a flag keeps the loop free of branches, so that it runs at the speed of memory.
    var found: UInt32 = 0
    for i in 0..<count {
      let exponent = values[i].bitPattern & 0x7F80_0000
      found |= exponent == 0x7F80_0000 ? 1 : 0
    }
    return found == 0
  }
}
