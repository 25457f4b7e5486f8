/// The types of tensors in a GGUF file that this program reads: `ggml_type` in ggml.h.
package enum GGUFType: UInt32, CaseIterable, Sendable {
  case float32 = 0
  case float16 = 1
  /// Blocks of 32 values: a scale, and 4 or 5 bits each, in the `_1` types with the least value of the block.
  case q4x0 = 2
  case q4x1 = 3
  case q5x0 = 6
  case q5x1 = 7
  case q8x0 = 8
  /// Blocks of 256 values with scales of their parts.
  case q4K = 12
  case q5K = 13
  case q6K = 14
  case bfloat16 = 30

  /// The name in ggml.
  package var name: String { Self.names[Int(rawValue)] }

  /// The names of all types by their numbers; empty for numbers that are free.
  private static let names = [
    "F32", "F16", "Q4_0", "Q4_1", "", "", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64",
    "F64", "IQ1_M", "BF16", "", "", "", "TQ1_0", "TQ2_0", "", "", "", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
  ]

  /// What a message calls the type of a number, whether it is read or not.
  static func name(of number: UInt32) -> String {
    let name = number < UInt32(names.count) ? names[Int(number)] : ""
    return name.isEmpty ? "of an unknown type, \(number)," : name
  }

  /// The same type in a safetensors file; nil for one of blocks.
  var tensorType: TensorType? {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    default: nil
    }
  }

  /// Values that are stored together. A row is a whole number of these.
  package var blockSize: Int {
    switch self {
    case .float32, .float16, .bfloat16: 1
    case .q4x0, .q4x1, .q5x0, .q5x1, .q8x0: 32
    case .q4K, .q5K, .q6K: 256
    }
  }

  /// Bytes of a block.
  package var blockByteCount: Int {
    switch self {
    case .float32: 4
    case .float16, .bfloat16: 2
    case .q4x0: 18
    case .q4x1: 20
    case .q5x0: 22
    case .q5x1: 24
    case .q8x0: 34
    case .q4K: 144
    case .q5K: 176
    case .q6K: 210
    }
  }
}
