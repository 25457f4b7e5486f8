import Model
import Vision

/// What a tower that does not learn makes of pictures, computed once when data are prepared.
package struct PictureFeatures: Sendable {
  /// The shape and type of what is kept, and which tower it is of.
  package var layout: DataManifest.Features
  /// Makes what computes [rows, hiddenSize] of each of some pictures, of [3, side, side] each. It is used by one thread.
  package var makeEncoder: @Sendable () throws -> ([[Float]]) throws -> [[Float]]

  package init(
    _ layout: DataManifest.Features, makeEncoder: @escaping @Sendable () throws -> ([[Float]]) throws -> [[Float]]
  ) {
    self.layout = layout
    self.makeEncoder = makeEncoder
  }
}

extension DataManifest {
  /// What is kept of each picture in place of its pixels.
  package struct Features: Codable, Equatable, Sendable {
    /// Rows of the tower, and numbers of each.
    package var rows: Int
    package var hiddenSize: Int
    package var type: ElementType
    /// Identifies the tower's weights and which of its hidden states this is.
    package var tower: String

    package init(rows: Int, hiddenSize: Int, type: ElementType, tower: String) {
      self.rows = rows
      self.hiddenSize = hiddenSize
      self.type = type
      self.tower = tower
    }

    /// Bytes of a picture.
    package var byteCount: Int { rows * hiddenSize * type.byteCount }
    /// Beyond these no tower has any.
    var isPossible: Bool { (1...1 << 14).contains(rows) && (1...1 << 14).contains(hiddenSize) }

    /// - Parameter values: [rows, hiddenSize]
    /// - Returns: them in `type`, little-endian.
    func bytes(_ values: [Float]) -> [UInt8] {
      var result: [UInt8] = []
      result.reserveCapacity(byteCount)
      for value in values {
        switch type {
        case .float32: withUnsafeBytes(of: value.bitPattern.littleEndian) { result.append(contentsOf: $0) }
        case .bfloat16: withUnsafeBytes(of: BFloat16(value).bitPattern.littleEndian) { result.append(contentsOf: $0) }
        }
      }
      return result
    }

    /// [rows, hiddenSize] of a picture.
    ///
    /// - Precondition: `byteCount` bytes.
    func values(_ bytes: UnsafeRawBufferPointer) -> [Float] {
      precondition(bytes.count == byteCount, "\(bytes.count) bytes of features, not \(byteCount)")
      return (0..<rows * hiddenSize).map { index in
        switch type {
        case .float32:
          Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)))
        case .bfloat16:
          BFloat16(
            bitPattern: UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
          ).float
        }
      }
    }
  }
}
