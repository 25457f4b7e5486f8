/// The bytes of a file from outside: nothing is read beyond their end.
struct PictureBytes {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Whether the bytes at a place are these characters, a byte each.
  func holds(_ text: String, at place: Int) -> Bool {
    let characters = text.unicodeScalars
    guard place + characters.count <= bytes.count else { return false }
    return zip(bytes[place...], characters).allSatisfy { $0 == $1.value }
  }

  /// - Parameter bytes: of the number, 4 at most.
  /// - Throws: `PictureError.truncated`.
  func number(at place: Int, bytes count: Int, isLittleEndian: Bool = false) throws(PictureError) -> Int {
    guard place >= 0, place + count <= bytes.count else { throw .truncated }
    let digits = bytes[place..<place + count]
    return isLittleEndian
      ? digits.reversed().reduce(0) { $0 << 8 | Int($1) } : digits.reduce(0) { $0 << 8 | Int($1) }
  }

  /// The orientation of EXIF data, which are a TIFF of their own; upright where they say nothing, or are damaged.
  func orientation(in range: Range<Int>) -> PictureHeader.Orientation {
    let tiff = PictureBytes(Array(bytes[range]))
    let isLittleEndian = tiff.holds("II*\0", at: 0)
    guard isLittleEndian || tiff.holds("MM\0*", at: 0) else { return .upright }
    func number(_ place: Int, _ count: Int) -> Int? {
      try? tiff.number(at: place, bytes: count, isLittleEndian: isLittleEndian)
    }
    guard let directory = number(4, 4), let count = number(directory, 2) else { return .upright }
    for entry in 0..<count {
      let place = directory + 2 + 12 * entry
      guard let tag = number(place, 2) else { break }
      // 274 is the orientation; it is one number of two bytes.
      if tag == 274, let value = number(place + 8, 2) { return PictureHeader.Orientation(rawValue: value) ?? .upright }
    }
    return .upright
  }
}
