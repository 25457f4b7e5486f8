extension GGUFType {
  /// `quantize_row_q4_K_ref`: of each part of 32 values a scale and a least value are sought, which are then stored in 6 bits
  /// each, as multiples of one fp16 number for all scales and one for all least values of the block.
  ///
  /// - Returns: false where a value is too large.
  static func encodeQ4K(_ values: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) -> Bool {
    var largest: Float = 0
    for i in 0..<256 { largest = max(largest, abs(values[i])) }
    guard largest <= 1_000_000 else { return false }
    var scales = SIMD8<Float>()
    var least = SIMD8<Float>()
    for part in 0..<8 {
      (scales[part], least[part]) = part32(values + 32 * part).scaleAndLeast()
    }
    let (largestScale, largestLeast) = (max(0, scales.max()), max(0, least.max()))
    let scaleSteps = steps(scales, largestScale)
    let leastSteps = steps(least, largestLeast)
    for part in 0..<4 {
      target[4 + part] = scaleSteps[part] | (scaleSteps[part + 4] >> 4) << 6
      target[8 + part] = leastSteps[part] | (leastSteps[part + 4] >> 4) << 6
      target[12 + part] = scaleSteps[part + 4] & 15 | leastSteps[part + 4] << 4
    }
    let (scale, minimum) = (Float16(largestScale / 63), Float16(largestLeast / 63))
    guard scale.isFinite, minimum.isFinite else { return false }
    for byte in 0..<2 {
      target[byte] = UInt8(truncatingIfNeeded: scale.bitPattern >> UInt16(8 * byte))
      target[2 + byte] = UInt8(truncatingIfNeeded: minimum.bitPattern >> UInt16(8 * byte))
    }
    // The values by the scales as they are stored.
    var numbers: [SIMD32<UInt8>] = []
    numbers.reserveCapacity(8)
    for part in 0..<8 {
      let step = Float(scale) * Float(scaleSteps[part])
      guard step != 0 else {
        // As the search left them; with a scale of zero they mean nothing.
        numbers.append(SIMD32())
        continue
      }
      let shift = Float(minimum) * Float(leastSteps[part])
      numbers.append(nearest((part32(values + 32 * part).values + shift) / step))
    }
    for pair in 0..<4 {
      let bytes = numbers[2 * pair] | numbers[2 * pair + 1] &<< 4
      for i in 0..<32 { target[16 + 32 * pair + i] = bytes[i] }
    }
    return true
  }

  /// Six bits for each number of a block, the largest of which is 63.
  private static func steps(_ numbers: SIMD8<Float>, _ largest: Float) -> SIMD8<UInt8> {
    let inverse = largest > 0 ? 63 / largest : 0
    guard inverse.isFinite else { return SIMD8() }
    let nearest = (numbers * inverse).rounded(.toNearestOrEven)
    return SIMD8<UInt8>(nearest.clamped(lowerBound: .zero, upperBound: .init(repeating: 63)))
  }

  private static func part32(_ values: UnsafePointer<Float>) -> Part {
    Part(values: UnsafeRawPointer(values).loadUnaligned(as: SIMD32<Float>.self))
  }

  /// The nearest whole number of each from 0 to 15.
  private static func nearest(_ numbers: SIMD32<Float>) -> SIMD32<UInt8> {
    SIMD32<UInt8>(Part.nearest(numbers))
  }

  /// 32 values with one scale and one least value.
  private struct Part {
    let values: SIMD32<Float>

    static func nearest(_ numbers: SIMD32<Float>) -> SIMD32<Float> {
      numbers.rounded(.toNearestOrEven).clamped(lowerBound: .zero, upperBound: .init(repeating: 15))
    }

    /// `make_qkx2_quants` with 15 steps, -1, 0.1 and 20: of 22 candidates the scale and the least value, not above 0, with
    /// the smallest sum of squared errors, each weighted by the magnitude of its value and the root of the mean square. A
    /// candidate rounds by a scale, from the least value of the best one before, and then solves for the best scale and least
    /// value for these numbers.
    ///
    /// - Returns: the least value with the opposite sign.
    func scaleAndLeast() -> (scale: Float, least: Float) {
      let meanSquare = (values * values).sum() / 32
      let magnitudes = values.replacing(with: -values, where: values .< 0)
      let weights = magnitudes + meanSquare.squareRoot()
      let sumOfWeights = weights.sum()
      let weighted = weights * values
      let sum = weighted.sum()
      let (smallest, largest) = (min(0, values.min()), values.max())
      let range = largest - smallest
      guard range > 0 else { return (0, -smallest) }
      func error(_ scale: Float, _ least: Float, _ numbers: SIMD32<Float>) -> Float {
        let difference = scale * numbers + least - values
        return (weights * difference * difference).sum()
      }
      // 1 / (15 / range), as there.
      var best = (scale: 1 / (15 / range), least: smallest)
      guard best.scale.isFinite, best.scale > 0 else { return (0, -smallest) }
      var bestError = error(best.scale, best.least, Self.nearest((values - smallest) * (15 / range)))
      for candidate in 0...20 {
        let inverse = (-1 + 0.1 * Float(candidate) + 15) / (largest - best.least)
        let numbers = Self.nearest((values - best.least) * inverse)
        let weightedNumbers = weights * numbers
        let (sumL, sumLL) = (weightedNumbers.sum(), (weightedNumbers * numbers).sum())
        let sumXL = (weightedNumbers * values).sum()
        let determinant = sumOfWeights * sumLL - sumL * sumL
        guard determinant > 0 else { continue }
        var scale = (sumOfWeights * sumXL - sum * sumL) / determinant
        var least = (sumLL * sum - sumL * sumXL) / determinant
        if least > 0 { (scale, least) = (sumXL / sumLL, 0) }
        let newError = error(scale, least, numbers)
        if newError < bestError { (best, bestError) = ((scale, least), newError) }
      }
      return (best.scale, -best.least)
    }
  }
}
