/// What a file says of its picture before anything is decoded.
///
/// Sources: the specifications of PNG (third edition), JPEG (ITU-T T.81, annex B), WebP's container, EXIF 2.32 (4.6.5).
package struct PictureHeader: Equatable, Sendable {
  package enum Format: String, Sendable { case png = "PNG", jpeg = "JPEG", webp = "WebP" }

  /// How the camera was held: EXIF's numbers.
  package enum Orientation: Int, Sendable {
    case upright = 1, mirrored, upsideDown, upsideDownMirrored, transposed, turnedRight, transversed, turnedLeft

    var swapsSides: Bool { rawValue >= 5 }

    /// Where the pixel of an upright picture is in the file's, which is `width` by `height`.
    func source(row: Int, column: Int, width: Int, height: Int) -> (row: Int, column: Int) {
      switch self {
      case .upright: (row, column)
      case .mirrored: (row, width - 1 - column)
      case .upsideDown: (height - 1 - row, width - 1 - column)
      case .upsideDownMirrored: (height - 1 - row, column)
      case .transposed: (column, row)
      case .turnedRight: (height - 1 - column, row)
      case .transversed: (height - 1 - column, width - 1 - row)
      case .turnedLeft: (column, width - 1 - row)
      }
    }
  }

  package var format: Format
  package var width = 0
  package var height = 0
  package var orientation = Orientation.upright
  /// Colours of ink: cyan, magenta, yellow, black.
  package var isInk = false
  /// Ink as Adobe's programs write it: 255 is none.
  package var isInverted = false

  /// - Throws: `PictureError` for a file of another kind, one that ends in its header, and one of several pictures.
  package init(_ bytes: [UInt8]) throws(PictureError) {
    let reader = PictureBytes(bytes)
    if reader.holds("\u{89}PNG\r\n\u{1A}\n", at: 0) {
      format = .png
      try readPNG(reader)
    } else if reader.holds("\u{FF}\u{D8}\u{FF}", at: 0) {
      format = .jpeg
      try readJPEG(reader)
    } else if reader.holds("RIFF", at: 0), reader.holds("WEBP", at: 8) {
      format = .webp
      try readWebP(reader)
    } else {
      throw Self.refusal(reader)
    }
    guard width > 0, height > 0 else { throw .damaged("it has no pixels") }
  }

  private static func refusal(_ reader: PictureBytes) -> PictureError {
    if reader.bytes.isEmpty { return .notAPicture(found: "empty") }
    let kinds: [(start: String, at: Int, name: String)] = [
      ("GIF8", 0, "a GIF"), ("BM", 0, "a BMP"), ("II*\0", 0, "a TIFF"), ("MM\0*", 0, "a TIFF"),
      ("ftypavif", 4, "an AVIF"),
      ("ftypheic", 4, "a HEIC"), ("ftypmif1", 4, "a HEIF"), ("%PDF", 0, "a PDF"), ("\0\0\u{1}\0", 0, "an icon"),
    ]
    if let kind = kinds.first(where: { reader.holds($0.start, at: $0.at) }) { return .unsupported(kind.name) }
    let start = reader.bytes.prefix(200)
    let isMarkup = start.first { $0 > 0x20 } == UInt8(ascii: "<")
    if isMarkup { return .notAPicture(found: "HTML, XML or SVG") }
    let isText = start.allSatisfy { $0 >= 0x20 || $0 == 9 || $0 == 10 || $0 == 13 }
    return .notAPicture(found: isText ? "text" : "data of another kind")
  }

  // MARK: - PNG

  private mutating func readPNG(_ reader: PictureBytes) throws(PictureError) {
    guard reader.holds("IHDR", at: 12) else { throw .damaged("its first chunk is not IHDR") }
    width = try reader.number(at: 16, bytes: 4)
    height = try reader.number(at: 20, bytes: 4)
    var at = 8
    while at + 8 <= reader.bytes.count {
      let length = try reader.number(at: at, bytes: 4)
      // Whatever follows the pixels is not looked for.
      if reader.holds("IDAT", at: at + 4) { return }
      if reader.holds("acTL", at: at + 4) { throw .unsupported("an animated PNG") }
      if reader.holds("eXIf", at: at + 4) {
        orientation = reader.orientation(in: at + 8..<min(at + 8 + length, reader.bytes.count))
      }
      at += 12 + length
    }
    throw .truncated
  }

  // MARK: - JPEG

  private mutating func readJPEG(_ reader: PictureBytes) throws(PictureError) {
    var at = 2
    while true {
      guard try reader.number(at: at, bytes: 1) == 0xFF else { throw .damaged("a marker is missing at byte \(at)") }
      let marker = try reader.number(at: at + 1, bytes: 1)
      // Bytes that fill a gap, and markers without data.
      if marker == 0xFF { at += 1; continue }
      if marker == 0x01 || (0xD0...0xD8).contains(marker) { at += 2; continue }
      guard marker != 0xD9, marker != 0xDA else { throw .damaged("its pixels come before their size") }
      let length = try reader.number(at: at + 2, bytes: 2)
      guard length >= 2 else { throw .damaged("a segment of \(length) bytes at byte \(at)") }
      let content = at + 4..<max(at + 4, min(at + 2 + length, reader.bytes.count))
      switch marker {
      case 0xC0...0xC3, 0xC5...0xC7, 0xC9...0xCB, 0xCD...0xCF:
        height = try reader.number(at: at + 5, bytes: 2)
        width = try reader.number(at: at + 7, bytes: 2)
        isInk = try reader.number(at: at + 9, bytes: 1) == 4
        return
      case 0xE1 where reader.holds("Exif\0\0", at: at + 4):
        orientation = reader.orientation(in: min(content.lowerBound + 6, content.upperBound)..<content.upperBound)
      case 0xEE where reader.holds("Adobe", at: at + 4): isInverted = true
      default: break
      }
      at += 2 + length
    }
  }

  // MARK: - WebP

  private mutating func readWebP(_ reader: PictureBytes) throws(PictureError) {
    func isThere(_ name: String) -> Bool { reader.holds(name, at: 12) }
    if isThere("VP8 ") {
      width = try reader.number(at: 26, bytes: 2, isLittleEndian: true) & 0x3FFF
      height = try reader.number(at: 28, bytes: 2, isLittleEndian: true) & 0x3FFF
    } else if isThere("VP8L") {
      let packed = try reader.number(at: 21, bytes: 4, isLittleEndian: true)
      width = 1 + packed & 0x3FFF
      height = 1 + (packed >> 14) & 0x3FFF
    } else if isThere("VP8X") {
      let flags = try reader.number(at: 20, bytes: 1)
      if flags & 2 != 0 { throw .unsupported("an animated WebP") }
      width = 1 + (try reader.number(at: 24, bytes: 3, isLittleEndian: true))
      height = 1 + (try reader.number(at: 27, bytes: 3, isLittleEndian: true))
      var at = 12
      while at + 8 <= reader.bytes.count {
        let length = try reader.number(at: at + 4, bytes: 4, isLittleEndian: true)
        if reader.holds("EXIF", at: at) {
          orientation = reader.orientation(in: at + 8..<min(at + 8 + length, reader.bytes.count))
        }
        at += 8 + length + length % 2
      }
    } else {
      throw .damaged("its first chunk is no picture")
    }
  }
}
