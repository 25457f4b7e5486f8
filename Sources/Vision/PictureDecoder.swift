import CImages

/// Pictures from files in PNG, JPEG and WebP, as Pillow's `convert("RGB")` of an upright picture has them.
///
/// Of transparency the colours below are kept, of 16 bits the upper eight, and ink becomes colours as Pillow has it. Profiles of
/// colours are not applied.
package struct PictureDecoder: Sendable {
  /// The most bytes of a file.
  package var byteLimit = 32 << 20
  /// The most pixels of a picture. A file of a few kilobytes can ask for any number.
  package var pixelLimit = 32 << 20

  package init() {}

  /// - Throws: `PictureError`, before any pixel is decoded if the file is too large or asks for too much.
  package func picture(_ bytes: [UInt8]) throws(PictureError) -> Picture {
    guard bytes.count <= byteLimit else {
      throw .tooLarge("has \(bytes.count >> 20) MiB; a picture may have \(byteLimit >> 20). Make it smaller.")
    }
    let header = try PictureHeader(bytes)
    let (width, height) = (header.width, header.height)
    guard width <= pixelLimit, height <= pixelLimit, width * height <= pixelLimit else {
      throw .tooLarge(
        "has \(width) × \(height) pixels; a picture may have \(pixelLimit >> 20) Mi of them. Make it smaller.")
    }
    var pixels = [UInt8](repeating: 0, count: (header.isInk ? 4 : 3) * width * height)
    var message = [CChar](repeating: 0, count: Int(MINIMIND_IMAGE_MESSAGE))
    let (columns, rows) = (UInt32(width), UInt32(height))
    let outcome =
      switch header.format {
      case .png: minimind_decode_png(bytes, bytes.count, columns, rows, &pixels, &message)
      case .jpeg: minimind_decode_jpeg(bytes, bytes.count, columns, rows, header.isInk ? 4 : 3, &pixels, &message)
      case .webp: minimind_decode_webp(bytes, bytes.count, columns, rows, &pixels, &message)
      }
    switch outcome {
    case MINIMIND_IMAGE_DECODED: break
    case MINIMIND_IMAGE_TRUNCATED: throw .truncated
    case MINIMIND_IMAGE_NO_MEMORY: throw .outOfMemory(width: width, height: height)
    default:
      throw .damaged(String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }
    if header.isInk { pixels = Self.colours(ofInk: pixels, isInverted: header.isInverted) }
    return Picture(width: width, height: height, pixels: pixels).turned(header.orientation)
  }

  /// Red, green and blue of cyan, magenta, yellow and black: what the black leaves of each, less the ink's share of that.
  private static func colours(ofInk inks: [UInt8], isInverted: Bool) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(inks.count / 4 * 3)
    for pixel in stride(from: 0, to: inks.count, by: 4) {
      let ink = inks[pixel..<pixel + 4].map { Int(isInverted ? 255 - $0 : $0) }
      let light = 255 - ink[3]
      for channel in 0..<3 {
        let product = ink[channel] * light + 128
        result.append(UInt8(clamping: light - (product >> 8 + product) >> 8))
      }
    }
    return result
  }
}
