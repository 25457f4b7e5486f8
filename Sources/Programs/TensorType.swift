import Model

/// The type of a tensor of a program: what its elements are, and how many along each axis. Known before anything runs.
package struct TensorType: Hashable, Sendable, CustomStringConvertible {
  package var element: TensorElement
  /// Elements along each axis, the last of which is contiguous; empty for a single number.
  package var shape: [Int]

  package init(_ element: TensorElement, _ shape: [Int]) {
    self.element = element
    self.shape = shape
  }

  package var count: Int { shape.reduce(1, *) }
  package var byteCount: Int { count * element.byteCount }

  /// As StableHLO writes it: `tensor<2x3xf32>`.
  package var description: String { "tensor<\(shape.map { "\($0)x" }.joined())\(element.rawValue)>" }

  /// Elements between neighbours along each axis.
  package var strides: [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
    return strides
  }
}

/// What a tensor's elements are, by StableHLO's names.
package enum TensorElement: String, Sendable, CaseIterable {
  case float32 = "f32"
  case bfloat16 = "bf16"
  case int32 = "i32"
  case boolean = "i1"

  /// The type that the products of an engine take.
  package init(_ precision: ElementType) {
    self =
      switch precision {
      case .float32: .float32
      case .bfloat16: .bfloat16
      }
  }

  package var isFloat: Bool { self == .float32 || self == .bfloat16 }

  package var byteCount: Int {
    switch self {
    case .float32, .int32: 4
    case .bfloat16: 2
    case .boolean: 1
    }
  }
}
