extension Reference {
  /// What weights of eight or four bits become: in each 32 of a row q·d, with whole q in -128...127 or -8...7 and the scale d
  /// rounded to bfloat16.
  ///
  /// With eight bits the number farthest from zero is at ±127, with four bits at -8.
  /// - Parameter columns: of a row.
  @inlinable
  package static func quantizeWeights<Scalar: BinaryFloatingPoint>(
    _ values: [Scalar], columns: Int, bits: Int, roundToBFloat16: (Scalar) -> Scalar
  ) -> [Scalar] {
    let lowest: Scalar = bits == 4 ? -8 : -128
    return inBlocks(values, columns: columns) { block in
      let farthest = block.max { abs($0) < abs($1) }!
      let largest = abs(farthest)
      let scale = roundToBFloat16(bits == 4 ? (block.contains(largest) ? -largest : largest) / 8 : largest / 127)
      return block.map { value in
        let number = scale == 0 ? 0 : (value / scale).rounded(.toNearestOrEven)
        return min(max(number, lowest), -lowest - 1) * scale
      }
    }
  }

  /// What activations become that meet such weights: in each 32 of a row q·d with whole q in -127...127.
  @inlinable
  package static func quantizeInput<Scalar: BinaryFloatingPoint>(_ values: [Scalar], columns: Int) -> [Scalar] {
    inBlocks(values, columns: columns) { block in
      let largest = abs(block.max { abs($0) < abs($1) }!)
      let inverse = largest == 0 ? 0 : 127 / largest
      return block.map { ($0 * inverse).rounded(.toNearestOrEven) * (largest / 127) }
    }
  }

  @inlinable
  static func inBlocks<Scalar>(_ values: [Scalar], columns: Int, _ change: ([Scalar]) -> [Scalar]) -> [Scalar] {
    stride(from: 0, to: values.count, by: columns).flatMap { row in
      stride(from: row, to: row + columns, by: 32).flatMap { start in
        change(Array(values[start..<min(start + 32, row + columns)]))
      }
    }
  }
}
