/// What a device's kernel of attention has shown when it was tried.
package enum AttentionVerdict: Hashable, Codable, Sendable, CustomStringConvertible {
  /// - Parameter difference: from the composed one on the device, at most, relative to the largest number.
  case works(difference: Double)
  case fails(reason: String)

  package var works: Bool { if case .works = self { true } else { false } }

  package var description: String {
    switch self {
    case .works(let difference): "by its kernel, which differs by \(Float(difference)) from the composed one here"
    case .fails(let reason): "composed. The kernel is not used: \(reason)"
    }
  }
}
