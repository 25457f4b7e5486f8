/// How weights are stored in the files that this program writes.
package enum WeightEncoding: String, CaseIterable, Sendable {
  case float32 = "fp32"
  case float16 = "fp16"
  case bfloat16 = "bf16"
  /// GGUF's q8_0, blocks of 32 values: one fp16 scale and 32 signed bytes.
  case q8
  /// GGUF's q4_0, blocks of 32 values: one fp16 scale and 4 bits each.
  case q4
  /// GGUF's q4_K, blocks of 256 values.
  case q4K = "q4_K"

  /// The same type in safetensors files and PyTorch's; nil for one that only GGUF has.
  package var tensorType: TensorType? { ggufType.tensorType }

  /// The encoding that loses nothing of stored weights; fp32 when there is no such type.
  package init(keeping type: TensorType?) {
    self = Self.allCases.first { $0.tensorType == type && type != nil } ?? .float32
  }

  /// The type of a matrix in a GGUF file.
  package var ggufType: GGUFType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .q8: .q8x0
    case .q4: .q4x0
    case .q4K: .q4K
    }
  }

  /// That of a matrix of `columns` columns. Rows that are no whole blocks of q4_K are stored as q5_0, as llama.cpp's own
  /// quantizer does it.
  package func ggufType(columns: Int) -> GGUFType {
    self == .q4K && columns % ggufType.blockSize != 0 ? .q5x0 : ggufType
  }

  /// The number of a file whose matrices are of this type: `llama_ftype` in llama.h.
  package var ggmlFileType: UInt32 {
    switch self {
    case .float32: 0
    case .float16: 1
    case .q4: 2
    case .q8: 7
    // Q4_K_S: q4_K for most; Q4_K_M has others for some.
    case .q4K: 14
    case .bfloat16: 32
    }
  }
}
