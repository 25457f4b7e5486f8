/// Where dropout's choices come from: a row has a key of 64 bits, by SplitMix64's finaliser, that depends on nothing else than a
/// seed, the number of the mask and that of the row. An element is hashed from the key and its column by a 32-bit finaliser of
/// the same kind (Wellons, "hash-prospector", lowbias32), and left out where its hash is below a threshold:
///
///     h ← low + column·0x9E3779B9        h ← (h ⊕ h≫16)·0x7FEB352D        h ← (h ⊕ h≫15 ⊕ high)·0x846CA68B
///     left out where h ⊕ h≫16 < threshold
package struct DropoutKeys: Sendable {
  private let seed: UInt64

  package static let columnFactor: UInt32 = 0x9E37_79B9
  package static let firstFactor: UInt32 = 0x7FEB_352D
  package static let secondFactor: UInt32 = 0x846C_A68B

  /// - Parameter stream: numbers one of the independent masks of a seed.
  package init(seed: UInt64, stream: UInt64) {
    self.seed = Self.mixed(seed &+ stream &* 0x9E37_79B9_7F4A_7C15)
  }

  /// - Parameter rate: the probability of being left out, in 0..<1.
  package static func threshold(rate: Float) -> UInt32 { UInt32(Double(rate) * 0x1p32) }

  /// What the elements that stay are multiplied by, so that the mean stays too.
  package static func keptScale(rate: Float) -> Float { 1 / (1 - rate) }

  /// - Parameter row: counted from the first row of a run.
  package func ofRow(_ row: Int) -> (low: UInt32, high: UInt32) {
    let key = Self.mixed(seed ^ UInt64(truncatingIfNeeded: row))
    return (UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32))
  }

  /// SplitMix64's finaliser.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var bits = value &+ 0x9E37_79B9_7F4A_7C15
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }
}

extension LoRAPlace {
  /// The number of the mask of what the place's adapters read, in a layer.
  package func dropoutStream(_ layer: Int, of layerCount: Int) -> UInt64 {
    var stream = layer * LoRASite.allCases.count + site.rawValue
    if case .expert(let expert) = block { stream += (1 + expert) * layerCount * LoRASite.allCases.count }
    return UInt64(stream)
  }
}
