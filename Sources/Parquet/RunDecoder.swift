/// Small numbers as Parquet packs them: runs of one number, and numbers of so many bits one after another, by turns.
///
/// https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
struct RunDecoder {
  private let bytes: UnsafeRawBufferPointer
  private let width: Int
  private var position = 0
  /// Numbers that are left of this run.
  private var left = 0
  /// The number of a run; nil for packed bits.
  private var repeated: UInt32?
  /// Where the packed bits of the next number begin, in bits.
  private var bit = 0

  /// - Parameter width: bits of a number, at most 32.
  init(_ bytes: UnsafeRawBufferPointer, width: Int) throws(ParquetError) {
    guard (0...32).contains(width) else { throw .damaged("numbers of \(width) bits") }
    self.bytes = bytes
    self.width = width
  }

  mutating func next() throws(ParquetError) -> UInt32 {
    while left == 0 { try beginRun() }
    left -= 1
    if let repeated { return repeated }
    defer { bit += width }
    guard bit + width <= bytes.count * 8 else { throw .damaged("packed numbers end too early") }
    var value: UInt64 = 0
    let first = bit >> 3
    for index in 0..<min(5, bytes.count - first) { value |= UInt64(bytes[first + index]) << UInt64(8 * index) }
    return UInt32(truncatingIfNeeded: (value >> UInt64(bit & 7)) & ((1 << UInt64(width)) - 1))
  }

  private mutating func beginRun() throws(ParquetError) {
    var header: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      guard position < bytes.count, shift < 35 else { throw .damaged("packed numbers end too early") }
      let byte = bytes[position]
      position += 1
      header |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { break }
      shift += 7
    }
    let count = Int(header >> 1)
    if header & 1 == 1 {
      repeated = nil
      bit = position * 8
      left = count * 8
      // The last run may lack the bits that nothing needs; those that are needed are looked for.
      position = min(bytes.count, position + count * width)
    } else {
      let size = (width + 7) / 8
      guard size <= bytes.count - position else { throw .damaged("packed numbers end too early") }
      var value: UInt32 = 0
      for index in 0..<size { value |= UInt32(bytes[position + index]) << UInt32(8 * index) }
      position += size
      repeated = value
      left = count
    }
  }
}
