/// Blocks of quantized values as fp32: `dequantize_row_*` in ggml-quants.c, to the bit, with the products and sums in the
/// same order.
extension GGUFType {
  /// Widens `count` stored values, a multiple of `blockSize`, to fp32.
  ///
  /// - Parameter source: at any address, as many whole blocks.
  package func widen(_ source: UnsafeRawPointer, count: Int, to destination: UnsafeMutablePointer<Float>) {
    if let tensorType {
      precondition(TensorConversion.widen(source, tensorType, count: count, to: destination))
      return
    }
    let bytes = source.assumingMemoryBound(to: UInt8.self)
    switch self {
    case .q4x0: forEachBlock(bytes, count, destination, Self.widenQ4x0)
    case .q4x1: forEachBlock(bytes, count, destination, Self.widenQ4x1)
    case .q5x0: forEachBlock(bytes, count, destination, Self.widenQ5x0)
    case .q5x1: forEachBlock(bytes, count, destination, Self.widenQ5x1)
    case .q8x0: forEachBlock(bytes, count, destination, Self.widenQ8x0)
    case .q4K: forEachBlock(bytes, count, destination, Self.widenQ4K)
    case .q5K: forEachBlock(bytes, count, destination, Self.widenQ5K)
    case .q6K: forEachBlock(bytes, count, destination, Self.widenQ6K)
    case .float32, .float16, .bfloat16: break
    }
  }

  private typealias Block = UnsafePointer<UInt8>
  private typealias Values = UnsafeMutablePointer<Float>

  @inline(__always)
  private func forEachBlock(_ bytes: Block, _ count: Int, _ values: Values, _ widen: (Block, Values) -> Void) {
    for block in 0..<count / blockSize { widen(bytes + block * blockByteCount, values + block * blockSize) }
  }

  @inline(__always)
  private static func half(_ bytes: Block) -> Float {
    Float(Float16(bitPattern: UInt16(bytes[0]) | UInt16(bytes[1]) << 8))
  }

  /// A scale; two values in each of 16 bytes, those of the first half of the block in the low bits.
  private static func widenQ4x0(_ block: Block, _ values: Values) {
    let scale = half(block)
    for i in 0..<16 {
      let pair = block[2 + i]
      values[i] = scale * Float(Int32(pair & 15) - 8)
      values[i + 16] = scale * Float(Int32(pair >> 4) - 8)
    }
  }

  /// A scale, the least value; the rest as in q4_0.
  private static func widenQ4x1(_ block: Block, _ values: Values) {
    let (scale, least) = (half(block), half(block + 2))
    for i in 0..<16 {
      let pair = block[4 + i]
      values[i] = scale * Float(pair & 15) + least
      values[i + 16] = scale * Float(pair >> 4) + least
    }
  }

  /// The highest bits of 32 values.
  @inline(__always)
  private static func highBits(_ bytes: Block) -> UInt32 {
    UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
  }

  /// A scale, the fifth bit of each value; the rest as in q4_0.
  private static func widenQ5x0(_ block: Block, _ values: Values) {
    let (scale, high) = (half(block), highBits(block + 2))
    for i in 0..<16 {
      let pair = UInt32(block[6 + i])
      values[i] = scale * Float(Int32(pair & 15 | (high >> UInt32(i) & 1) << 4) - 16)
      values[i + 16] = scale * Float(Int32(pair >> 4 | (high >> UInt32(i + 16) & 1) << 4) - 16)
    }
  }

  private static func widenQ5x1(_ block: Block, _ values: Values) {
    let (scale, least, high) = (half(block), half(block + 2), highBits(block + 4))
    for i in 0..<16 {
      let pair = UInt32(block[8 + i])
      values[i] = scale * Float(pair & 15 | (high >> UInt32(i) & 1) << 4) + least
      values[i + 16] = scale * Float(pair >> 4 | (high >> UInt32(i + 16) & 1) << 4) + least
    }
  }

