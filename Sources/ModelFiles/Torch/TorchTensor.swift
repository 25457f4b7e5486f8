/// The names that a pickle of weights may mention.
package enum PickleGlobal: Equatable {
  /// `torch._utils._rebuild_tensor_v2`: storage, offset, sizes, strides, requires_grad, hooks.
  case rebuildTensor
  /// `torch._utils._rebuild_parameter`: tensor, requires_grad, hooks.
  case rebuildParameter
  /// `collections.OrderedDict`.
  case orderedDictionary
  /// `torch.FloatStorage` and its like.
  case storage(TorchElement)

  init?(module: String, name: String) {
    switch (module, name) {
    case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
    case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
    case ("collections", "OrderedDict"): self = .orderedDictionary
    case ("torch", _):
      guard let element = TorchElement(rawValue: name) else { return nil }
      self = .storage(element)
    default: return nil
    }
  }
}

/// The element types of PyTorch's storages, by the names in a pickle. Complex numbers occur in v1's table of rotations.
package enum TorchElement: String {
  case bool = "BoolStorage"
  case byte = "ByteStorage"
  case char = "CharStorage"
  case short = "ShortStorage"
  case int = "IntStorage"
  case long = "LongStorage"
  case half = "HalfStorage"
  case bfloat16 = "BFloat16Storage"
  case float = "FloatStorage"
  case double = "DoubleStorage"
  case complexFloat = "ComplexFloatStorage"
  case complexDouble = "ComplexDoubleStorage"

  /// The same type in a safetensors file; nil for complex numbers.
  var tensorType: TensorType? {
    switch self {
    case .bool: .bool
    case .byte: .uint8
    case .char: .int8
    case .short: .int16
    case .int: .int32
    case .long: .int64
    case .half: .float16
    case .bfloat16: .bfloat16
    case .float: .float32
    case .double: .float64
    case .complexFloat, .complexDouble: nil
    }
  }

  var byteCount: Int { tensorType?.byteCount ?? (self == .complexFloat ? 8 : 16) }

  /// The storage that holds elements of a safetensors type.
  init?(_ type: TensorType) {
    switch type {
    case .float16: self = .half
    case .bfloat16: self = .bfloat16
    case .float32: self = .float
    default: return nil
    }
  }
}

/// A file of the archive that holds elements, and how many.
package struct TorchStorage: Equatable {
  package var key: String
  package var type: TorchElement
  package var count: Int
}

/// A view of a storage: element (i, j, …) lies at `offset + i·strides[0] + j·strides[1] + …`.
package struct StridedTensor: Equatable {
  let storage: TorchStorage
  let offset: Int
  package let shape: [Int]
  let strides: [Int]
  let count: Int

  /// Nil when a number is missing or negative, or an element would lie outside the storage. A tensor that has more
  /// elements than its storage, by repeating them, is no weight either.
  init?(storage: TorchStorage, offset: Int, sizes: [Int?], strides: [Int?]) {
    guard offset >= 0, sizes.count == strides.count, sizes.count <= 8 else { return nil }
    var count = 1
    var last = offset
    var shape: [Int] = []
    var steps: [Int] = []
    for (size, stride) in zip(sizes, strides) {
      guard let size, let stride, size >= 0, stride >= 0 else { return nil }
      let (elements, overflows) = count.multipliedReportingOverflow(by: size)
      let (span, spanOverflows) = max(size - 1, 0).multipliedReportingOverflow(by: stride)
      let (end, endOverflows) = last.addingReportingOverflow(span)
      guard !overflows, !spanOverflows, !endOverflows else { return nil }
      (count, last) = (elements, end)
      shape.append(size)
      // An axis of one element has any stride, bounded by nothing, and takes no step.
      steps.append(size == 1 ? 0 : stride)
    }
    guard count <= storage.count, count == 0 || last < storage.count else { return nil }
    self.storage = storage
    self.offset = offset
    self.shape = shape
    self.strides = steps
    self.count = count
  }

  /// Whether the elements lie side by side in row-major order.
  var isContiguous: Bool {
    guard count > 0 else { return true }
    var expected = 1
    for (size, stride) in zip(shape, strides).reversed() where size != 1 {
      guard stride == expected else { return false }
      expected *= size
    }
    return true
  }

  /// Calls `body` with the place in the storage of each element, in row-major order.
  func forEachPlace(_ body: (Int) -> Void) {
    guard count > 0 else { return }
    var indices = [Int](repeating: 0, count: shape.count)
    var place = offset
    while true {
      body(place)
      var axis = shape.count - 1
      while axis >= 0 {
        indices[axis] += 1
        place += strides[axis]
        if indices[axis] < shape[axis] { break }
        place -= shape[axis] * strides[axis]
        indices[axis] = 0
        axis -= 1
      }
      if axis < 0 { return }
    }
  }
}
