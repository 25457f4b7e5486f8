/// Pixels of a picture: red, green and blue, a byte each.
package struct Picture: Equatable, Sendable {
  package let width: Int
  package let height: Int
  /// [height, width, 3]
  package let pixels: [UInt8]

  package init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0 && pixels.count == 3 * width * height, "\(pixels.count) bytes")
    self.width = width
    self.height = height
    self.pixels = pixels
  }

  /// [3, height, width]
  package var planes: [UInt8] {
    (0..<3).flatMap { channel in stride(from: channel, to: pixels.count, by: 3).map { pixels[$0] } }
  }

  /// The picture turned upright, which the camera was not.
  package func turned(_ orientation: PictureHeader.Orientation) -> Picture {
    if orientation == .upright { return self }
    let (newWidth, newHeight) = orientation.swapsSides ? (height, width) : (width, height)
    var result = [UInt8](repeating: 0, count: pixels.count)
    for row in 0..<newHeight {
      for column in 0..<newWidth {
        let source = orientation.source(row: row, column: column, width: width, height: height)
        let (from, to) = (3 * (source.row * width + source.column), 3 * (row * newWidth + column))
        for channel in 0..<3 { result[to + channel] = pixels[from + channel] }
      }
    }
    return Picture(width: newWidth, height: newHeight, pixels: result)
  }
}
