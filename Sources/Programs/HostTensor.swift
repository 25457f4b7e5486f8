import Model

/// The numbers of a tensor in the host's memory.
package struct HostTensor: Equatable, Sendable {
  package let type: TensorType
  package let values: Values

  /// [type.count] the elements, the last axis contiguous. Those of bfloat16 are floats, too.
  package enum Values: Equatable, Sendable {
    case floats([Float])
    case integers([Int32])
    case booleans([Bool])

    package var count: Int {
      switch self {
      case .floats(let values): values.count
      case .integers(let values): values.count
      case .booleans(let values): values.count
      }
    }

    /// The elements at some places.
    func picking(_ places: [Int]) -> Values {
      switch self {
      case .floats(let values): .floats(places.map { values[$0] })
      case .integers(let values): .integers(places.map { values[$0] })
      case .booleans(let values): .booleans(places.map { values[$0] })
      }
    }
  }

  /// - Precondition: as many values as the type says, and of its kind. Floats of a bfloat16 tensor are rounded.
  package init(_ type: TensorType, _ values: Values) {
    switch (type.element, values) {
    case (.float32, .floats), (.int32, .integers), (.boolean, .booleans): self.values = values
    case (.bfloat16, .floats(let numbers)): self.values = .floats(numbers.map { BFloat16($0).float })
    default: preconditionFailure("values of another kind than \(type)")
    }
    precondition(values.count == type.count, "\(values.count) values for \(type)")
    self.type = type
  }

  package init(_ floats: [Float], _ shape: [Int], _ element: TensorElement = .float32) {
    self.init(TensorType(element, shape), .floats(floats))
  }

  package init(integers: [Int32], _ shape: [Int]) { self.init(TensorType(.int32, shape), .integers(integers)) }

  /// - Precondition: of float32 or bfloat16.
  package var floats: [Float] {
    guard case .floats(let values) = values else { preconditionFailure("\(type) has no floats") }
    return values
  }

  /// - Precondition: of int32.
  package var integers: [Int32] {
    guard case .integers(let values) = values else { preconditionFailure("\(type) has no integers") }
    return values
  }

  /// - Precondition: of booleans.
  package var booleans: [Bool] {
    guard case .booleans(let values) = values else { preconditionFailure("\(type) has no booleans") }
    return values
  }
}
