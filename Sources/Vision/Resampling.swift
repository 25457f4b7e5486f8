/// How pixels are computed from others when a picture gets another size: with a filter that widens as the picture shrinks, in
/// whole numbers, rounded after each of the two passes. The same as in Pillow (`src/libImaging/Resample.c`), to the bit.
package enum Resampling: Int, Sendable, CaseIterable {
  // Pillow's numbers, which preprocessor_config.json has.
  case bilinear = 2
  case bicubic = 3

  /// The filter reaches so far to both sides, in pixels of the larger of the two pictures.
  private var support: Double { self == .bilinear ? 1 : 2 }

  private func weight(_ distance: Double) -> Double {
    let x = abs(distance)
    switch self {
    case .bilinear: return x < 1 ? 1 - x : 0
    // Keys, Cubic Convolution Interpolation (1981), with a = -0.5.
    case .bicubic:
      let a = -0.5
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
      return 0
    }
  }

  /// Fractional bits of a weight: 32 less 8 for the pixel and 2 for what overshoots.
  private static let bits = 22

  /// The pixels that each new one is computed from, and their weights.
  private func taps(from oldSize: Int, to newSize: Int) -> [(first: Int, weights: [Int])] {
    let scale = Double(oldSize) / Double(newSize)
    let widening = max(scale, 1)
    let reach = support * widening
    return (0..<newSize).map { place in
      let center = (Double(place) + 0.5) * scale
      let first = max(0, Int(center - reach + 0.5))
      let end = min(oldSize, Int(center + reach + 0.5))
      let weights = (first..<end).map { weight((Double($0) - center + 0.5) * (1 / widening)) }
      let sum = weights.reduce(0, +)
      return (
        first,
        weights.map {
          let scaled = (sum == 0 ? $0 : $0 / sum) * Double(1 << Self.bits)
          return Int(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
        }
      )
    }
  }

  /// The picture in another size.
  package func resized(_ picture: Picture, width: Int, height: Int) -> Picture {
    let (fromWidth, fromHeight) = (picture.width, picture.height)
    // Pillow from version 13 on begins with the pass that leaves less for the other; the rounding between them shows.
    let isVerticalFirst = height < fromHeight && fromHeight - height > 2 * (fromWidth - width)
    var pixels = picture.pixels
    if isVerticalFirst { pixels = Self.columns(pixels, taps: taps(from: fromHeight, to: height), width: fromWidth) }
    if width != fromWidth { pixels = Self.rows(pixels, taps: taps(from: fromWidth, to: width), oldWidth: fromWidth) }
    if !isVerticalFirst, height != fromHeight {
      pixels = Self.columns(pixels, taps: taps(from: fromHeight, to: height), width: width)
    }
    return Picture(width: width, height: height, pixels: pixels)
  }

  /// Each new pixel of a row from old ones of the same row.
  private static func rows(_ source: [UInt8], taps: [(first: Int, weights: [Int])], oldWidth: Int) -> [UInt8] {
    var result: [UInt8] = []
    let height = source.count / (3 * oldWidth)
    result.reserveCapacity(3 * taps.count * height)
    for row in 0..<height {
      for tap in taps {
        for channel in 0..<3 {
          var sum = 1 << (bits - 1)
          var from = 3 * (row * oldWidth + tap.first) + channel
          for weight in tap.weights {
            sum += Int(source[from]) * weight
            from += 3
          }
          result.append(UInt8(clamping: sum >> bits))
        }
      }
    }
    return result
  }

  /// Each new row from whole old ones.
  private static func columns(_ source: [UInt8], taps: [(first: Int, weights: [Int])], width: Int) -> [UInt8] {
    let row = 3 * width
    var result: [UInt8] = []
    result.reserveCapacity(taps.count * row)
    var sums = [Int](repeating: 0, count: row)
    for tap in taps {
      for column in 0..<row { sums[column] = 1 << (bits - 1) }
      for (offset, weight) in tap.weights.enumerated() {
        let from = (tap.first + offset) * row
        for column in 0..<row { sums[column] += Int(source[from + column]) * weight }
      }
      for sum in sums { result.append(UInt8(clamping: sum >> bits)) }
    }
    return result
  }
}