  private static func widenQ8x0(_ block: Block, _ values: Values) {
    let scale = half(block)
    for i in 0..<32 { values[i] = Float(Int8(bitPattern: block[2 + i])) * scale }
  }

  /// The scale and the least value of one of the eight parts of a q4_K or q5_K block, whose six bits each lie in twelve
  /// bytes: `get_scale_min_k4`.
  ///
  /// - Parameters:
  ///   - scale: of the scales.
  ///   - least: of the least values.
  @inline(__always)
  private static func scaleAndLeast(
    _ part: Int, of block: Block, _ scale: Float, _ least: Float
  ) -> (scale: Float, least: Float) {
    let bytes = block + 4
    if part < 4 { return (scale * Float(bytes[part] & 63), least * Float(bytes[part + 4] & 63)) }
    let low = bytes[part + 4]
    return (
      scale * Float(low & 15 | (bytes[part - 4] >> 6) << 4), least * Float(low >> 4 | (bytes[part] >> 6) << 4)
    )
  }

  /// The scales of scales and of least values; those of eight parts of 32 values; 4 bits each, of two parts in 32 bytes.
  private static func widenQ4K(_ block: Block, _ values: Values) {
    let (scale, least) = (half(block), half(block + 2))
    for pair in 0..<4 {
      let bytes = block + 16 + 32 * pair
      let (firstScale, firstLeast) = scaleAndLeast(2 * pair, of: block, scale, least)
      let (secondScale, secondLeast) = scaleAndLeast(2 * pair + 1, of: block, scale, least)
      let target = values + 64 * pair
      for i in 0..<32 {
        target[i] = firstScale * Float(bytes[i] & 15) - firstLeast
        target[i + 32] = secondScale * Float(bytes[i] >> 4) - secondLeast
      }
    }
  }

  /// As q4_K, with the fifth bits of all parts in 32 bytes before the others.
  private static func widenQ5K(_ block: Block, _ values: Values) {
    let (scale, least) = (half(block), half(block + 2))
    let high = block + 16
    for pair in 0..<4 {
      let bytes = block + 48 + 32 * pair
      let (firstScale, firstLeast) = scaleAndLeast(2 * pair, of: block, scale, least)
      let (secondScale, secondLeast) = scaleAndLeast(2 * pair + 1, of: block, scale, least)
      let shift = UInt8(2 * pair)
      let target = values + 64 * pair
      for i in 0..<32 {
        target[i] = firstScale * Float(bytes[i] & 15 | (high[i] >> shift & 1) << 4) - firstLeast
        target[i + 32] = secondScale * Float(bytes[i] >> 4 | (high[i] >> (shift + 1) & 1) << 4) - secondLeast
      }
    }
  }

  /// The low 4 bits, the high 2, the scales of sixteen parts of 16 values, the scale of scales.
  private static func widenQ6K(_ block: Block, _ values: Values) {
    let scale = half(block + 208)
    for half in 0..<2 {
      let (low, high) = (block + 64 * half, block + 128 + 32 * half)
      let target = values + 128 * half
      func partScale(_ part: Int) -> Float { scale * Float(Int8(bitPattern: block[192 + 8 * half + part])) }
      for row in 0..<2 {
        let scales = (partScale(row), partScale(row + 2), partScale(row + 4), partScale(row + 6))
        for i in 16 * row..<16 * row + 16 {
          target[i] = scales.0 * Float(Int32(low[i] & 15 | (high[i] & 3) << 4) - 32)
          target[i + 32] = scales.1 * Float(Int32(low[i + 32] & 15 | (high[i] >> 2 & 3) << 4) - 32)
          target[i + 64] = scales.2 * Float(Int32(low[i] >> 4 | (high[i] >> 4 & 3) << 4) - 32)
          target[i + 96] = scales.3 * Float(Int32(low[i + 32] >> 4 | (high[i] >> 6) << 4) - 32)
        }
      }
    }
  }
}
