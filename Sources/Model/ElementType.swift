/// How the numbers of a matrix are stored. Arithmetic is in Float whatever the storage.
package enum ElementType: String, Sendable, Codable, CaseIterable {
  case float32 = "fp32"
  case bfloat16 = "bf16"

  /// Bytes of one element.
  @inlinable
  package var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// A number of 16 bits: the upper half of a Float, so 8 bits of exponent and 8 of precision.
package struct BFloat16: Sendable, Equatable {
  package var bitPattern: UInt16

  package init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The nearest bfloat16, ties to even; a NaN stays a quiet NaN.
  package init(_ value: Float) {
    let bits = value.bitPattern
    // Adding 0x7FFF and the lowest kept bit carries into the kept half exactly when the dropped half rounds up.
    bitPattern =
      value.isNaN
      ? UInt16(truncatingIfNeeded: bits >> 16) | 0x40
      : UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
  }

  /// The value, exactly.
  package var float: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
}
