/// What a picture goes through before a tower sees it, as `preprocessor_config.json` says it.
package struct PictureProcessor: Equatable, Sendable {
  /// The size that a picture is brought to.
  package enum Size: Equatable, Sendable {
    /// Its proportions are kept, and the shorter side becomes so long.
    case shortestEdge(Int)
    /// It is stretched.
    case exact(width: Int, height: Int)
  }

  /// Nil: pictures stay as large as they are.
  package var size: Size?
  package var resampling = Resampling.bicubic
  /// The part in the middle that is kept; black is added where the picture is smaller. Nil: the whole picture.
  package var crop: Crop?
  /// What a byte is multiplied by.
  package var rescaling = 1.0
  /// What is subtracted from each channel then, [3].
  package var mean = [0.0, 0, 0]
  /// What the rest is divided by, [3].
  package var deviation = [1.0, 1, 1]

  package struct Crop: Equatable, Sendable {
    package var width: Int
    package var height: Int

    package init(width: Int, height: Int) {
      self.width = width
      self.height = height
    }
  }

  package init() {}

  /// The longest side that settings may ask for: towers see some hundreds of pixels.
  package static let longestSide = 4096
  /// The most pixels that a picture may become before it is cut.
  private static let pixelLimit = 16 << 20

  /// The values of a picture for a tower.
  package struct Values: Sendable {
    package let width: Int
    package let height: Int
    /// [3, height, width]
    package let values: [Float]
  }

  /// - Throws: `PictureError.tooLarge` for a picture so long and narrow that it would become one of very many pixels.
  package func values(_ picture: Picture) throws(PictureError) -> Values {
    let sized = try sized(picture)
    return Values(width: sized.width, height: sized.height, values: values(ofPlanes: sized.planes))
  }

  /// The picture in the size that the tower sees, still in bytes.
  ///
  /// - Throws: as `values`.
  package func sized(_ picture: Picture) throws(PictureError) -> Picture { cropped(try resized(picture)) }

  /// - Parameter planes: [3, height, width] of a picture in its size.
  /// - Returns: [3, height, width]
  package func values(ofPlanes planes: some RandomAccessCollection<UInt8>) -> [Float] {
    let count = planes.count / 3
    var result: [Float] = []
    result.reserveCapacity(planes.count)
    // There are only 256 bytes.
    let tables = (0..<3).map { channel in
      (0..<256).map { Float((Double($0) * rescaling - mean[channel]) / deviation[channel]) }
    }
    for byte in planes { result.append(tables[result.count / count][Int(byte)]) }
    return result
  }

  private func resized(_ picture: Picture) throws(PictureError) -> Picture {
    var (width, height) = (picture.width, picture.height)
    switch size {
    case nil: break
    case .exact(let exactWidth, let exactHeight): (width, height) = (exactWidth, exactHeight)
    case .shortestEdge(let edge) where width <= height: (width, height) = (edge, edge * height / width)
    case .shortestEdge(let edge): (width, height) = (edge * width / height, edge)
    }
    guard width * height <= Self.pixelLimit else {
      throw .tooLarge(
        "would become one of \(width) × \(height) pixels to be cut from. Cut it before, or make it smaller.")
    }
    return resampling.resized(picture, width: width, height: height)
  }

  private func cropped(_ picture: Picture) -> Picture {
    guard let crop, (crop.width, crop.height) != (picture.width, picture.height) else { return picture }
    var pixels = [UInt8](repeating: 0, count: 3 * crop.width * crop.height)
    // Where the middle begins, rounded down; below 0 it is the margin.
    let (left, top) = ((picture.width - crop.width) >> 1, (picture.height - crop.height) >> 1)
    for row in 0..<crop.height where (0..<picture.height).contains(row + top) {
      for column in 0..<crop.width where (0..<picture.width).contains(column + left) {
        let (from, to) = (3 * ((row + top) * picture.width + column + left), 3 * (row * crop.width + column))
        for channel in 0..<3 { pixels[to + channel] = picture.pixels[from + channel] }
      }
    }
    return Picture(width: crop.width, height: crop.height, pixels: pixels)
  }
}
